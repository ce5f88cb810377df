#include "identify.h"

#include "checks.h"
#include "console.h"
#include "runtime.h"
#include "x86.h"

extern "C" const uint8_t kernel_start[], kernel_end[];

namespace demo {
namespace {

// Multiboot specification 0.6.96, section 3.3.
constexpr uint32_t kLoaderMagic = 0x2BADB002;
constexpr uint32_t kHasMemory = 1u << 0, kHasCommandLine = 1u << 2, kHasMap = 1u << 6, kHasLoaderName = 1u << 9;
constexpr uint32_t kTypeRam = 1;

struct MultibootInfo {
  uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, mods[2], syms[4], mmap_length, mmap_addr, drives[2],
      config_table, boot_loader_name;
};
struct [[gnu::packed]] MapEntry {
  uint32_t size;  // of what follows
  BootInfo::Range range;
};

template <unsigned kBytes>
void CopyString(char (&to)[kBytes], uint32_t from) {
  const char* text = reinterpret_cast<const char*>(from);
  unsigned i = 0;
  for (; i + 1 < kBytes && text[i] != 0; ++i) to[i] = text[i];
  to[i] = 0;
}

bool HoldsKernel(const BootInfo::Range& r) {
  bool starts_below = r.base_high == 0 && r.base_low <= AddressOf(kernel_start);
  return r.type == kTypeRam && starts_below && (r.bytes_high != 0 || AddressOf(kernel_end) - r.base_low <= r.bytes_low);
}

struct FeatureName {
  uint32_t bit;
  const char* name;
};

void PrintFeatures(uint32_t edx) {
  static constexpr const char* kNames[32] = {"fpu",  "vme",   "de",    "pse",     "tsc",   "msr", "pae",  "mce",
                                             "cx8",  "apic",  nullptr, "sep",     "mtrr",  "pge", "mca",  "cmov",
                                             "pat",  "pse36", "psn",   "clflush", nullptr, "ds",  "acpi", "mmx",
                                             "fxsr", "sse",   "sse2",  "ss",      "htt",   "tm",  "ia64", "pbe"};
  Print("  features:");
  for (unsigned bit = 0; bit < 32; ++bit) {
    if ((edx >> bit & 1) != 0 && kNames[bit] != nullptr) Print(" %s", kNames[bit]);
  }
  Print("\n");
}

void PrintBrand() {
  constexpr uint32_t kFirstBrandLeaf = 0x80000002, kBrandLeaves = 3;
  if (Cpuid(0x80000000).eax < kFirstBrandLeaf + kBrandLeaves - 1) return;
  union {
    CpuidResult leaf[kBrandLeaves];
    char text[sizeof(CpuidResult) * kBrandLeaves + 1];
  } brand = {};
  for (uint32_t i = 0; i < kBrandLeaves; ++i) brand.leaf[i] = Cpuid(kFirstBrandLeaf + i);
  brand.text[sizeof brand.text - 1] = 0;
  Print("  brand: %s\n", brand.text);
}

uint32_t TryFlags(uint32_t bits) {
  uint32_t before, after;
  asm volatile(
      "pushfl\n popl %0\n"
      "movl %0, %1\n xorl %2, %1\n pushl %1\n popfl\n"
      "pushfl\n popl %1\n pushl %0\n popfl"
      : "=&r"(before), "=&r"(after)
      : "ri"(bits)
      : "cc");
  return before ^ after;
}

}  // namespace

BootInfo ReadBootInfo(uint32_t magic, uint32_t address) {
  BootInfo boot = {};
  boot.multiboot = magic == kLoaderMagic;
  if (!boot.multiboot) return boot;
  const auto& info = *reinterpret_cast<const MultibootInfo*>(address);
  boot.has_memory = info.flags & kHasMemory;
  boot.lower_kib = info.mem_lower;
  boot.upper_kib = info.mem_upper;
  if (info.flags & kHasCommandLine) CopyString(boot.command_line, info.cmdline);
  if (info.flags & kHasLoaderName) CopyString(boot.loader, info.boot_loader_name);
  boot.has_map = info.flags & kHasMap;
  if (!boot.has_map) return boot;
  constexpr unsigned kMaxRanges = sizeof boot.map / sizeof boot.map[0];
  for (uint32_t at = info.mmap_addr; at < info.mmap_addr + info.mmap_length && boot.map_count < kMaxRanges;) {
    const auto& entry = *reinterpret_cast<const MapEntry*>(at);
    boot.map[boot.map_count++] = entry.range;
    at += entry.size + sizeof entry.size;
  }
  return boot;
}

void DescribeBoot(const BootInfo& info) {
  BeginSection("Boot loader and memory");
  CheckTrue("started by a Multiboot loader", info.multiboot);
  Print("  loader: %s\n  command line: %s\n", info.loader, info.command_line);
  if (info.has_memory) Print("  memory: %u KiB low, %u KiB above 1 MiB\n", info.lower_kib, info.upper_kib);
  if (!info.has_map) return;
  bool kernel_in_ram = false;
  for (unsigned i = 0; i < info.map_count; ++i) {
    const BootInfo::Range& r = info.map[i];
    Print("  %08x%08x + %08x%08x %s\n", r.base_high, r.base_low, r.bytes_high, r.bytes_low,
          r.type == kTypeRam ? "RAM" : "reserved");
    kernel_in_ram |= HoldsKernel(r);
  }
  CheckTrue("the map has RAM where this kernel lies", kernel_in_ram);
}

bool DescribeCpu() {
  BeginSection("Processor");
  if (!Check("EFLAGS.ID can be toggled: CPUID exists", eflags::kId, TryFlags(eflags::kId))) return false;
  Check("EFLAGS bits 3, 5 and 15 cannot", 0, TryFlags(1u << 3 | 1u << 5 | 1u << 15));
  CpuidResult zero = Cpuid(0), one = Cpuid(1);
  char vendor[13] = {};
  memcpy(vendor, &zero.ebx, 4);
  memcpy(vendor + 4, &zero.edx, 4);
  memcpy(vendor + 8, &zero.ecx, 4);
  Print("  vendor: %s, highest leaf %x\n", vendor, zero.eax);
  PrintBrand();
  uint32_t family = one.eax >> 8 & 0xF, model = one.eax >> 4 & 0xF;
  if (family == 6 || family == 15) model |= one.eax >> 12 & 0xF0;
  if (family == 15) family += one.eax >> 20 & 0xFF;
  Print("  family %u model %u stepping %u\n", family, model, one.eax & 0xF);
  PrintFeatures(one.edx);

  static constexpr FeatureName kNeeded[] = {{feature::kFpu, "has an x87 FPU"}, {feature::kPse, "has 4 MiB pages"},
                                            {feature::kTsc, "has RDTSC"},      {feature::kMsr, "has MSRs"},
                                            {feature::kSep, "has SYSENTER"},   {feature::kFxsr, "has FXSAVE"},
                                            {feature::kSse, "has SSE"}};
  bool all = true;
  for (const FeatureName& needed : kNeeded) all &= CheckTrue(needed.name, one.edx & needed.bit);
  return all;
}

}  // namespace demo
