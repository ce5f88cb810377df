// A processor with memory and nothing else, for stepping single instructions.
#pragma once

#include <cstring>
#include <initializer_list>
#include <string>
#include <vector>

#include "monitor/interpreter/interpreter.h"

namespace ring3 {

/// Descriptor tables and segments that the tests use; selectors are those of Machine's GDT.
namespace selectors {
inline constexpr uint16_t kCode0 = 0x08, kData0 = 0x10, kCode3 = 0x1B, kData3 = 0x23, kSmall = 0x2B, kCode16 = 0x30,
                          kTss = 0x38, kReadOnly = 0x43;
}

struct Machine {
  static constexpr uint64_t kRam = 48u << 20;
  static constexpr uint32_t kCode = 0x0100'0000, kData = 0x0101'0000, kStack = 0x0102'0000, kRegionBytes = 0x2000;
  static constexpr uint32_t kGdt = 0x8000, kTss = 0x9000, kIdt = 0xA000, kPageDirectory = 0x10000,
                            kPageTables = 0x11000;  // one table per 4 MiB of RAM

  explicit Machine(const char* model = "max");

  /// Protected mode with flat 32-bit segments at this privilege; paging off; GDT and TSS as above.
  void EnterFlat(unsigned cpl);
  /// Real-address mode; segments hold paragraphs.
  void EnterReal(uint16_t cs, uint16_t ip);
  /// Identity-maps all RAM with 4 KiB user pages and turns paging on.
  void EnablePaging();
  /// Sets one page's entry (flags in the low bits: P, R/W, U/S); the frame is the identical one.
  void MapPage(uint32_t linear, uint32_t flags);

  void Put(uint32_t physical, std::initializer_list<uint8_t> bytes);
  void Put(uint32_t physical, const std::vector<uint8_t>& bytes);
  template <class T>
  T Get(uint32_t physical) {
    T value;
    std::memcpy(&value, physical_.Flat(GuestPhysical(physical)), sizeof value);
    return value;
  }
  template <class T>
  void Set(uint32_t physical, T value) {
    std::memcpy(physical_.Flat(GuestPhysical(physical)), &value, sizeof value);
  }
  /// Puts code at CS:EIP and runs one instruction.
  StepResult Step(std::initializer_list<uint8_t> code);

  uint32_t& Reg(Gpr gpr) { return cpu.state.gpr[gpr]; }
  CpuState& State() { return cpu.state; }

  PhysicalMemory physical_{kRam};
  LinearMemory memory_{physical_};
  ShadowMmu mmu_{physical_};
  PortBus ports_;
  Cpu cpu;
};

/// The fault that `action` throws; fails the test when it throws none.
template <class Action>
GuestFault FaultOf(Action action) {
  try {
    action();
  } catch (const GuestFault& fault) {
    return fault;
  }
  throw std::logic_error("expected a guest fault");
}

}  // namespace ring3
