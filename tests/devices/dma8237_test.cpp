#include "devices/dma8237.h"

#include <catch2/catch.hpp>
#include <numeric>

namespace ring3 {
namespace {

using Bytes = std::vector<uint8_t>;

constexpr uint8_t kWriteMode = 0x44, kReadMode = 0x48, kVerifyMode = 0x40, kAuto = 0x10, kDown = 0x20;

struct Fixture {
  PhysicalMemory memory{2u << 20};
  DmaControllers dma{memory};

  Fixture() {
    dma.Second().WritePort(0xD4, 1, 0);  // the cascade is open
  }
  void First(uint16_t port, uint8_t value) { dma.First().WritePort(port, 1, value); }
  /// Channel 2, as for a floppy.
  void Program(uint8_t mode, uint32_t address, uint16_t count) {
    First(0x0C, 0);
    First(0x0B, static_cast<uint8_t>(mode | 2));
    First(0x04, static_cast<uint8_t>(address));
    First(0x04, static_cast<uint8_t>(address >> 8));
    First(0x05, static_cast<uint8_t>(count));
    First(0x05, static_cast<uint8_t>(count >> 8));
    dma.Pages().WritePort(0x81, 1, address >> 16);
    First(0x0A, 2);
  }
  Bytes Memory(uint32_t address, size_t bytes) {
    Bytes out(bytes);
    memory.Read(GuestPhysical(address), out);
    return out;
  }
};

}  // namespace

TEST_CASE("dma: a transfer into memory ends at the terminal count and masks the channel", "[dma]") {
  Fixture f;
  CHECK_FALSE(f.dma.Ready(2));
  CHECK(f.dma.ToMemory(2, Bytes{1}).bytes == 0);
  f.Program(kWriteMode, 0x12345, 4);
  CHECK(f.dma.Ready(2));
  const auto first = f.dma.ToMemory(2, Bytes{1, 2, 3});
  CHECK(first.bytes == 3);
  CHECK_FALSE(first.terminal_count);
  f.First(0x0C, 0);
  CHECK(f.dma.First().ReadPort(4, 1) == 0x48);
  CHECK(f.dma.First().ReadPort(4, 1) == 0x23);
  CHECK(f.dma.First().ReadPort(5, 1) == 1);
  f.dma.SetRequest(2, true);
  const auto second = f.dma.ToMemory(2, Bytes{4, 5, 6});
  CHECK(second.bytes == 2);
  CHECK(second.terminal_count);
  CHECK(f.Memory(0x12345, 6) == Bytes{1, 2, 3, 4, 5, 0});
  CHECK_FALSE(f.dma.Ready(2));
  CHECK(f.dma.First().ReadPort(8, 1) == 0x44);
  CHECK(f.dma.First().ReadPort(8, 1) == 0x40);
  CHECK(f.dma.First().ReadPort(0x0F, 1) == 0xFF);
}

TEST_CASE("dma: from memory, by words, downwards, round and round", "[dma]") {
  Fixture f;
  Bytes data(16);
  std::iota(data.begin(), data.end(), uint8_t{1});
  f.memory.Write(GuestPhysical(0x20000), data);
  f.Program(kReadMode | kAuto, 0x20004, 1);
  Bytes out(3);
  auto moved = f.dma.FromMemory(2, out);
  CHECK(moved.bytes == 2);
  CHECK(moved.terminal_count);
  CHECK(f.dma.Ready(2));
  moved = f.dma.FromMemory(2, out);
  CHECK(out == Bytes{5, 6, 0});
  CHECK(f.dma.ToMemory(2, out).bytes == 0);  // the other direction
  f.Program(kReadMode | kDown, 0x20003, 2);
  CHECK(f.dma.FromMemory(2, out).bytes == 3);
  CHECK(out == Bytes{4, 3, 2});

  // Channel 5: words; address and count in words, the page's lowest bit does not count.
  f.dma.Second().WritePort(0xD6, 1, kReadMode | 1);
  for (const uint8_t byte : {0x01, 0x00}) f.dma.Second().WritePort(0xC4, 1, byte);
  for (const uint8_t byte : {0x01, 0x00}) f.dma.Second().WritePort(0xC6, 1, byte);
  f.dma.Pages().WritePort(0x8B, 1, 3);
  f.dma.Second().WritePort(0xD4, 1, 1);
  Bytes words(8);
  moved = f.dma.FromMemory(5, words);
  CHECK(moved.bytes == 4);
  CHECK(moved.terminal_count);
  CHECK(words == Bytes{3, 4, 5, 6, 0, 0, 0, 0});
}

TEST_CASE("dma: addresses wrap inside their page, verification moves nothing", "[dma]") {
  Fixture f;
  f.Program(kWriteMode, 0x1FFFE, 3);
  CHECK(f.dma.ToMemory(2, Bytes{1, 2, 3, 4}).terminal_count);
  CHECK(f.Memory(0x1FFFE, 3) == Bytes{1, 2, 0});
  CHECK(f.Memory(0x10000, 2) == Bytes{3, 4});
  f.Program(kVerifyMode, 0x10000, 0xFFFF);
  CHECK(f.dma.ToMemory(2, Bytes(0x10000, 9)).terminal_count);
  CHECK(f.Memory(0x10000, 2) == Bytes{3, 4});
  f.Program(0x0C | 0x40, 0x10000, 1);  // no direction
  CHECK(f.dma.ToMemory(2, Bytes(2, 9)).bytes == 0);
  Bytes out(2);
  CHECK(f.dma.FromMemory(2, out).bytes == 0);
}

TEST_CASE("dma: a waiting device hears when the guest opens its channel", "[dma]") {
  Fixture f;
  unsigned calls = 0;
  f.dma.OnReady(2, [&] { ++calls; });
  f.Program(kWriteMode, 0x1000, 10);
  CHECK(calls == 0);  // no request
  f.First(0x0A, 6);
  f.dma.SetRequest(2, true);
  CHECK(calls == 0);
  f.First(0x0A, 2);
  CHECK(calls == 1);
  f.First(0x08, 4);
  CHECK_FALSE(f.dma.Ready(2));
  f.First(0x08, 0);
  CHECK(calls == 2);
  f.First(0x0D, 0);
  CHECK_FALSE(f.dma.Ready(2));
  f.First(0x0E, 0);
  CHECK(f.dma.Ready(2));
  f.dma.Second().WritePort(0xD4, 1, 4);  // the cascade closes
  CHECK_FALSE(f.dma.Ready(2));
  f.dma.Reset();
  CHECK(f.dma.Pages().ReadPort(0x81, 1) == 0);
}

}  // namespace ring3
