#include <catch2/catch.hpp>

#include "tests/storage/storage_machine.h"

namespace ring3 {
namespace {

struct FloppyMachine : StorageMachine {
  FloppyMachine() {
    Out(0x3F2, 0x00);
    Out(0x3F2, 0x1C);
    for (int i = 0; i < 4; ++i) {
      Fdc({0x08});
      CHECK(FdcResult()[0] == (0xC0 | i));
    }
    Out(0x3F7, 0);  // 500 kbit/s
    Fdc({0x03, 0xDF, 0x02});
    Fdc({0x07, 0});
    Fdc({0x08});
    CHECK(FdcResult() == Bytes{0x20, 0});
  }
  /// DMA channel 2: 44h to memory, 48h from memory.
  void Dma(uint32_t address, size_t bytes, unsigned mode) {
    Out(0x0A, 6);
    Out(0x0C, 0);
    Out(0x04, address & 0xFF);
    Out(0x04, address >> 8 & 0xFF);
    Out(0x81, address >> 16);
    Out(0x05, (bytes - 1) & 0xFF);
    Out(0x05, static_cast<unsigned>((bytes - 1) >> 8));
    Out(0x0B, mode | 2);
    Out(0x0A, 2);
  }
  void Seek(uint8_t head, uint8_t cylinder) {
    Fdc({0x0F, static_cast<uint8_t>(head << 2), cylinder});
    Fdc({0x08});
    CHECK(FdcResult()[1] == cylinder);
  }
  Bytes Sectors(unsigned cylinder, unsigned head, unsigned sector, size_t count) {
    const auto at = diskette.bytes.begin() + static_cast<ptrdiff_t>(((cylinder * 2 + head) * 18 + sector - 1) * 512);
    return Bytes(at, at + static_cast<ptrdiff_t>(count * 512));
  }
};

}  // namespace

TEST_CASE("floppy: a read by DMA stops at the terminal count and names the next sector", "[floppy]") {
  FloppyMachine m;
  m.Seek(0, 5);
  m.Dma(0x10000, 3 * 512, 0x44);
  m.Fdc({0xE6, 0, 5, 0, 2, 2, 18, 0x1B, 0xFF});
  CHECK(m.irqs.levels[6]);
  CHECK(m.FdcResult() == Bytes{0x00, 0, 0, 5, 0, 5, 2});
  CHECK_FALSE(m.irqs.levels[6]);
  CHECK((m.Memory(0x10000, 3 * 512) == m.Sectors(5, 0, 2, 3)));
}

TEST_CASE("floppy: a multitrack read goes on on the other head", "[floppy]") {
  FloppyMachine m;
  m.Seek(0, 0);
  m.Dma(0x10000, 36 * 512, 0x44);
  m.Fdc({0xE6, 0, 0, 0, 1, 2, 18, 0x1B, 0xFF});
  CHECK(m.FdcResult() == Bytes{0x04, 0, 0, 1, 0, 1, 2});
  CHECK((m.Memory(0x10000, 36 * 512) == m.Sectors(0, 0, 1, 36)));
  m.Dma(0x10000, 4 * 512, 0x44);  // without MT the track ends first
  m.Fdc({0x46, 0, 0, 0, 17, 2, 18, 0x1B, 0xFF});
  CHECK(m.FdcResult() == Bytes{0x40, 0x80, 0, 1, 0, 1, 2});
}

TEST_CASE("floppy: writes, by DMA and through the FIFO", "[floppy]") {
  FloppyMachine m;
  m.Seek(1, 79);
  const Bytes data = RandomBytes(1024, 9);
  m.memory.Write(GuestPhysical(0x10000), data);
  m.Dma(0x10000, 1024, 0x48);
  m.Fdc({0xC5, 4, 79, 1, 17, 2, 18, 0x1B, 0xFF});
  CHECK(m.FdcResult()[0] == 0x04);
  CHECK((m.Sectors(79, 1, 17, 2) == data));
  m.Fdc({0x03, 0xDF, 0x03});  // non-DMA mode
  m.Fdc({0x46, 4, 79, 1, 18, 2, 18, 0x1B, 0xFF});
  Bytes read;
  while ((m.In(0x3F4) & 0xE0) == 0xE0) read.push_back(m.In(0x3F5));
  CHECK((read == Bytes(data.begin() + 512, data.end())));
  CHECK(m.FdcResult()[1] == 0x80);  // the end of the track, since nothing gave a terminal count
}

TEST_CASE("floppy: what cannot be read or written is told", "[floppy]") {
  FloppyMachine m;
  const auto read = [&m](uint8_t cylinder, uint8_t head, uint8_t sector) {
    m.Dma(0x10000, 512, 0x44);
    m.Fdc({0x46, static_cast<uint8_t>(head << 2), cylinder, head, sector, 2, 18, 0x1B, 0xFF});
    return m.FdcResult();
  };
  m.Seek(0, 3);
  CHECK(read(3, 0, 1)[0] == 0);
  CHECK(read(4, 0, 1)[1] == 0x04);   // another cylinder
  CHECK(read(3, 0, 19)[1] == 0x04);  // no such sector
  m.Out(0x3F7, 2);                   // the wrong data rate
  CHECK(read(3, 0, 1)[1] == 0x01);
  m.Out(0x3F7, 0);
  m.diskette.fail_with = EIO;
  CHECK(read(3, 0, 1)[1] == 0x20);
  m.diskette.fail_with = 0;
  m.diskette.read_only = true;
  m.Dma(0x10000, 512, 0x48);
  m.Fdc({0x45, 0, 3, 0, 1, 2, 18, 0x1B, 0xFF});
  CHECK(m.FdcResult()[1] == 0x02);
  m.Out(0x0A, 6);  // the DMA channel is masked
  m.Fdc({0x46, 0, 3, 0, 1, 2, 18, 0x1B, 0xFF});
  CHECK(m.FdcResult()[1] == 0x10);
  m.Fdc({0x1F});
  CHECK(m.FdcResult() == Bytes{0x80});
}

TEST_CASE("floppy: the change line falls with a step, not with a look", "[floppy]") {
  FloppyMachine m;
  m.Seek(0, 1);
  CHECK((m.In(0x3F7) & 0x80) == 0);
  m.floppy.Drive(0).Eject();
  CHECK((m.In(0x3F7) & 0x80) != 0);
  m.Seek(0, 2);
  CHECK((m.In(0x3F7) & 0x80) != 0);  // nothing in the drive
  m.floppy.Drive(0).Insert(std::make_unique<MemoryDisk>(m.diskette, m.mailbox));
  CHECK((m.In(0x3F7) & 0x80) != 0);
  m.Seek(0, 1);
  CHECK((m.In(0x3F7) & 0x80) == 0);
}

TEST_CASE("floppy: FORMAT TRACK fills the sectors it names", "[floppy]") {
  FloppyMachine m;
  m.Seek(0, 10);
  Bytes ids;
  for (uint8_t sector = 1; sector <= 18; ++sector) ids.insert(ids.end(), {10, 0, sector, 2});
  m.memory.Write(GuestPhysical(0x10000), ids);
  m.Dma(0x10000, ids.size(), 0x48);
  m.Fdc({0x4D, 0, 2, 18, 0x54, 0xF6});
  CHECK(m.FdcResult()[0] == 0);
  CHECK((m.Sectors(10, 0, 1, 18) == Bytes(18 * 512, 0xF6)));
  CHECK((m.Sectors(10, 1, 1, 1) != Bytes(512, 0xF6)));
}

TEST_CASE("floppy: formats are told by the image's size", "[floppy]") {
  CHECK(FormatOfFloppy(737'280).sectors == 9);
  CHECK(FormatOfFloppy(1'474'560).sectors == 18);
  CHECK(FormatOfFloppy(2'949'120).sectors == 36);
  CHECK(FormatOfFloppy(368'640).drive == FloppyDriveType::k360K);
  CHECK(FormatOfFloppy(512).sectors == 18);
}

TEST_CASE("floppy: ten thousand media changes, also in the midst of reads", "[floppy]") {
  FloppyMachine m;
  for (int i = 0; i < 10'000; ++i) {
    m.Dma(0x10000, 512, 0x44);
    for (const uint8_t byte : {0x46, 0, 0, 0, 1, 2, 18, 0x1B, 0xFF}) m.Out(0x3F5, byte);
    if (i % 3) m.floppy.Drive(0).Eject();
    m.floppy.Drive(0).Insert(std::make_unique<MemoryDisk>(m.diskette, m.mailbox));
    m.mailbox.Run();
    m.FdcResult();
  }
  m.Seek(0, 1);
  m.Dma(0x10000, 512, 0x44);
  m.Fdc({0x46, 0, 1, 0, 1, 2, 18, 0x1B, 0xFF});
  CHECK(m.FdcResult()[0] == 0);
}

}  // namespace ring3
