#include "devices/ide/ata_disk.h"

#include <catch2/catch.hpp>

#include "tests/storage/storage_machine.h"

namespace ring3 {
namespace {

using Machine = StorageMachine;

Bytes Sectors(const Machine& m, uint64_t lba, size_t count) {
  const auto at = m.disk.bytes.begin() + static_cast<ptrdiff_t>(lba * 512);
  return Bytes(at, at + static_cast<ptrdiff_t>(count * 512));
}

unsigned Word(const Bytes& data, unsigned index) { return data[2 * index] | data[2 * index + 1] << 8; }

}  // namespace

TEST_CASE("ide: signatures after reset tell the disk from the CD-ROM drive", "[ide]") {
  Machine m;
  m.Out(0x3F6, 0x04);
  CHECK(m.Status() == 0x80);
  m.Out(0x3F6, 0x00);
  CHECK(m.Status() == 0x50);
  CHECK(m.In(0x1F4) == 0x00);
  CHECK(m.In(0x1F5) == 0x00);
  CHECK(m.In(0x1F1) == 0x01);
  m.Out(0x376, 0x04);
  m.Out(0x376, 0x00);
  CHECK(m.In(0x174) == 0x14);
  CHECK(m.In(0x175) == 0xEB);
  CHECK(m.Status(0x170) == 0x00);
  m.Out(0x1F6, 0xB0);  // no second drive
  CHECK(m.Status() == 0x00);
}

TEST_CASE("ata: IDENTIFY describes the disk", "[ide]") {
  Machine m;
  m.Command(0xEC);
  CHECK(m.irqs.levels[14]);
  CHECK(m.Status() == 0x58);
  CHECK_FALSE(m.irqs.levels[14]);
  const Bytes data = m.ReadWords(512);
  CHECK(m.Status() == 0x50);
  CHECK(Word(data, 1) == 99);
  CHECK((Word(data, 60) | Word(data, 61) << 16) == Machine::kDiskSectors);
  CHECK((Word(data, 100) | Word(data, 101) << 16) == Machine::kDiskSectors);
  CHECK(std::string(data.begin() + 54, data.begin() + 60) == "IRGN 3");  // "RING3 ", by words
  unsigned sum = 0;
  for (const uint8_t byte : data) sum += byte;
  CHECK((sum & 0xFF) == 0);
}

TEST_CASE("ata: PIO reads interrupt before each block", "[ide]") {
  Machine m;
  m.Command(0x20, 1000, 3);
  for (unsigned i = 0; i < 3; ++i) {
    CHECK(m.irqs.levels[14]);
    CHECK(m.Status() == 0x58);
    CHECK(m.ReadWords(512) == Sectors(m, 1000 + i, 1));
  }
  CHECK_FALSE(m.irqs.levels[14]);
  CHECK(m.Status() == 0x50);
  m.Command(0xC6, 0, 8);  // SET MULTIPLE
  m.Command(0xC4, 2000, 20);
  for (const size_t sectors : {8, 8, 4}) {
    CHECK(m.Status() == 0x58);
    m.ReadWords(sectors * 512);
  }
  CHECK(m.Status() == 0x50);
}

TEST_CASE("ata: PIO writes, in chunks and by blocks", "[ide]") {
  Machine m;
  const Bytes data = RandomBytes(300 * 512, 8);
  m.CommandExt(0x34, 5000, 300);
  CHECK_FALSE(m.irqs.levels[14]);  // not for the first block
  for (size_t i = 0; i < 300; ++i) {
    REQUIRE(m.Status() == 0x58);
    m.WriteWords(
        Bytes(data.begin() + static_cast<ptrdiff_t>(512 * i), data.begin() + static_cast<ptrdiff_t>(512 * i + 512)));
    REQUIRE(m.irqs.levels[14]);
  }
  CHECK(m.Status() == 0x50);
  CHECK((Sectors(m, 5000, 300) == data));
}

TEST_CASE("ata: DMA in both directions over several regions", "[ide]") {
  Machine m;
  m.CommandExt(0x25, 77, 5000);  // more than one chunk of the disk's
  std::vector<std::pair<uint32_t, uint32_t>> regions;
  for (uint32_t at = 0; at < 5000 * 512; at += 65536)
    regions.emplace_back(0x100000 + at, std::min(65536u, 5000 * 512 - at));
  m.StartDma(true, regions);
  CHECK(m.irqs.levels[14]);
  CHECK(m.In(0xC002) == 0x04);  // interrupt, no longer active
  CHECK(m.Status() == 0x50);
  CHECK((m.Memory(0x100000, 5000 * 512) == Sectors(m, 77, 5000)));

  m.Command(0xCA, 9000, 4);  // WRITE DMA
  m.StartDma(false, {{0x20002, 1022}, {0x30000, 1026}});
  CHECK(m.Status() == 0x50);
  Bytes expected = m.Memory(0x20002, 1022);
  const Bytes rest = m.Memory(0x30000, 1026);
  expected.insert(expected.end(), rest.begin(), rest.end());
  CHECK((Sectors(m, 9000, 4) == expected));
}

TEST_CASE("ata: a DMA table that is too long stays active, one too short waits", "[ide]") {
  Machine m;
  m.Command(0xC8, 0, 2);
  m.StartDma(true, {{0x10000, 4096}});
  CHECK(m.In(0xC002) == 0x05);
  m.Out(0xC000, 0);
  m.Command(0xC8, 0, 2);
  m.StartDma(true, {{0x10000, 512}});
  CHECK(m.In(0xC002) == 0x00);
  CHECK(m.Status() == 0x90);
  m.StartDma(true, {{0x10200, 512}});  // the rest
  CHECK(m.Status() == 0x50);
  CHECK((m.Memory(0x10000, 1024) == Sectors(m, 0, 2)));
}

TEST_CASE("ata: bus mastering needs the command register's bit", "[ide]") {
  Machine m;
  m.ide.WriteConfig(pci::kCommand, 2, pci::kCommandIo);
  m.Command(0xC8, 0, 1);
  m.StartDma(true, {{0x10000, 512}});
  CHECK((m.In(0xC002) & 0x03) == 0x02);
  CHECK(m.Memory(0x10000, 512) == Bytes(512));
}

TEST_CASE("ata: a DMA table that names itself or lies nowhere does no harm", "[ide]") {
  Machine m;
  m.Command(0xC8, 0, 256);
  m.StartDma(true, {{Machine::kTable, 0}, {0xFFFF'FFF0, 0}, {0xFFFF'0000, 0}});
  CHECK(m.In(0xC002) <= 0x07);
  m.Out(0xC000, 0);
  m.bus.Write(0xC004, 4, 0xFFFF'FFFC);
  m.Out(0xC000, 9);
  m.Settle();
  m.Out(0x3F6, 4);
  m.Out(0x3F6, 0);
  CHECK(m.Status() == 0x50);
}

TEST_CASE("ata: addresses beyond the disk, by LBA and by CHS", "[ide]") {
  Machine m;
  m.Command(0x20, Machine::kDiskSectors - 1, 2);
  CHECK(m.Status() == 0x51);
  CHECK(m.In(0x1F1) == 0x10);
  m.CommandExt(0x24, uint64_t{1} << 40, 1);
  CHECK(m.Status() == 0x51);
  const auto chs = [&m](unsigned cylinder, unsigned head, unsigned sector) {
    m.Out(0x1F2, 1);
    m.Out(0x1F3, sector);
    m.Out(0x1F4, cylinder & 0xFF);
    m.Out(0x1F5, cylinder >> 8);
    m.Out(0x1F6, 0xA0 | head);
    m.Out(0x1F7, 0x20);
    m.Settle();
    return m.Status();
  };
  CHECK(chs(3, 5, 7) == 0x58);
  CHECK(m.ReadWords(512) == Sectors(m, (3 * 16 + 5) * 63 + 6, 1));
  CHECK(chs(3, 5, 0) == 0x51);
  CHECK(chs(3, 5, 64) == 0x51);
  m.Out(0x1F2, 17);  // INITIALIZE DEVICE PARAMETERS: 8 heads of 17 sectors
  m.Out(0x1F6, 0xA7);
  m.Out(0x1F7, 0x91);
  CHECK(m.Status() == 0x50);
  CHECK(chs(3, 5, 7) == 0x58);
  CHECK(m.ReadWords(512) == Sectors(m, (3 * 8 + 5) * 17 + 6, 1));
}

TEST_CASE("ata: the host's errors become the disk's", "[ide]") {
  Machine m;
  m.disk.fail_with = EIO;
  m.Command(0x20, 10, 1);
  CHECK(m.irqs.levels[14]);
  CHECK(m.Status() == 0x51);
  CHECK(m.In(0x1F1) == 0x40);
  CHECK(m.In(0x1F3) == 10);
  m.disk.fail_with = ENOSPC;
  m.Command(0xCA, 20, 1);
  m.StartDma(false, {{0x10000, 512}});
  CHECK(m.Status() == 0x51);
  CHECK(m.In(0x1F3) == 20);
  m.Command(0xE7);
  CHECK(m.Status() == 0x51);
  m.disk.fail_with = 0;
  m.disk.read_only = true;
  m.Command(0x30, 0, 1);
  CHECK(m.Status() == 0x51);
}

TEST_CASE("ata: a flush is answered after the image's", "[ide]") {
  Machine m;
  m.Command(0xE7);
  CHECK(m.disk.flushes == 1);
  CHECK(m.Status() == 0x50);
  m.Out(0x1F1, 0x82);  // write cache off: each write is flushed
  m.Command(0xEF);
  m.Command(0x30, 0, 1);
  m.WriteWords(Bytes(512));
  CHECK(m.disk.flushes == 3);
}

TEST_CASE("ata: an answer that comes after a reset is dropped", "[ide]") {
  Machine m;
  m.Out(0x1F6, 0xE0);
  m.Out(0x1F2, 1);
  m.Out(0x1F7, 0x20);
  CHECK(m.Status() == 0x90);
  m.Out(0x3F6, 0x04);
  m.Out(0x3F6, 0x00);
  m.Settle();
  CHECK(m.Status() == 0x50);
  CHECK_FALSE(m.irqs.levels[14]);
}

TEST_CASE("ata: SMART, power modes, READ NATIVE MAX and what is unknown", "[ide]") {
  Machine m;
  const auto smart = [&m](uint8_t feature, unsigned log = 0) {
    m.Out(0x1F1, feature);
    m.Command(0xB0, 0xC24F00 | log, 1);
    return m.Status();
  };
  CHECK(smart(0xDA) == 0x50);
  CHECK(m.In(0x1F4) == 0x4F);
  CHECK(smart(0xD0) == 0x58);
  unsigned sum = 0;
  for (const uint8_t byte : m.ReadWords(512)) sum += byte;
  CHECK((sum & 0xFF) == 0);
  CHECK(smart(0xD5, 1) == 0x58);
  CHECK(smart(0xD5, 99) == 0x51);
  CHECK(smart(0xD9) == 0x50);
  CHECK(smart(0xD0) == 0x51);
  m.Command(0xE5);
  CHECK(m.In(0x1F2) == 0xFF);
  m.Command(0xF8);
  CHECK((m.In(0x1F3) | m.In(0x1F4) << 8 | m.In(0x1F5) << 16) == static_cast<int>(Machine::kDiskSectors - 1));
  for (const uint8_t command : {0x00, 0xA1, 0xA0, 0x08, 0xF1}) {
    m.Command(command);
    CHECK(m.Status() == 0x51);
    CHECK(m.In(0x1F1) == 0x04);
  }
  m.Command(0x40, 0, 200);  // VERIFY
  CHECK(m.Status() == 0x50);
}

TEST_CASE("ide: nIEN keeps the interrupt, and the high-order bytes can be read", "[ide]") {
  Machine m;
  m.Out(0x3F6, 0x02);
  m.Command(0xEC);
  CHECK_FALSE(m.irqs.levels[14]);
  m.ReadWords(512);
  m.CommandExt(0x27, 0, 0);  // READ NATIVE MAX ADDRESS EXT
  m.Out(0x3F6, 0x80);
  CHECK(m.In(0x1F3) == ((Machine::kDiskSectors - 1) >> 24));
  m.Out(0x3F6, 0x00);
  CHECK(m.In(0x1F3) == ((Machine::kDiskSectors - 1) & 0xFF));
}

}  // namespace ring3
