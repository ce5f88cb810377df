#include "monitor/boot/multiboot.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "monitor/boot/memory_map.h"
#include "tests/boot/images.h"

namespace ring3 {
namespace {

constexpr uint64_t kMegabyte = 1 << 20;
constexpr uint32_t kAddressFields = 1u << 16;

// A flat kernel: header at file offset 8, linked at 1 MiB.
Bytes MakeFlatKernel(uint32_t load_end, uint32_t bss_end, size_t file_size = 256) {
  Bytes file(8, 0x90);
  AppendBytes(file, MultibootHeader(kAddressFields));
  for (const uint32_t field : {0x100008u, 0x100000u, load_end, bss_end, 0x100030u}) AppendField<uint32_t>(file, field);
  file.resize(file_size, 0xCC);
  return file;
}

std::string ParseMessage(const Bytes& file) {
  return UsageMessage([&] { ParseMultiboot({"k.elf", file}); });
}

std::string LoadMessage(const Bytes& file, uint64_t ram = 4 * kMegabyte) {
  return UsageMessage([&] {
    PhysicalMemory memory(ram);
    CpuState cpu;
    LoadMultiboot({{"k.elf", file}, "k.elf", {}}, memory, cpu);
  });
}

}  // namespace

TEST_CASE("an ELF kernel is loaded by physical address and entered there") {
  const Bytes text(100, 0x11), data(50, 0x22);
  const Bytes file =
      MakeMultibootElf(0, 0xC0100010, {{0xC0100000, 0x100000, text, 0x1000}, {0xC0101000, 0x101000, data, 0x3000}});
  PhysicalMemory memory(4 * kMegabyte);
  std::fill_n(memory.Flat(GuestPhysical(0x100000)), 0x8000, 0xEE);
  CpuState cpu;
  LoadMultiboot({{"k.elf", file}, "k.elf one two", {}}, memory, cpu);

  Bytes expected(0x4100);
  std::copy(text.begin(), text.end(), expected.begin());
  std::copy(data.begin(), data.end(), expected.begin() + 0x1000);
  std::fill(expected.begin() + 0x4000, expected.end(), 0xEE);
  CHECK(GuestBytes(memory, 0x100000, 0x4100) == expected);

  CHECK(cpu.eip == 0x100010);
  CHECK(cpu.gpr[kEax] == 0x2BADB002);
  CHECK((cpu.cr0 & (cr0::kPe | cr0::kPg)) == cr0::kPe);
  CHECK((cpu.eflags & (eflags::kIf | eflags::kVm)) == 0);
  CHECK(cpu.Segment(Seg::kCs).attributes == 0xC09B);
  CHECK(cpu.Segment(Seg::kSs).attributes == 0xC093);
}

TEST_CASE("the information structure tells all") {
  const Bytes file = MakeMultibootElf(3, 0x100000, {{0x100000, 0x100000, Bytes(16), 0x2800}});
  const Bytes first(5000, 1), second(3, 2);
  PhysicalMemory memory(4 * kMegabyte);
  CpuState cpu;
  LoadMultiboot({{"k.elf", file}, "k.elf opt", {{{"m1", first}, "m1 a b"}, {{"m2", second}, "m2"}}}, memory, cpu);

  const Bytes info = GuestBytes(memory, cpu.gpr[kEbx], 116);
  CHECK(LoadField<uint32_t>(info, 0) == (1u << 0 | 1u << 2 | 1u << 3 | 1u << 6 | 1u << 9));
  CHECK(LoadField<uint32_t>(info, 4) == 639);
  CHECK(LoadField<uint32_t>(info, 8) == 3 * 1024);
  CHECK(GuestString(memory, LoadField<uint32_t>(info, 16)) == "k.elf opt");
  CHECK(GuestString(memory, LoadField<uint32_t>(info, 64)) == "ring3");

  REQUIRE(LoadField<uint32_t>(info, 20) == 2);
  const Bytes modules = GuestBytes(memory, LoadField<uint32_t>(info, 24), 32);
  CHECK(LoadField<uint32_t>(modules, 0) == 0x103000);
  CHECK(LoadField<uint32_t>(modules, 4) == 0x103000 + 5000);
  CHECK(GuestString(memory, LoadField<uint32_t>(modules, 8)) == "m1 a b");
  CHECK(LoadField<uint32_t>(modules, 16) == 0x105000);
  CHECK(LoadField<uint32_t>(modules, 20) == 0x105003);
  CHECK(GuestString(memory, LoadField<uint32_t>(modules, 24)) == "m2");
  CHECK(GuestBytes(memory, 0x103000, 5000) == first);
  CHECK(GuestBytes(memory, 0x105000, 3) == second);

  const auto map = BuildMemoryMap(memory.RamBytes());
  REQUIRE(LoadField<uint32_t>(info, 44) == map.size() * 24);
  const Bytes entries = GuestBytes(memory, LoadField<uint32_t>(info, 48), map.size() * 24);
  for (size_t i = 0; i < map.size(); ++i) {
    CHECK(LoadField<uint32_t>(entries, i * 24) == 20);
    CHECK(LoadField<uint64_t>(entries, i * 24 + 4) == map[i].base);
    CHECK(LoadField<uint64_t>(entries, i * 24 + 12) == map[i].bytes);
    CHECK(LoadField<uint32_t>(entries, i * 24 + 20) == static_cast<uint32_t>(map[i].type));
  }
}

TEST_CASE("boot data keeps clear of a kernel in conventional memory") {
  const Bytes file = MakeMultibootElf(0, 0x1000, {{0x1000, 0x1000, Bytes(16, 0x33), 0x7000}});
  PhysicalMemory memory(4 * kMegabyte);
  CpuState cpu;
  LoadMultiboot({{"k.elf", file}, "k.elf", {}}, memory, cpu);
  CHECK(cpu.gpr[kEbx] >= 0x8000);
  CHECK(cpu.gdtr.base >= 0x8000);
  CHECK(GuestBytes(memory, 0x1000, 16) == Bytes(16, 0x33));

  CHECK_THAT(LoadMessage(MakeMultibootElf(0, 0, {{0, 0, Bytes(4), 0x9FC00}})),
             Catch::Contains("leaves no conventional memory"));
}

TEST_CASE("a flat kernel is loaded by its header's addresses") {
  const Bytes file = MakeFlatKernel(0x100080, 0x100100);
  const MultibootImage image = ParseMultiboot({"k", file});
  REQUIRE(image.segments.size() == 1);
  CHECK(image.segments[0].address == 0x100000);
  CHECK(image.segments[0].bytes.size() == 0x80);
  CHECK(image.segments[0].bytes.data() == file.data());
  CHECK(image.segments[0].memory_bytes == 0x100);
  CHECK(image.entry == 0x100030);

  // Zero load_end: to the end of the file; zero bss_end: no bss.
  const Bytes open_ended = MakeFlatKernel(0, 0);
  const MultibootImage whole = ParseMultiboot({"k", open_ended});
  CHECK(whole.segments[0].bytes.size() == 256);
  CHECK(whole.segments[0].memory_bytes == 256);
}

TEST_CASE("contradictory flat headers are refused") {
  CHECK_THAT(ParseMessage(MakeFlatKernel(0x100101, 0)), Catch::Contains("is truncated"));
  CHECK_THAT(ParseMessage(MakeFlatKernel(0x0FFFFF, 0)), Catch::Contains("contradictory"));
  CHECK_THAT(ParseMessage(MakeFlatKernel(0x100080, 0x100040)), Catch::Contains("contradictory"));
  Bytes header_below_load = MakeFlatKernel(0, 0);
  StoreField<uint32_t>(header_below_load, 8 + 12, 0xFFFF0);
  CHECK_THAT(ParseMessage(header_below_load), Catch::Contains("contradictory"));
  Bytes cut = MakeFlatKernel(0, 0);
  cut.resize(8 + 20);
  CHECK_THAT(ParseMessage(cut), Catch::Contains("is truncated"));
}

TEST_CASE("headers are found only where they may be") {
  CHECK_FALSE(IsMultiboot({}));
  Bytes file(8192 - 12);
  AppendBytes(file, MultibootHeader(0));
  CHECK(IsMultiboot(file));
  file.insert(file.begin(), 4, 0);
  CHECK_FALSE(IsMultiboot(file));
  Bytes unaligned(2);
  AppendBytes(unaligned, MultibootHeader(0));
  CHECK_FALSE(IsMultiboot(unaligned));
  Bytes bad_checksum = MultibootHeader(0);
  bad_checksum[8] ^= 1;
  CHECK_FALSE(IsMultiboot(bad_checksum));
}

TEST_CASE("unknown demands are refused, wishes are not") {
  const std::vector<ElfSegment> segments = {{0x100000, 0x100000, Bytes(4), 4}};
  CHECK_THAT(ParseMessage(MakeMultibootElf(1u << 3, 0x100000, segments)), Catch::Contains("demands"));
  CHECK_THAT(ParseMessage(MakeMultibootElf(1u << 15, 0x100000, segments)), Catch::Contains("demands"));
  CHECK(ParseMessage(MakeMultibootElf(1u << 20 | 7, 0x100000, segments)) == "(no error)");
}

TEST_CASE("malformed ELF files are refused") {
  const Bytes good = MakeMultibootElf(0, 0x100000, {{0x100000, 0x100000, Bytes(64), 64}});
  CHECK(ParseMessage(good) == "(no error)");
  CHECK_THAT(ParseMessage(MultibootHeader(0)), Catch::Contains("neither ELF"));

  Bytes elf64 = good;
  elf64[4] = 2;
  CHECK(ParseMessage(elf64) == "kernel k.elf is 64-bit; ring3 runs 32-bit guests");
  Bytes arm = good;
  arm[18] = 40;
  CHECK_THAT(ParseMessage(arm), Catch::Contains("another machine"));
  Bytes many = good;
  StoreField<uint16_t>(many, 44, 0xFFFF);
  CHECK_THAT(ParseMessage(many), Catch::Contains("is truncated"));
  Bytes none = good;
  StoreField<uint16_t>(none, 44, 0);
  CHECK_THAT(ParseMessage(none), Catch::Contains("nothing to load"));
  const Bytes cut(good.begin(), good.end() - 1);
  CHECK_THAT(ParseMessage(cut), Catch::Contains("is truncated"));
  CHECK_THAT(ParseMessage(MakeMultibootElf(0, 0, {{0, 0x100000, Bytes(64), 63}})),
             Catch::Contains("larger in the file"));
  CHECK_THAT(ParseMessage(MakeMultibootElf(0, 0, {{0, 0x100000, Bytes(64), 64}, {0, 0x10003F, Bytes(4), 4}})),
             Catch::Contains("overlapping"));
}

TEST_CASE("an entry outside of everything loaded is refused") {
  const auto entry = [](uint32_t address) {
    return ParseMessage(MakeMultibootElf(0, address, {{0xC0100000, 0x100000, Bytes(64), 64}}));
  };
  CHECK(entry(0xC010003F) == "(no error)");
  CHECK(entry(0x10003F) == "(no error)");
  CHECK(entry(0xC0100040) == "kernel k.elf has its entry in none of its segments");
  CHECK(entry(0) == "kernel k.elf has its entry in none of its segments");
}

TEST_CASE("segments outside usable memory are refused") {
  const auto at = [](uint32_t address, uint32_t size) {
    return MakeMultibootElf(0, address, {{address, address, Bytes(4), size}});
  };
  CHECK(LoadMessage(at(0x100000, 0x300000)) == "(no error)");
  CHECK(LoadMessage(at(0x100000, 0x300001)) ==
        "kernel k.elf wants to be loaded at [0x100000, 0x400001), which is outside the guest's memory");
  CHECK_THAT(LoadMessage(at(0x9F000, 0x1000)), Catch::Contains("outside"));
  CHECK_THAT(LoadMessage(at(0xB8000, 4)), Catch::Contains("outside"));
  CHECK_THAT(LoadMessage(at(0xFFFFFFF0, 0xFFFFFFFF)), Catch::Contains("outside"));
}

TEST_CASE("a module larger than memory is refused") {
  const Bytes file = MakeMultibootElf(0, 0x100000, {{0x100000, 0x100000, Bytes(4), 4}});
  const Bytes module(3 * kMegabyte);
  CHECK(UsageMessage([&] {
          PhysicalMemory memory(4 * kMegabyte);
          CpuState cpu;
          LoadMultiboot({{"k.elf", file}, "k.elf", {{{"big", module}, "big"}}}, memory, cpu);
        }) == "initrd big (3145728 bytes) does not fit into the guest's memory behind the kernel");
}

}  // namespace ring3
