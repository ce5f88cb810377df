// PC thunks: `mov reg, [esp]; ret`, which position-independent 32-bit code calls in almost every function to learn its
// EIP. A call of one is translated as what it does. That holds while the branch table's slot for the thunk names its
// translation, which a cell of the Vcpu remembers: translated code compares the two, and calls where they differ.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

namespace ring3 {

constexpr unsigned kThunkBytes = 4;

/// The general register that the code at a call's target loads, if it is a thunk.
std::optional<unsigned> ThunkRegister(std::span<const uint8_t> code);

/// Where the translations of thunks lie in the code cache. Two thunks may share a cell, which costs a call of one time;
/// what a cell holds is always that of a thunk for its register.
class ThunkCells {
 public:
  ThunkCells() { negated_.fill(kNowhere); }

  static constexpr unsigned kPerRegister = 64;
  static unsigned Index(unsigned gpr, uint32_t eip) { return gpr * kPerRegister + (eip ^ eip >> 6) % kPerRegister; }

  /// The translation lies at this offset from now on.
  void Set(unsigned gpr, uint32_t eip, uint32_t host_offset) { negated_[Index(gpr, eip)] = -host_offset; }
  /// No more.
  void Clear(unsigned gpr, uint32_t eip, uint32_t host_offset) {
    uint32_t& cell = negated_[Index(gpr, eip)];
    if (cell == -host_offset) cell = kNowhere;
  }

 private:
  static constexpr uint32_t kNowhere = 1;  // no slot's value makes 0 with it
  std::array<uint32_t, 8 * kPerRegister> negated_;
};

}  // namespace ring3
