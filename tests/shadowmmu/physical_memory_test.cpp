#include "shadowmmu/physical_memory.h"

#include <sys/stat.h>

#include <catch2/catch.hpp>

#include "monitor/cpu/fault.h"

namespace ring3 {
namespace {

constexpr uint64_t kRam = 2u << 20;

struct Log {
  uint64_t address;
  unsigned size;
  uint64_t value;
  bool operator==(const Log&) const = default;
};

struct TestDevice final : MmioDevice {
  uint64_t ReadMmio(GuestPhysical address, unsigned size) override {
    reads.push_back({address.value, size, 0});
    return 0x8877665544332211;
  }
  void WriteMmio(GuestPhysical address, unsigned size, uint64_t value) override {
    writes.push_back({address.value, size, value});
  }
  std::vector<Log> reads, writes;
};

std::vector<uint8_t> ReadAll(PhysicalMemory& memory, uint64_t address, size_t bytes) {
  std::vector<uint8_t> out(bytes);
  memory.Read(GuestPhysical(address), out);
  return out;
}

void WriteAll(PhysicalMemory& memory, uint64_t address, const std::vector<uint8_t>& data) {
  memory.Write(GuestPhysical(address), data);
}

using Bytes = std::vector<uint8_t>;

TEST_CASE("RAM sizes outside the range are refused with one line that names it") {
  for (const uint64_t bytes : {uint64_t{0}, uint64_t{1024}, kRam + 1, uint64_t{5} << 30,
                               PhysicalMemory::kMaxRam + kPageSize, PhysicalMemory::kMinRam - kPageSize}) {
    try {
      PhysicalMemory memory(bytes);
      FAIL("accepted " << bytes);
    } catch (const UsageError& error) {
      const std::string text = error.what();
      CHECK(text.find("1 MiB to 3584 MiB") != std::string::npos);
      CHECK(text.find('\n') == std::string::npos);
    }
  }
}

TEST_CASE("The largest RAM takes no memory until it is touched, and holds data at its end") {
  PhysicalMemory memory(PhysicalMemory::kMaxRam);
  struct stat info;
  REQUIRE(fstat(memory.MemoryFd(), &info) == 0);
  CHECK(info.st_blocks == 0);
  WriteAll(memory, PhysicalMemory::kMaxRam - 4, {1, 2, 3, 4});
  CHECK(ReadAll(memory, PhysicalMemory::kMaxRam - 4, 6) == Bytes{1, 2, 3, 4, 0xFF, 0xFF});
}

TEST_CASE("The default layout of kinds") {
  PhysicalMemory memory(kRam);
  for (uint64_t page = 0; page < kRam + 4 * kPageSize; page += kPageSize) {
    const bool mmio = (page >= 0xA0000 && page < 0xC0000) || page >= kRam;
    REQUIRE(memory.KindOf(GuestPhysical(page)) == (mmio ? PageKind::kMmio : PageKind::kRam));
  }
  CHECK(memory.KindOf(GuestPhysical(~uint64_t{0})) == PageKind::kMmio);
}

TEST_CASE("Reads and writes cross from RAM to ROM to nothing") {
  PhysicalMemory memory(kRam);
  memory.SetKind(GuestPhysical(kRam - kPageSize), kPageSize, PageKind::kRom);
  memory.Flat(GuestPhysical(kRam - kPageSize))[0] = 0x55;
  WriteAll(memory, kRam - kPageSize - 2, {1, 2, 3});
  CHECK(ReadAll(memory, kRam - kPageSize - 2, 3) == Bytes{1, 2, 0x55});
  WriteAll(memory, kRam - 1, {7, 7});
  CHECK(ReadAll(memory, kRam - 1, 3) == Bytes{0, 0xFF, 0xFF});
  CHECK(ReadAll(memory, 0xA0000, 2) == Bytes{0xFF, 0xFF});
}

TEST_CASE("Kinds of pages that are not RAM cannot be set") {
  PhysicalMemory memory(kRam);
  CHECK_THROWS_AS(memory.SetKind(GuestPhysical(kRam), kPageSize, PageKind::kRom), std::out_of_range);
  CHECK_THROWS_AS(memory.SetKind(GuestPhysical(1), kPageSize, PageKind::kRom), std::out_of_range);
  CHECK_THROWS_AS(memory.SetKind(GuestPhysical(0), kRam + kPageSize, PageKind::kRom), std::out_of_range);
}

TEST_CASE("MMIO accesses reach the device whole when aligned and in pieces otherwise") {
  PhysicalMemory memory(kRam);
  TestDevice device;
  memory.AttachMmio(GuestPhysical(0xFEC00000), 0x20, device);
  CHECK(ReadAll(memory, 0xFEC00010, 4) == Bytes{0x11, 0x22, 0x33, 0x44});
  CHECK(ReadAll(memory, 0xFEC00018, 8) == Bytes{0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88});
  CHECK(ReadAll(memory, 0xFEC00001, 4).size() == 4);
  CHECK(device.reads ==
        std::vector<Log>{
            {0xFEC00010, 4, 0}, {0xFEC00018, 8, 0}, {0xFEC00001, 1, 0}, {0xFEC00002, 2, 0}, {0xFEC00004, 1, 0}});
  WriteAll(memory, 0xFEC0001E, {1, 2, 3, 4});  // the last two bytes lie past the device
  CHECK(device.writes == std::vector<Log>{{0xFEC0001E, 2, 0x0201}});
  CHECK(ReadAll(memory, 0xFEC00020, 2) == Bytes{0xFF, 0xFF});
}

TEST_CASE("A device over RAM takes its pages, and two devices cannot share an address") {
  PhysicalMemory memory(kRam);
  TestDevice device, other;
  memory.AttachMmio(GuestPhysical(0x10000), 0x10, device);
  CHECK(memory.KindOf(GuestPhysical(0x10FFF)) == PageKind::kMmio);
  CHECK(memory.KindOf(GuestPhysical(0x11000)) == PageKind::kRam);
  CHECK_THROWS_AS(memory.AttachMmio(GuestPhysical(0x1000F), 1, other), std::logic_error);
  memory.AttachMmio(GuestPhysical(0x10010), 0x10, other);
}

struct WatchLog final : WriteListener {
  explicit WatchLog(PhysicalMemory& m) : memory(m) {}
  void WatchedPageWritten(GuestPhysical address, uint32_t size) override {
    calls.push_back({address.value, size, memory.Flat(address)[0]});
  }
  PhysicalMemory& memory;
  std::vector<Log> calls;  // value: the first byte as it was when told
};

TEST_CASE("Writes to watched pages are announced before the bytes change") {
  PhysicalMemory memory(kRam);
  WatchLog log(memory);
  memory.SetWriteListener(&log);
  memory.SetWatched(GuestPhysical(0x2000), true);
  memory.Flat(GuestPhysical(0x2000))[0] = 0x99;
  WriteAll(memory, 0x1FFE, {1, 2, 3, 4});
  CHECK(log.calls == std::vector<Log>{{0x2000, 2, 0x99}});
  CHECK(ReadAll(memory, 0x1FFE, 4) == Bytes{1, 2, 3, 4});
  memory.SetWatched(GuestPhysical(0x2000), false);
  WriteAll(memory, 0x2000, {5});
  CHECK(log.calls.size() == 1);
  CHECK_FALSE(memory.IsWatched(GuestPhysical(kRam)));
}

struct KindLog final : KindListener {
  void KindChanged(GuestPhysical first, uint64_t bytes) override { calls.push_back({first.value, 0, bytes}); }
  std::vector<Log> calls;
};

TEST_CASE("Kind listeners hear of changes until they are removed") {
  PhysicalMemory memory(kRam);
  KindLog log;
  memory.AddKindListener(&log);
  memory.SetKind(GuestPhysical(0xF0000), 0x10000, PageKind::kRom);
  memory.RemoveKindListener(&log);
  memory.SetKind(GuestPhysical(0xF0000), 0x10000, PageKind::kRam);
  CHECK(log.calls == std::vector<Log>{{0xF0000, 0, 0x10000}});
}

TEST_CASE("ROM ends at 4 GiB, is read like RAM and ignores writes") {
  constexpr uint64_t kRom = PhysicalMemory::kRomEnd - PhysicalMemory::kMaxRom;
  PhysicalMemory memory(kRam, PhysicalMemory::kMaxRom);
  CHECK(memory.RamBytes() == kRam);
  CHECK(memory.Extent() == PhysicalMemory::kRomEnd);
  CHECK(memory.KindOf(GuestPhysical(kRam)) == PageKind::kMmio);
  CHECK(memory.KindOf(GuestPhysical(kRom - 1)) == PageKind::kMmio);
  CHECK(memory.KindOf(GuestPhysical(kRom)) == PageKind::kRom);
  CHECK(memory.KindOf(GuestPhysical(PhysicalMemory::kRomEnd - 1)) == PageKind::kRom);
  CHECK(memory.KindOf(GuestPhysical(PhysicalMemory::kRomEnd)) == PageKind::kMmio);
  std::memcpy(memory.Flat(GuestPhysical(kRom)), "image", 5);
  WriteAll(memory, kRom, {1, 2, 3});
  CHECK(ReadAll(memory, kRom - 1, 6) == Bytes{0xFF, 'i', 'm', 'a', 'g', 'e'});
  CHECK(ReadAll(memory, kRam - 1, 2) == Bytes{0, 0xFF});
  memory.SetWatched(GuestPhysical(kRom), true);
  CHECK(memory.IsWatched(GuestPhysical(kRom)));
  CHECK_FALSE(memory.IsWatched(GuestPhysical(PhysicalMemory::kRomEnd)));
  CHECK_THROWS_AS(PhysicalMemory(kRam, PhysicalMemory::kMaxRom + kPageSize), UsageError);
  CHECK_THROWS_AS(PhysicalMemory(kRam, 512), UsageError);
}

TEST_CASE("Backed memory keeps its bytes where it is attached, moved and detached") {
  constexpr uint64_t kBytes = 64u << 10, kFirst = 0xE000'0000, kSecond = 0xF000'0000;
  PhysicalMemory memory(kRam, 0, 2 * kBytes);
  KindLog log;
  memory.AddKindListener(&log);
  BackedMemory& screen = memory.AddBacked(kBytes);
  BackedMemory& other = memory.AddBacked(kBytes);
  CHECK_THROWS_AS(memory.AddBacked(kPageSize), std::logic_error);
  screen.Data()[5] = 0x55;
  CHECK_FALSE(screen.Attached());
  CHECK(memory.KindOf(GuestPhysical(kFirst)) == PageKind::kMmio);

  REQUIRE(memory.AttachBacked(screen, GuestPhysical(kFirst)));
  CHECK(screen.Address() == GuestPhysical(kFirst));
  CHECK(memory.KindOf(GuestPhysical(kFirst + kBytes - 1)) == PageKind::kRam);
  CHECK(memory.KindOf(GuestPhysical(kFirst + kBytes)) == PageKind::kMmio);
  CHECK(ReadAll(memory, kFirst + 5, 1) == Bytes{0x55});
  WriteAll(memory, kFirst + kBytes - 1, {0x66});
  CHECK(screen.Data()[kBytes - 1] == 0x66);
  CHECK_FALSE(memory.AttachBacked(other, GuestPhysical(kFirst)));
  CHECK_FALSE(memory.AttachBacked(other, GuestPhysical(kSecond + kPageSize)));  // not aligned
  CHECK_FALSE(memory.AttachBacked(other, GuestPhysical(0)));                    // RAM

  REQUIRE(memory.AttachBacked(screen, GuestPhysical(kSecond)));
  CHECK(memory.KindOf(GuestPhysical(kFirst)) == PageKind::kMmio);
  CHECK(ReadAll(memory, kSecond + 5, 1) == Bytes{0x55});
  memory.DetachBacked(screen);
  CHECK(ReadAll(memory, kSecond + 5, 1) == Bytes{0xFF});
  CHECK(screen.Data()[kBytes - 1] == 0x66);
  REQUIRE(memory.AttachBacked(other, GuestPhysical(kSecond)));  // where the first one's bytes still were
  CHECK(ReadAll(memory, kSecond + 5, 1) == Bytes{0});
  CHECK(screen.Data()[5] == 0x55);
  CHECK(
      log.calls ==
      std::vector<Log>{
          {kFirst, 0, kBytes}, {kFirst, 0, kBytes}, {kSecond, 0, kBytes}, {kSecond, 0, kBytes}, {kSecond, 0, kBytes}});
}

TEST_CASE("A device can be detached, and its place taken by another") {
  PhysicalMemory memory(kRam);
  TestDevice device, other;
  CHECK(memory.IsFree(GuestPhysical(0xFEC00000), 0x1000));
  CHECK_FALSE(memory.IsFree(GuestPhysical(kRam - kPageSize), 2 * kPageSize));
  CHECK_FALSE(memory.IsFree(GuestPhysical(0xFFFF'F000), 2 * kPageSize));
  memory.AttachMmio(GuestPhysical(0xFEC00000), 0x20, device);
  CHECK_FALSE(memory.IsFree(GuestPhysical(0xFEC0001F), 1));
  memory.DetachMmio(GuestPhysical(0xFEC00000), other);  // not its own
  CHECK_FALSE(memory.IsFree(GuestPhysical(0xFEC00000), 1));
  memory.DetachMmio(GuestPhysical(0xFEC00000), device);
  memory.AttachMmio(GuestPhysical(0xFEC00010), 0x20, other);
  ReadAll(memory, 0xFEC00010, 4);
  CHECK(device.reads.empty());
  CHECK(other.reads.size() == 1);
}

TEST_CASE("Pages whose content or kind changes are announced where they are watched") {
  PhysicalMemory memory(kRam);
  WatchLog log(memory);
  memory.SetWriteListener(&log);
  memory.SetWatched(GuestPhysical(0xF1000), true);
  memory.ReplacePages(GuestPhysical(0xF0000), Bytes(3 * kPageSize, 7));
  CHECK(log.calls == std::vector<Log>{{0xF1000, kPageSize, 0}});
  CHECK(ReadAll(memory, 0xF2FFF, 1) == Bytes{7});
  memory.SetKind(GuestPhysical(0xF0000), 0x10000, PageKind::kRom);
  CHECK(log.calls.size() == 2);
}

}  // namespace
}  // namespace ring3
