// A small guest for the tests of CPU semantics: 1 MiB of RAM with descriptor tables, two 32-bit tasks and one 16-bit
// task, in flat ring 0 protected mode without paging.
#pragma once

#include <catch2/catch.hpp>
#include <cstring>
#include <initializer_list>
#include <string>
#include <vector>

#include "monitor/cpu/interrupts.h"
#include "monitor/cpu/privileged.h"
#include "monitor/cpu/segments.h"

namespace ring3::test {

inline constexpr uint32_t kGdt = 0x1000, kIdt = 0x2000, kTssA = 0x3000, kTssB = 0x3200, kTss16 = 0x3400, kLdt = 0x3800;
inline constexpr uint32_t kKernelStack = 0x8000, kRing1Stack = 0x8800, kUserStack = 0x9000, kTaskStack = 0x9800,
                          kCode = 0x7000, kHandler = 0x6000, kPageDirectory = 0x10000, kPageTable = 0x11000;

/// GDT selectors, RPL 0. Segments are flat 32-bit unless named otherwise.
enum Selector : uint16_t {
  kKernelCode = 0x08,
  kKernelData = 0x10,
  kUserCode = 0x18,
  kUserData = 0x20,
  kSelTssA = 0x28,
  kSelTssB = 0x30,
  kSelTss16 = 0x38,
  kSelLdt = 0x40,
  kCallGate = 0x48,
  kConformingCode = 0x50,
  kAbsentData = 0x58,
  kReadOnlyData = 0x60,
  kStack16 = 0x68,  // base 0x20000, limit 0xFFFF
  kCode16 = 0x70,   // limit 0xFFFF
  kExecuteOnly = 0x78,
  kRing1Code = 0x80,
  kRing1Data = 0x88,
  kTaskGateB = 0x90,
  kSmallCode = 0x98,   // limit 0xFFF
  kExpandDown = 0xA0,  // valid offsets 0x1000 to 4 GiB
  kAbsentCode = 0xA8,
  kUserStack16 = 0xB0,
  kSmallStack = 0xB8,  // limit 0xF
  kBeyondGdt = 0x100,
};

uint64_t MakeDescriptor(uint32_t base, uint32_t limit, uint16_t attributes);
uint64_t MakeGate(uint16_t selector, uint32_t offset, unsigned type, unsigned dpl, unsigned parameters = 0);

/// All guests share one RAM: constructing one clears it, so a test works with one guest after the other.
struct Guest {
  explicit Guest(const char* model = "n270");

  void SetGdt(uint16_t selector, uint64_t descriptor) { Poke<uint64_t>(kGdt + (selector & 0xFFF8), descriptor); }
  void SetIdt(unsigned vector, uint64_t gate) { Poke<uint64_t>(kIdt + vector * 8, gate); }
  /// Flat ring 3 code with its stack at kUserStack.
  void EnterUser();
  /// V86 code at 0700:0010, stack 0900:0100, data segments 0A00..0D00, IOPL as given.
  void EnterV86(unsigned iopl);
  void EnterRealMode();
  /// Identity-maps the first 4 MiB with user rights, then pages of `absent` not at all.
  void EnablePaging(std::initializer_list<uint32_t> absent);

  template <class T>
  T Peek(uint32_t address) const {
    T value;
    std::memcpy(&value, cpu.memory.Physical().Flat(GuestPhysical(address)), sizeof value);
    return value;
  }
  template <class T>
  void Poke(uint32_t address, T value) {
    std::memcpy(cpu.memory.Physical().Flat(GuestPhysical(address)), &value, sizeof value);
  }
  /// `count` dwords from `address` up.
  std::vector<uint32_t> Dwords(uint32_t address, unsigned count) const;
  std::vector<uint32_t> Words(uint32_t address, unsigned count) const;
  /// The segment register that loading `selector` from the GDT gives.
  SegmentRegister Loaded(uint16_t selector) const;

  Cpu cpu;
  CpuState& state = cpu.state;
};

/// Differences by field, empty when equal.
std::string Diff(const CpuState& actual, const CpuState& expected);

template <class Action>
std::string FaultOf(Action action) {
  try {
    action();
  } catch (const GuestFault& fault) {
    return "#" + std::to_string(static_cast<int>(fault.vector)) +
           (fault.error_code ? "(" + std::to_string(*fault.error_code) + ")" : "");
  } catch (const TripleFault&) {
    return "triple";
  }
  return "none";
}

inline std::string Fault(Vector vector, uint32_t code) {
  return "#" + std::to_string(static_cast<int>(vector)) + "(" + std::to_string(code) + ")";
}
inline std::string Fault(Vector vector) { return "#" + std::to_string(static_cast<int>(vector)); }
inline std::string Gp(uint32_t code = 0) { return Fault(Vector::kGeneralProtection, code); }

/// The action faults so, and leaves the state as it was.
#define CHECK_FAULT(guest, fault, action)       \
  do {                                          \
    const CpuState before = (guest).state;      \
    CHECK(FaultOf([&] { action; }) == (fault)); \
    CHECK(Diff((guest).state, before) == "");   \
  } while (false)

}  // namespace ring3::test
