// Two-level paging with 4 KiB and 4 MiB pages (SDM 3A, 4.3).
#pragma once

#include <stdint.h>

namespace demo {

namespace pte {
inline constexpr uint32_t kPresent = 1u << 0, kWritable = 1u << 1, kUser = 1u << 2, kAccessed = 1u << 5,
                          kDirty = 1u << 6, kLarge = 1u << 7 /* PS, in a directory entry */;
inline constexpr uint32_t kAll = kPresent | kWritable | kUser;
}  // namespace pte

inline constexpr uint32_t kPageBytes = 4096;
inline constexpr uint32_t kLargePageBytes = 4u << 20;
/// A linear region with a page table of its own, for remapping.
inline constexpr uint32_t kWindow = 0x50000000;
/// A linear region that 4 MiB entries may use.
inline constexpr uint32_t kLargeWindow = 0x80000000;

/// A zeroed page, identity-mapped supervisor read-write. Never given back.
uint8_t* AllocatePage();

/// Identity-maps the first 4 MiB in 4 KiB pages (kernel text read-only, user sections open to ring 3) and sets
/// CR4.PSE, CR0.PG and CR0.WP.
void EnablePaging();
uint32_t* KernelDirectory();
/// A directory that shares the kernel's low 4 MiB and has nothing else.
uint32_t* NewDirectory();
/// Sets the 4 KiB entry for `linear` (making its page table), without invalidating it.
void Map(uint32_t* directory, uint32_t linear, uint32_t physical, uint32_t flags);
/// The 4 KiB entry of `linear`, whose page table must exist.
volatile uint32_t& PageEntry(uint32_t* directory, uint32_t linear);

/// The section of the report (paging_checks.cpp).
void CheckPaging();

}  // namespace demo
