// A machine for gdb's stub without a machine: registers, 64 KiB of memory from 10000h on, and what was asked of it.
#pragma once

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "monitor/gdb/stub.h"

namespace ring3::gdb {

class FakeTarget final : public Target {
 public:
  static constexpr uint64_t kFirst = 0x10000, kBytes = 0x10000;

  CpuState state;
  std::vector<uint8_t> memory = std::vector<uint8_t>(kBytes);
  DebugStops stops;
  std::vector<std::string> asked;
  bool running = false;

  CpuState ReadState() override { return state; }
  void WriteState(const CpuState& s) override { state = s; }
  size_t ReadMemory(uint64_t address, bool physical, std::span<uint8_t> out) override {
    if (physical) asked.push_back("physical");
    const size_t bytes = Reach(address, out.size());
    if (bytes) std::copy_n(memory.begin() + static_cast<long>(address - kFirst), bytes, out.begin());
    return bytes;
  }
  size_t WriteMemory(uint64_t address, bool, std::span<const uint8_t> data) override {
    const size_t bytes = Reach(address, data.size());
    if (bytes) std::copy_n(data.begin(), bytes, memory.begin() + static_cast<long>(address - kFirst));
    return bytes;
  }
  void SetStops(const DebugStops& s) override { stops = s; }
  bool Running() override { return running; }
  void Interrupt() override { asked.push_back("interrupt"); }
  void Continue() override { asked.push_back("continue"); }
  void Step(GuestLinear first, GuestLinear end) override {
    asked.push_back("step " + std::to_string(first.value) + " " + std::to_string(end.value));
  }
  void Kill() override { asked.push_back("kill"); }
  std::string Monitor(const std::string& command) override { return "did " + command + "\n"; }

 private:
  static size_t Reach(uint64_t address, size_t bytes) {
    if (address < kFirst || address >= kFirst + kBytes) return 0;
    return std::min<size_t>(bytes, kFirst + kBytes - address);
  }
};

}  // namespace ring3::gdb
