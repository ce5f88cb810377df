// What gdb asks over its remote serial protocol, answered for one processor: registers, memory, stops, and running.
// Transport and machine are behind interfaces. Source: "The GDB Remote Serial Protocol", in the manual of GDB.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "monitor/control/machine_control.h"

namespace ring3::gdb {

/// The machine as a debugger sees it.
class Target {
 public:
  virtual ~Target() = default;
  virtual CpuState ReadState() = 0;
  virtual void WriteState(const CpuState& state) = 0;
  /// How many bytes from the first on were moved: less than asked for where the guest's tables map nothing, or
  /// something else than RAM. Guest-linear addresses, or physical ones.
  virtual size_t ReadMemory(uint64_t address, bool physical, std::span<uint8_t> out) = 0;
  virtual size_t WriteMemory(uint64_t address, bool physical, std::span<const uint8_t> data) = 0;
  virtual void SetStops(const DebugStops& stops) = 0;
  virtual bool Running() = 0;
  virtual void Interrupt() = 0;
  virtual void Continue() = 0;
  virtual void Step(GuestLinear first, GuestLinear end) = 0;
  virtual void Kill() = 0;
  /// A command for the human monitor; what it prints.
  virtual std::string Monitor(const std::string& command) = 0;
};

class Stub {
 public:
  static constexpr size_t kMostStops = 1024;

  /// `send` takes payloads of packets.
  Stub(Target& target, std::function<void(std::string_view payload)> send);
  /// Takes its stops away.
  ~Stub();
  Stub(const Stub&) = delete;

  void Packet(std::string_view payload);
  void Interrupt();
  /// The guest stopped; gdb is told if it waits for that.
  void Stopped(const DebugEvent& event);
  void Exited(int code);
  bool Acknowledges() const { return acknowledges_; }
  /// gdb has said goodbye: the guest is to go on.
  bool Detached() const { return detached_; }

 private:
  /// A breakpoint or watchpoint as gdb named it: Z type, address, length.
  struct Stop {
    unsigned type;
    GuestLinear address;
    uint32_t bytes;
    bool operator==(const Stop&) const = default;
  };

  std::string Answer(std::string_view payload);
  std::string Query(std::string_view text);
  std::string Transfer(std::string_view text);
  std::string Set(std::string_view text);
  std::string Verbose(std::string_view text);
  std::string ReadRegisters();
  std::string WriteRegisters(std::string_view text);
  std::string ReadOne(std::string_view text);
  std::string WriteOne(std::string_view text);
  std::string ReadMemory(std::string_view text);
  std::string WriteMemory(std::string_view text, bool binary);
  std::string ChangeStop(std::string_view text, bool insert);
  std::string Go(std::string_view text, bool step);
  std::string ResumeActions(std::string_view text);
  std::string Monitor(std::string_view text);
  std::string StopReply(const DebugEvent& event) const;
  std::string BreakReason() const;
  void ApplyStops();

  Target& target_;
  const std::function<void(std::string_view)> send_;
  std::vector<Stop> stops_;
  std::vector<Stop> watches_;  // those of stops_ that are in DebugStops::data, in that order
  std::optional<DebugEvent> last_;
  bool waiting_ = false;  // gdb waits for a stop
  bool acknowledges_ = true, detached_ = false, physical_ = false, names_reasons_ = false;
};

}  // namespace ring3::gdb
