// Controllers, memory and drives with disks in memory, and a guest's way of using them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "devices/dma8237.h"
#include "devices/floppy/floppy_controller.h"
#include "devices/ide/ata_disk.h"
#include "devices/ide/atapi_cdrom.h"
#include "devices/ide/piix_ide.h"
#include "shadowmmu/physical_memory.h"
#include "tests/block/temporary_folder.h"
#include "tests/devices/device_test_support.h"
#include "tests/storage/memory_disk.h"

namespace ring3 {

/// Ports 1F0h and 3F6h: hd0; 170h: the CD-ROM drive; 3F0h: a floppy drive; C000h: bus master.
struct StorageMachine {
  static constexpr uint64_t kDiskSectors = 100'000;
  static constexpr uint32_t kTable = 0x1000, kBuffer = 0x10000;

  /// `blank`: a small disk, and zeros on all, because they are made quickly.
  explicit StorageMachine(bool blank = false);

  uint8_t In(uint16_t port) { return static_cast<uint8_t>(bus.Read(port, 1)); }
  void Out(uint16_t port, unsigned value) { bus.Write(port, 1, value); }
  /// Answers of the disks.
  void Settle();

  // IDE; `base` is the command block.
  void Command(uint8_t command, uint64_t lba = 0, unsigned count = 0, uint16_t base = 0x1F0);
  void CommandExt(uint8_t command, uint64_t lba, unsigned count);
  uint8_t Status(uint16_t base = 0x1F0) { return In(static_cast<uint16_t>(base + 7)); }
  Bytes ReadWords(size_t bytes, uint16_t base = 0x1F0);
  void WriteWords(const Bytes& data, uint16_t base = 0x1F0);
  /// Makes a table of these regions and starts the bus master of the channel.
  void StartDma(bool to_memory, const std::vector<std::pair<uint32_t, uint32_t>>& regions, unsigned channel = 0);
  Bytes Memory(uint32_t at, size_t bytes);
  /// A packet command with PIO; what the drive answered, all blocks together.
  Bytes Packet(std::vector<uint8_t> packet, unsigned byte_limit = 0xFFFE);
  /// Sense key, code and qualifier.
  std::vector<unsigned> Sense();

  // Floppy.
  void Fdc(std::vector<uint8_t> bytes);
  Bytes FdcResult();

  Mailbox mailbox{[] {}};
  PhysicalMemory memory{4u << 20};
  RecordingIrqs irqs;
  PortBus bus;
  MemoryDisk::Content disk, disc, diskette;
  DmaControllers dma{memory};
  PiixIde ide{memory, IrqLine(irqs, 14), IrqLine(irqs, 15)};
  FloppyController floppy{IrqLine(irqs, 6), dma, {FloppyDriveType::k1440K, FloppyDriveType::kNone}};
  AtaDisk hd0;
  AtapiCdrom cd{{.model = "RING3 CD-ROM", .serial = "R300003", .firmware = "1.0"}};
};

}  // namespace ring3
