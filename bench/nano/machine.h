// The kernel around the rows: descriptor tables, paging, and the ways to CPL 3 and back.
#pragma once

#include <stdint.h>

// Selectors.
#define NANO_KERNEL_CODE 0x08
#define NANO_KERNEL_DATA 0x10
#define NANO_USER_CODE 0x1B
#define NANO_USER_DATA 0x23
#define NANO_TSS 0x28
#define NANO_OTHER_TSS 0x30

namespace nano {

inline constexpr uint32_t kPageBytes = 4096, kTableEntries = 1024;
inline constexpr uint32_t kPresent = 1, kWritable = 2, kUser = 4, kAll = 7;

/// Programs' memory: one page table in each of the two address spaces.
inline constexpr uint32_t kUserRegion = 0x40000000;
/// An address where neither RAM nor a device is.
inline constexpr uint32_t kMmio = 0x50000000;
/// RAM that nothing else uses, mapped at its own address for the kernel.
inline constexpr uint32_t kFrames = 16u << 20, kFrameCount = 2048;

struct AddressSpace {
  alignas(kPageBytes) uint32_t directory[kTableEntries];
  alignas(kPageBytes) volatile uint32_t user_table[kTableEntries];
};
extern AddressSpace spaces[2];

void InstallTables();
void EnablePaging();
/// Loads CR3 with spaces[index].
void EnterSpace(uint32_t index);
/// Maps the first `pages` pages of the region in spaces[index] to frames from `first_frame` on.
void MapUserPages(uint32_t index, uint32_t pages, uint32_t first_frame);
void UnmapUserPages(uint32_t index);

/// Makes an interrupt gate that CPL 3 may use only where `user` says so.
void SetGate(uint32_t vector, const void* handler, bool user);

/// A loop at CPL 3 (entry.S) that ends by INT 81h.
struct UserRegisters {
  uint32_t eax, ecx, esi, edi;
};
extern "C" void RunUser(const void* entry, const UserRegisters* registers);

}  // namespace nano
