#include "monitor/boot/linux_boot.h"

#include <catch2/catch.hpp>

#include "monitor/boot/flat_mode.h"
#include "monitor/boot/memory_map.h"
#include "tests/boot/images.h"

namespace ring3 {
namespace {

constexpr uint64_t kMegabyte = 1 << 20;
constexpr uint64_t kZeroPage = boot_layout::kLinuxZeroPage;

std::string ParseMessage(const Bytes& file) {
  return UsageMessage([&] { ParseBzImage({"vmlinuz", file}); });
}

std::string FieldsMessage(const BzImageFields& fields) { return ParseMessage(MakeBzImage(fields)); }

struct Loaded {
  explicit Loaded(uint64_t ram, const BzImageFields& fields, const Bytes& initrd = {},
                  const std::string& command_line = "console=ttyS0")
      : memory(ram), kernel(MakeBzImage(fields)) {
    LoadLinux({{"vmlinuz", kernel}, {"initrd.gz", initrd}, command_line, GuestPhysical(0xE0000)}, memory, cpu);
  }
  template <class T>
  T ZeroPageField(size_t offset) const {
    return LoadField<T>(GuestBytes(memory, kZeroPage, kPageSize), offset);
  }

  PhysicalMemory memory;
  Bytes kernel;
  CpuState cpu;
};

}  // namespace

TEST_CASE("a bzImage's header is read") {
  const Bytes file = MakeBzImage({});
  REQUIRE(IsBzImage(file));
  const BzImage image = ParseBzImage({"vmlinuz", file});
  CHECK(image.version == 0x020F);
  CHECK(image.header_end == 0x268);
  CHECK(image.payload_offset == 4 * 512);
  CHECK(image.load_address == 0x100000);
  CHECK(image.max_initrd == 0x7FFFFFFF);
  CHECK(image.command_line_max == 2047);
  CHECK(image.memory_end == 0x1400000);
}

TEST_CASE("fields that an old protocol lacks have their defaults") {
  BzImageFields fields;
  fields.version = 0x0202;
  const BzImage image = ParseBzImage({"vmlinuz", MakeBzImage(fields)});
  CHECK(image.max_initrd == 0x37FFFFFF);
  CHECK(image.command_line_max == 255);
  CHECK(image.memory_end == 0x100000 + fields.payload_bytes);
}

TEST_CASE("zero setup sectors mean four") {
  Bytes file = MakeBzImage({.setup_sectors = 4});
  file[0x1F1] = 0;
  CHECK(ParseBzImage({"vmlinuz", file}).payload_offset == 5 * 512);
}

TEST_CASE("kernels that cannot be booted are refused by name") {
  CHECK(FieldsMessage({.version = 0x0201}) == "kernel vmlinuz uses a Linux boot protocol older than 2.02");
  CHECK(FieldsMessage({.load_flags = 0}) ==
        "kernel vmlinuz is a zImage, which loads below 1 MiB; ring3 boots bzImages");
  CHECK(FieldsMessage({.xload_flags = 1}) == "kernel vmlinuz is 64-bit; ring3 runs 32-bit guests");
  // Before protocol 2.12 the field is not there, whatever its bytes say; bit 0 alone means 64-bit.
  CHECK(FieldsMessage({.version = 0x020B, .xload_flags = 1}) == "(no error)");
  CHECK(FieldsMessage({.xload_flags = 4}) == "(no error)");
}

TEST_CASE("every truncation of a bzImage is refused") {
  const Bytes whole = MakeBzImage({.payload_bytes = 1600});
  for (size_t size = 0; size < whole.size(); size += size < 0x270 ? 1 : 16) {
    INFO("size " << size);
    const Bytes part(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size));
    const std::string expected = size < 0x208 ? "is not a bzImage" : "is truncated";
    CHECK_THAT(ParseMessage(part), Catch::Contains("vmlinuz") && Catch::Contains(expected));
  }
  CHECK(ParseMessage(whole) == "(no error)");
}

TEST_CASE("any byte of the header may be damaged without harm") {
  PhysicalMemory memory(32 * kMegabyte);
  const Bytes whole = MakeBzImage({.payload_bytes = 64});
  for (size_t offset = 0x1F1; offset < 0x268; ++offset) {
    for (const uint8_t value : {0x00, 0x01, 0x7F, 0x80, 0xFF}) {
      Bytes file = whole;
      file[offset] = value;
      CpuState cpu;
      try {
        LoadLinux({{"vmlinuz", file}, {"initrd", Bytes(100)}, "x", GuestPhysical(0)}, memory, cpu);
        CHECK(cpu.eip >= kMegabyte);
      } catch (const UsageError&) {
      }
    }
  }
}

TEST_CASE("payload, command line and zero page lie in guest memory") {
  const Loaded guest(64 * kMegabyte, {});
  const Bytes payload(guest.kernel.begin() + 2048, guest.kernel.end());
  CHECK(GuestBytes(guest.memory, 0x100000, payload.size()) == payload);
  CHECK(GuestString(guest.memory, boot_layout::kLinuxCommandLine) == "console=ttyS0");

  // The whole page: header from the file with the loader's fields filled in, memory map, RSDP, zero elsewhere.
  Bytes expected(kPageSize);
  std::copy(guest.kernel.begin() + 0x1F1, guest.kernel.begin() + 0x268, expected.begin() + 0x1F1);
  StoreField<uint64_t>(expected, 0x070, 0xE0000);
  expected[0x1E8] = 4;
  StoreField<uint16_t>(expected, 0x1FA, 0xFFFF);
  expected[0x210] = 0xFF;
  expected[0x211] = 0x01;
  StoreField<uint32_t>(expected, 0x228, 0x20000);
  size_t offset = 0x2D0;
  for (const MemoryRegion& region : BuildMemoryMap(64 * kMegabyte)) {
    StoreField<uint64_t>(expected, offset, region.base);
    StoreField<uint64_t>(expected, offset + 8, region.bytes);
    StoreField<uint32_t>(expected, offset + 16, static_cast<uint32_t>(region.type));
    offset += 20;
  }
  CHECK(GuestBytes(guest.memory, kZeroPage, kPageSize) == expected);
}

TEST_CASE("the CPU stands at the 32-bit entry") {
  const Loaded guest(64 * kMegabyte, {});
  const CpuState& cpu = guest.cpu;
  CHECK(cpu.eip == 0x100000);
  CHECK(cpu.gpr == std::array<uint32_t, kGprCount>{0, 0, 0, 0, 0, 0, static_cast<uint32_t>(kZeroPage), 0});
  CHECK(cpu.eflags == eflags::kReserved1);
  CHECK((cpu.cr0 & (cr0::kPe | cr0::kPg)) == cr0::kPe);
  CHECK(cpu.cpl == 0);
  CHECK(cpu.gdtr.base == boot_layout::kLinuxGdt);
  CHECK(cpu.gdtr.limit == 31);
  for (const Seg s : {Seg::kEs, Seg::kCs, Seg::kSs, Seg::kDs, Seg::kFs, Seg::kGs}) {
    const SegmentRegister& segment = cpu.Segment(s);
    CHECK(segment.selector == (s == Seg::kCs ? 0x10 : 0x18));
    CHECK(segment.attributes == (s == Seg::kCs ? 0xC09B : 0xC093));
    CHECK(segment.base == 0);
    CHECK(segment.limit == 0xFFFFFFFF);
  }
  // The descriptors in memory say the same as the hidden parts.
  const Bytes gdt = GuestBytes(guest.memory, boot_layout::kLinuxGdt, 32);
  CHECK(LoadField<uint64_t>(gdt, 0x10) == 0x00CF9B000000FFFF);
  CHECK(LoadField<uint64_t>(gdt, 0x18) == 0x00CF93000000FFFF);
}

TEST_CASE("the initrd goes to the top of what the kernel can reach") {
  const Bytes initrd(10000, 0x5A);
  const Loaded low_ram(64 * kMegabyte, {}, initrd);
  const uint32_t expected = (64 * kMegabyte - initrd.size()) & ~0xFFFu;
  CHECK(low_ram.ZeroPageField<uint32_t>(0x218) == expected);
  CHECK(low_ram.ZeroPageField<uint32_t>(0x21C) == initrd.size());
  CHECK(GuestBytes(low_ram.memory, expected, initrd.size()) == initrd);

  const Loaded limited(64 * kMegabyte, {.max_initrd = 0x1FFFFFF}, initrd);
  CHECK(limited.ZeroPageField<uint32_t>(0x218) == ((0x2000000 - initrd.size()) & ~0xFFFu));
}

TEST_CASE("no initrd leaves its fields zero") {
  const Loaded guest(64 * kMegabyte, {});
  CHECK(guest.ZeroPageField<uint32_t>(0x218) == 0);
  CHECK(guest.ZeroPageField<uint32_t>(0x21C) == 0);
}

TEST_CASE("what does not fit is refused") {
  // The kernel occupies memory up to 20 MiB.
  CHECK(UsageMessage([] { Loaded(16 * kMegabyte, {}); }) ==
        "kernel vmlinuz needs at least 20 MiB of memory; the guest has 16 MiB");
  CHECK(UsageMessage([] { Loaded(20 * kMegabyte, {}); }) == "(no error)");
  CHECK(UsageMessage([] { Loaded(21 * kMegabyte, {}, Bytes(kMegabyte)); }) == "(no error)");
  CHECK(UsageMessage([] { Loaded(21 * kMegabyte, {}, Bytes(kMegabyte + 1)); }) ==
        "initrd initrd.gz (1048577 bytes) does not fit: 1048576 bytes of memory are left beside the kernel");
  CHECK_THAT(UsageMessage([] { Loaded(21 * kMegabyte, {}, Bytes(40 * kMegabyte)); }), Catch::Contains("does not fit"));
  CHECK_THAT(UsageMessage([] { Loaded(64 * kMegabyte, {.max_initrd = 0xFFFFFF}, Bytes(1)); }),
             Catch::Contains("does not fit: 0 bytes"));
  CHECK(UsageMessage([] { Loaded(64 * kMegabyte, {.command_line_size = 10}, {}, std::string(10, 'x')); }) ==
        "(no error)");
  CHECK(UsageMessage([] { Loaded(64 * kMegabyte, {.command_line_size = 10}, {}, std::string(11, 'x')); }) ==
        "command line is too long: 11 characters, kernel vmlinuz takes 10");
  CHECK(UsageMessage([] { Loaded(64 * kMegabyte, {.code32_start = 0x10000}); }) ==
        "kernel vmlinuz asks to be loaded below 1 MiB");
}

}  // namespace ring3
