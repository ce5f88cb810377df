// What the host really has mapped in the windows, read without the shadow MMU's records.
#pragma once

#include <cstdint>
#include <ostream>
#include <vector>

#include "shadowmmu/shadow_mmu.h"

namespace ring3 {

/// One accessible 4 KiB page of a window.
struct HostPage {
  uint32_t linear = 0;
  uint64_t physical = 0;
  bool writable = false;
  bool operator==(const HostPage&) const = default;
};
std::ostream& operator<<(std::ostream& out, const HostPage& page);

/// Every accessible page of the window, in address order.
std::vector<HostPage> HostPages(const ShadowMmu& mmu, WindowId window);
/// `count` pages from `linear`, mapped contiguously from `physical`.
std::vector<HostPage> Run(uint32_t linear, uint64_t physical, uint32_t count, bool writable);
std::vector<HostPage> operator+(std::vector<HostPage> left, const std::vector<HostPage>& right);

/// Whether the host lets this process read / write the byte, found by a system call that reports EFAULT.
bool CanRead(HostAddress address);
bool CanWrite(HostAddress address);
/// Whether every byte of [first, end) is reserved and inaccessible.
bool AllInaccessible(HostAddress first, HostAddress end);

/// Host mappings (lines of /proc/self/maps) in [first, end).
unsigned HostMappingCount(HostAddress first, HostAddress end);

}  // namespace ring3
