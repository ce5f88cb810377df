#include "tests/storage/storage_machine.h"

namespace ring3 {

StorageMachine::StorageMachine(bool blank)
    : disk{blank ? Bytes(2000 * 512) : RandomBytes(kDiskSectors * 512, 1)},
      disc{blank ? Bytes(300 * 2048) : RandomBytes(300 * 2048, 2)},
      diskette{blank ? Bytes(1'474'560) : RandomBytes(1'474'560, 3)},
      hd0(std::make_unique<MemoryDisk>(disk, mailbox), {.cylinders = 99},
          {.model = "RING3 HARDDISK", .serial = "R300001", .firmware = "1.0"}) {
  ide.Channel(0).Attach(0, hd0);
  ide.Channel(1).Attach(0, cd);
  ide.SetUp(0xC000);
  cd.Insert(std::make_unique<MemoryDisk>(disc, mailbox));
  floppy.Drive(0).Insert(std::make_unique<MemoryDisk>(diskette, mailbox));
  bus.Attach(0x1F0, 8, ide.Channel(0), "ide0");
  bus.Attach(0x3F6, 1, ide.Channel(0).Control(), "ide0 control");
  bus.Attach(0x170, 8, ide.Channel(1), "ide1");
  bus.Attach(0x376, 1, ide.Channel(1).Control(), "ide1 control");
  bus.Attach(0x3F0, 6, floppy, "floppy");
  bus.Attach(0x3F7, 1, floppy, "floppy input");
  bus.Attach(0xC000, 16, *ide.BarPorts(4), "bus master");
  bus.Attach(0x00, 16, dma.First(), "dma");
  bus.Attach(0xC0, 32, dma.Second(), "dma2");
  bus.Attach(0x81, 15, dma.Pages(), "dma pages");
  Out(0xD6, 0xC0);  // the first DMA controller's requests pass through the second one
  Out(0xD4, 0x00);
}

void StorageMachine::Settle() {
  for (int i = 0; i < 500; ++i) mailbox.Run();
}

void StorageMachine::Command(uint8_t command, uint64_t lba, unsigned count, uint16_t base) {
  Out(base + 2, count);
  Out(base + 3, static_cast<uint8_t>(lba));
  Out(base + 4, static_cast<uint8_t>(lba >> 8));
  Out(base + 5, static_cast<uint8_t>(lba >> 16));
  Out(base + 6, 0xE0 | static_cast<unsigned>(lba >> 24));
  Out(base + 7, command);
  Settle();
}

void StorageMachine::CommandExt(uint8_t command, uint64_t lba, unsigned count) {
  Out(0x1F2, count >> 8);
  for (unsigned i = 0; i < 3; ++i) Out(static_cast<uint16_t>(0x1F3 + i), static_cast<uint8_t>(lba >> (24 + 8 * i)));
  Out(0x1F2, count & 0xFF);
  for (unsigned i = 0; i < 3; ++i) Out(static_cast<uint16_t>(0x1F3 + i), static_cast<uint8_t>(lba >> (8 * i)));
  Out(0x1F6, 0xE0);
  Out(0x1F7, command);
  Settle();
}

Bytes StorageMachine::ReadWords(size_t bytes, uint16_t base) {
  Bytes data;
  for (size_t at = 0; at < bytes; at += 2) {
    const uint32_t word = bus.Read(base, 2);
    data.push_back(static_cast<uint8_t>(word));
    data.push_back(static_cast<uint8_t>(word >> 8));
  }
  Settle();
  return data;
}

void StorageMachine::WriteWords(const Bytes& data, uint16_t base) {
  for (size_t at = 0; at + 1 < data.size(); at += 2) bus.Write(base, 2, data[at] | data[at + 1] << 8);
  Settle();
}

void StorageMachine::StartDma(bool to_memory, const std::vector<std::pair<uint32_t, uint32_t>>& regions,
                              unsigned channel) {
  for (size_t i = 0; i < regions.size(); ++i) {
    const uint32_t entry[2] = {regions[i].first,
                               (regions[i].second & 0xFFFF) | (i + 1 == regions.size() ? 0x8000'0000 : 0)};
    memory.Write(GuestPhysical(kTable + 8 * i), {reinterpret_cast<const uint8_t*>(entry), 8});
  }
  const auto base = static_cast<uint16_t>(0xC000 + 8 * channel);
  Out(base, 0);
  Out(base + 2, 0x06);
  bus.Write(base + 4, 4, kTable);
  Out(base, to_memory ? 0x09 : 0x01);
  Settle();
}

Bytes StorageMachine::Memory(uint32_t at, size_t bytes) {
  Bytes data(bytes);
  memory.Read(GuestPhysical(at), data);
  return data;
}

Bytes StorageMachine::Packet(std::vector<uint8_t> packet, unsigned byte_limit) {
  packet.resize(12);
  Out(0x171, 0);
  Out(0x174, byte_limit & 0xFF);
  Out(0x175, byte_limit >> 8);
  Out(0x176, 0xA0);
  Out(0x177, 0xA0);
  WriteWords(packet, 0x170);
  Bytes answer;
  while (Status(0x170) & 0x08) {
    const size_t bytes = In(0x174) | In(0x175) << 8;
    Bytes block = ReadWords((bytes + 1) & ~size_t{1}, 0x170);
    block.resize(bytes);
    answer.insert(answer.end(), block.begin(), block.end());
  }
  return answer;
}

std::vector<unsigned> StorageMachine::Sense() {
  const Bytes sense = Packet({0x03, 0, 0, 0, 18});
  return {sense.at(2), sense.at(12), sense.at(13)};
}

void StorageMachine::Fdc(std::vector<uint8_t> bytes) {
  for (const uint8_t byte : bytes) Out(0x3F5, byte);
  Settle();
}

Bytes StorageMachine::FdcResult() {
  Bytes result;
  while ((In(0x3F4) & 0xD0) == 0xD0) result.push_back(In(0x3F5));
  return result;
}

}  // namespace ring3
