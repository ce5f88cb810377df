// Hardware breakpoints: what the debug registers watch (SDM 3B 17.2). The interpreter matches them; whoever runs guest
// code in another way keeps that code away from them with the help of the list here.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "monitor/cpu/cpu_state.h"
#include "shadowmmu/address.h"

namespace ring3 {

/// The values of DR7.R/Wn.
enum class BreakpointKind : uint8_t { kExecute, kWrite, kIo, kAccess };

/// An enabled breakpoint: `bytes` linear addresses from `first`, or that many ports (kIo). Never crosses a page.
struct Breakpoint {
  BreakpointKind kind;
  uint8_t number;  // of the debug register, and of its bit in DR6
  uint32_t first;
  uint32_t bytes;  // 1 for kExecute: the first byte of the instruction

  uint32_t Dr6Bit() const { return 1u << number; }
  bool IsData() const { return kind == BreakpointKind::kWrite || kind == BreakpointKind::kAccess; }
  bool Overlaps(uint32_t address, uint32_t count) const { return first - address < count || address - first < bytes; }
  bool operator==(const Breakpoint&) const = default;
};

/// Told when the set of armed breakpoints has changed, after it has. Nothing may be thrown.
class BreakpointListener {
 public:
  virtual ~BreakpointListener() = default;
  virtual void BreakpointsChanged(std::span<const Breakpoint> armed) = 0;
};

/// The breakpoints armed now. Cpu::DebugRegistersChanged keeps them, and the watches of Cpu::memory, in step with
/// DR0-DR3, DR7 and CR4.DE.
///
/// What code that doesn't run in the interpreter must see to while some are armed:
/// - kExecute: an instruction that begins at `first` goes to the interpreter, which raises the fault unless RF is set.
/// - kWrite, kAccess: an instruction with an access to these bytes goes to the interpreter, which finds the trap
///   pending when the instruction is done. Accesses through Cpu::memory are noticed by themselves, but by nobody else's
///   instructions than the interpreter's taken for a trap.
/// - kIo: nothing, as long as port instructions are interpreted.
class Breakpoints {
 public:
  static constexpr unsigned kCount = 4;

  /// Takes over what the registers say. False: nothing has changed.
  bool Adopt(const CpuState& state);
  std::span<const Breakpoint> Armed() const { return {armed_.data(), count_}; }
  /// Grows with each change.
  uint64_t Generation() const { return generation_; }

  /// DR6 bits of the breakpoints on an instruction, or on `bytes` ports.
  uint32_t OnInstruction(GuestLinear address) const {
    return count_ == 0 ? 0 : Hits(BreakpointKind::kExecute, address.value, 1);
  }
  uint32_t OnPorts(uint16_t port, uint32_t bytes) const {
    return count_ == 0 ? 0 : Hits(BreakpointKind::kIo, port, bytes);
  }

 private:
  uint32_t Hits(BreakpointKind kind, uint32_t first, uint32_t bytes) const;

  std::array<Breakpoint, kCount> armed_{};
  unsigned count_ = 0;
  uint64_t generation_ = 0;
};

}  // namespace ring3
