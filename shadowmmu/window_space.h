// Host address space of the windows, and the system calls that change what is mapped there.
#pragma once

#include <cstdint>
#include <optional>

#include "shadowmmu/shadow_mmu.h"

namespace ring3 {

inline constexpr uint32_t kWindowPages = 1u << 20;  // 4 GiB

/// One stretch of address space, cut into strides: guard below, the window's 4 GiB, guard above. Guards are PROT_NONE;
/// a window is empty (holes or PROT_NONE) except where Map put guest pages.
class WindowSpace {
 public:
  static constexpr uint64_t kStride = ShadowMmu::kGuardBelow + ShadowMmu::kGuardAbove;

  /// Throws UsageError where the address space cannot be had. `memory_fd` holds the guest's RAM.
  WindowSpace(unsigned windows, int memory_fd);
  ~WindowSpace();
  WindowSpace(const WindowSpace&) = delete;
  WindowSpace& operator=(const WindowSpace&) = delete;

  uint64_t First() const { return first_; }
  uint64_t Bytes() const { return windows_ * kStride; }
  HostAddress Base(WindowId window) const { return HostAddress(first_ + window * kStride + ShadowMmu::kGuardBelow); }
  std::optional<WindowId> Owner(HostAddress address) const {
    const uint64_t offset = address.value - first_;
    if (offset >= Bytes()) return std::nullopt;
    return static_cast<WindowId>(offset / kStride);
  }

  /// All three take page numbers inside the window; false when the host refuses (too many mappings).
  bool Map(WindowId window, uint32_t page, uint32_t pages, uint32_t physical_page, bool writable);
  bool Protect(WindowId window, uint32_t page, uint32_t pages, bool writable);
  bool Unmap(WindowId window, uint32_t page, uint32_t pages);

 private:
  void ReserveAnywhere();
  void* At(WindowId window, uint32_t page) const {
    return reinterpret_cast<void*>(Base(window).value + (uint64_t{page} << kPageShift));
  }

  uint64_t first_ = 0;
  bool holes_ = false;  // unmapped stretches of windows are holes, which are cheaper to map into than PROT_NONE filler
  unsigned windows_;
  int memory_fd_;
};

}  // namespace ring3
