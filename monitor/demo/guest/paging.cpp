#include "paging.h"

#include "traps.h"
#include "x86.h"

extern "C" const uint8_t kernel_start[], data_start[], user_text_start[], user_text_end[], user_data_start[],
    user_data_end[];

namespace demo {
namespace {

constexpr unsigned kPoolPages = 48;
constexpr uint32_t kEntries = 1024;
alignas(kPageBytes) uint8_t pool[kPoolPages][kPageBytes];
unsigned pool_used = 0;
uint32_t* kernel_directory = nullptr;

uint32_t DirectoryIndex(uint32_t linear) { return linear >> 22; }
uint32_t TableIndex(uint32_t linear) { return (linear >> 12) % kEntries; }

uint32_t IdentityFlags(uint32_t address) {
  auto within = [address](const uint8_t* first, const uint8_t* end) {
    return address >= AddressOf(first) && address < AddressOf(end);
  };
  if (within(user_text_start, user_text_end)) return pte::kPresent | pte::kUser;
  if (within(user_data_start, user_data_end)) return pte::kAll;
  if (within(kernel_start, data_start)) return pte::kPresent;
  return pte::kPresent | pte::kWritable;
}

}  // namespace

uint8_t* AllocatePage() {
  if (pool_used == kPoolPages) asm volatile("ud2");  // reported with its address, as an unexpected trap
  return pool[pool_used++];
}

uint32_t* KernelDirectory() { return kernel_directory; }

uint32_t* NewDirectory() {
  auto* directory = reinterpret_cast<uint32_t*>(AllocatePage());
  directory[0] = kernel_directory[0];
  return directory;
}

void Map(uint32_t* directory, uint32_t linear, uint32_t physical, uint32_t flags) {
  uint32_t& entry = directory[DirectoryIndex(linear)];
  if ((entry & pte::kPresent) == 0) entry = AddressOf(AllocatePage()) | pte::kAll;
  PageEntry(directory, linear) = physical | flags;
}

volatile uint32_t& PageEntry(uint32_t* directory, uint32_t linear) {
  auto* table = reinterpret_cast<volatile uint32_t*>(directory[DirectoryIndex(linear)] & ~(kPageBytes - 1));
  return table[TableIndex(linear)];
}

void EnablePaging() {
  kernel_directory = reinterpret_cast<uint32_t*>(AllocatePage());
  for (uint32_t address = 0; address < kLargePageBytes; address += kPageBytes) {
    Map(kernel_directory, address, address, IdentityFlags(address));
  }
  WriteCr4(ReadCr4() | cr4::kPse);
  WriteCr3(AddressOf(kernel_directory));
  WriteCr0(ReadCr0() | cr0::kPg | cr0::kWp);
}

}  // namespace demo
