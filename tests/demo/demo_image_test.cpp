// The embedded kernel is what a Multiboot loader expects: an ELF32 for i386 with a valid header in its first 8 KiB.
#include "monitor/demo/demo_image.h"

#include <elf.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <optional>

namespace {

constexpr uint32_t kMultibootMagic = 0x1BADB002;
constexpr size_t kHeaderArea = 8192;

template <class T>
T ReadAt(std::span<const uint8_t> image, size_t offset) {
  REQUIRE(offset + sizeof(T) <= image.size());
  T value;
  std::memcpy(&value, image.data() + offset, sizeof value);
  return value;
}

std::optional<size_t> FindMultibootHeader(std::span<const uint8_t> image) {
  for (size_t offset = 0; offset + 12 <= kHeaderArea; offset += 4) {
    if (ReadAt<uint32_t>(image, offset) == kMultibootMagic) return offset;
  }
  return std::nullopt;
}

}  // namespace

TEST_CASE("the demo kernel is an executable ELF32 for i386") {
  auto image = ring3::DemoKernelImage();
  auto header = ReadAt<Elf32_Ehdr>(image, 0);
  REQUIRE(std::memcmp(header.e_ident, ELFMAG, SELFMAG) == 0);
  CHECK(header.e_ident[EI_CLASS] == ELFCLASS32);
  CHECK(header.e_type == ET_EXEC);
  CHECK(header.e_machine == EM_386);
}

TEST_CASE("the demo kernel has a Multiboot header") {
  auto image = ring3::DemoKernelImage();
  auto offset = FindMultibootHeader(image);
  REQUIRE(offset);
  uint32_t sum = 0;
  for (size_t i = 0; i < 3; ++i) sum += ReadAt<uint32_t>(image, *offset + 4 * i);
  CHECK(sum == 0);
}

TEST_CASE("the demo kernel's segments lie above 1 MiB, and hold the entry point") {
  auto image = ring3::DemoKernelImage();
  auto header = ReadAt<Elf32_Ehdr>(image, 0);
  bool entry_loaded = false;
  for (unsigned i = 0; i < header.e_phnum; ++i) {
    auto segment = ReadAt<Elf32_Phdr>(image, header.e_phoff + i * sizeof(Elf32_Phdr));
    if (segment.p_type != PT_LOAD) continue;
    INFO("segment " << i);
    CHECK(segment.p_offset + segment.p_filesz <= image.size());
    CHECK(segment.p_filesz <= segment.p_memsz);
    CHECK(segment.p_paddr >= 0x100000);
    CHECK(segment.p_paddr + segment.p_memsz <= 0x400000);
    entry_loaded |= header.e_entry >= segment.p_vaddr && header.e_entry < segment.p_vaddr + segment.p_filesz;
  }
  CHECK(entry_loaded);
}
