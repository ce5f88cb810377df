#include "monitor/boot/bios.h"

#include <catch2/catch.hpp>

#include "tests/boot/images.h"

namespace ring3 {
namespace {

constexpr size_t kBlock = 64 << 10;
constexpr uint64_t kMegabyte = 1 << 20;

/// An image in which each KiB differs.
Bytes MakeImage(size_t blocks) {
  Bytes image(blocks * kBlock);
  for (size_t i = 0; i < image.size(); ++i) image[i] = static_cast<uint8_t>((i >> 10) + 1);
  return image;
}

}  // namespace

TEST_CASE("a firmware image lies below 4 GiB, and nothing else changes") {
  for (size_t blocks = 1; blocks <= 4; ++blocks) {
    CAPTURE(blocks);
    const Bytes image = MakeImage(blocks);
    PhysicalMemory memory(2 * kMegabyte, image.size());
    InstallBios(image, memory);
    CHECK(GuestBytes(memory, PhysicalMemory::kRomEnd - image.size(), image.size()) == image);
    for (uint64_t page = 0; page < 2 * kMegabyte; page += kPageSize) {
      const bool video = page >= 0xA0000 && page < 0xC0000;
      REQUIRE(memory.KindOf(GuestPhysical(page)) == (video ? PageKind::kMmio : PageKind::kRam));
      REQUIRE(GuestBytes(memory, page, kPageSize) == Bytes(kPageSize, 0));
    }
  }
}

}  // namespace ring3
