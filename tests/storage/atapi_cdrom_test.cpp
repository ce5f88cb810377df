#include "devices/ide/atapi_cdrom.h"

#include <catch2/catch.hpp>

#include "tests/storage/storage_machine.h"

namespace ring3 {
namespace {

/// The guest has seen that the power came on and the disc was changed.
struct Ready : StorageMachine {
  Ready() { Packet({0x00}); }
};

Bytes Blocks(const StorageMachine& m, uint32_t lba, size_t count) {
  const auto at = m.disc.bytes.begin() + lba * 2048;
  return Bytes(at, at + static_cast<ptrdiff_t>(count * 2048));
}

}  // namespace

TEST_CASE("atapi: IDENTIFY PACKET answers, IDENTIFY aborts with the signature", "[atapi]") {
  StorageMachine m;
  m.Command(0xEC, 0, 0, 0x170);
  CHECK(m.Status(0x170) == 0x51);
  CHECK(m.In(0x174) == 0x14);
  m.Command(0xA1, 0, 0, 0x170);
  CHECK(m.Status(0x170) == 0x58);
  CHECK(m.ReadWords(512, 0x170)[1] == 0x85);
}

TEST_CASE("atapi: the change of a disc is told once", "[atapi]") {
  StorageMachine m;
  m.Packet({0x00});
  CHECK(m.Status(0x170) == 0x51);
  CHECK(m.Sense() == std::vector<unsigned>{6, 0x28, 0});
  m.Packet({0x00});
  CHECK(m.Status(0x170) == 0x50);
  CHECK(m.cd.Eject(false));
  m.Packet({0x00});
  CHECK(m.Sense() == std::vector<unsigned>{2, 0x3A, 2});
  CHECK(m.Packet({0x4A, 1, 0, 0, 0x10, 0, 0, 0, 8})[4] == 3);  // removal
  CHECK(m.Packet({0x4A, 1, 0, 0, 0x10, 0, 0, 0, 8})[4] == 0);
  m.cd.Insert(std::make_unique<MemoryDisk>(m.disc, m.mailbox));
  CHECK(m.Packet({0x4A, 1, 0, 0, 0x10, 0, 0, 0, 8})[4] == 2);  // new media
  m.Packet({0x00});
  CHECK(m.Sense() == std::vector<unsigned>{6, 0x28, 0});
}

TEST_CASE("atapi: reads by PIO in blocks of the guest's limit, and by DMA", "[atapi]") {
  Ready m;
  CHECK(m.Packet({0x25}) == Bytes{0, 0, 1, 43, 0, 0, 8, 0});  // 300 blocks of 2048
  CHECK((m.Packet({0x28, 0, 0, 0, 0, 10, 0, 0, 100}, 2048) == Blocks(m, 10, 100)));
  CHECK((m.Packet({0xA8, 0, 0, 0, 0, 0, 0, 0, 1, 44}, 0) == Blocks(m, 0, 300)));
  CHECK((m.Packet({0xBE, 0, 0, 0, 0, 7, 0, 0, 2, 0x10}, 3000) == Blocks(m, 7, 2)));
  m.Out(0x171, 1);
  m.Out(0x177, 0xA0);
  m.WriteWords({0x28, 0, 0, 0, 0, 20, 0, 0, 16, 0, 0, 0}, 0x170);
  m.StartDma(true, {{0x20000, 32768}}, 1);
  CHECK(m.irqs.levels[15]);
  CHECK(m.Status(0x170) == 0x50);
  CHECK(m.In(0x172) == 0x03);
  CHECK((m.Memory(0x20000, 32768) == Blocks(m, 20, 16)));
}

TEST_CASE("atapi: a read beyond the disc, or of a disc that fails, is refused", "[atapi]") {
  Ready m;
  m.Packet({0x28, 0, 0, 0, 1, 43, 0, 0, 2});
  CHECK(m.Sense() == std::vector<unsigned>{5, 0x21, 0});
  m.Packet({0xA8, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF});
  CHECK(m.Sense() == std::vector<unsigned>{5, 0x21, 0});
  m.Packet({0xB9, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xF8});
  CHECK(m.Sense()[0] == 5);
  m.disc.fail_with = EIO;
  m.Packet({0x28, 0, 0, 0, 0, 0, 0, 0, 1});
  CHECK(m.Sense() == std::vector<unsigned>{3, 0x11, 0});
}

TEST_CASE("atapi: the guest locks, opens and closes the tray", "[atapi]") {
  Ready m;
  std::vector<bool> moves;
  m.cd.OnTray([&moves](bool open) { moves.push_back(open); });
  m.Packet({0x1E, 0, 0, 0, 1});
  CHECK(m.cd.Locked());
  CHECK_FALSE(m.cd.Eject(false));
  CHECK(m.Packet({0x4A, 1, 0, 0, 0x10, 0, 0, 0, 8})[4] == 1);  // eject request
  m.Packet({0x1B, 0, 0, 0, 2});
  CHECK(m.Sense() == std::vector<unsigned>{5, 0x53, 2});
  m.Packet({0x1E, 0, 0, 0, 0});
  m.Packet({0x1B, 0, 0, 0, 2});
  CHECK(m.cd.TrayOpen());
  CHECK(m.Packet({0xBD, 0, 0, 0, 0, 0, 0, 0, 0, 8})[1] == 0x10);
  m.Packet({0x1B, 0, 0, 0, 3});
  CHECK_FALSE(m.cd.TrayOpen());
  CHECK(moves == std::vector{true, false});
  m.Packet({0x00});
  CHECK(m.Sense() == std::vector<unsigned>{6, 0x28, 0});
  m.Packet({0x1E, 0, 0, 0, 1});
  CHECK(m.cd.Eject(true));
}

TEST_CASE("atapi: tables of contents, modes and configurations have the lengths that they say", "[atapi]") {
  Ready m;
  for (const uint8_t format : {0, 1, 2}) {
    const Bytes toc = m.Packet({0x43, 2, format, 0, 0, 0, 0, 3, 0xFF});
    REQUIRE(toc.size() > 4);
    CHECK(size_t(toc[0] << 8 | toc[1]) == toc.size() - 2);
  }
  CHECK(m.Packet({0x43, 0, 0, 0, 0, 0, 0, 0, 4}).size() == 4);
  for (const uint8_t page : {0x01, 0x0E, 0x2A, 0x3F}) {
    const Bytes mode = m.Packet({0x5A, 0, page, 0, 0, 0, 0, 1, 0});
    REQUIRE(mode.size() > 8);
    CHECK(size_t(mode[0] << 8 | mode[1]) == mode.size() - 2);
  }
  m.Packet({0x5A, 0, 0x05, 0, 0, 0, 0, 1, 0});
  CHECK(m.Sense() == std::vector<unsigned>{5, 0x24, 0});
  const Bytes configuration = m.Packet({0x46, 0, 0, 0, 0, 0, 0, 1, 0});
  CHECK(size_t(configuration[3]) == configuration.size() - 4);
  CHECK(configuration[7] == 8);  // a CD
  CHECK(m.Packet({0x12, 0, 0, 0, 36}).size() == 36);
  CHECK(m.Packet({0x51, 0, 0, 0, 0, 0, 0, 0, 34}).size() == 34);
  CHECK(m.Packet({0x42, 0, 0x40, 1, 0, 0, 0, 0, 16}).size() == 16);
  m.Packet({0xFF});
  CHECK(m.Sense() == std::vector<unsigned>{5, 0x20, 0});
}

TEST_CASE("atapi: ten thousand media changes, also in the midst of reads", "[atapi]") {
  Ready m;
  for (int i = 0; i < 10'000; ++i) {
    m.Out(0x171, 0);
    m.Out(0x177, 0xA0);
    for (const unsigned word : {0x28, 0, 0, 0, 0x4000, 0}) m.bus.Write(0x170, 2, word);
    if (i % 3) m.cd.Eject(true);
    m.cd.Insert(std::make_unique<MemoryDisk>(m.disc, m.mailbox));
    if (i % 5 == 0) m.Out(0x177, 0x08);
    m.mailbox.Run();
  }
  m.Settle();
  m.Out(0x177, 0x08);
  m.Packet({0x00});
  m.Packet({0x00});
  CHECK((m.Packet({0x28, 0, 0, 0, 0, 10, 0, 0, 3}) == Blocks(m, 10, 3)));
}

}  // namespace ring3
