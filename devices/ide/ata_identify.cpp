// What the ATA disk answers to IDENTIFY DEVICE (ATA/ATAPI-6, 8.15).
#include <algorithm>

#include "devices/block/image.h"
#include "devices/ide/ata_disk.h"

namespace ring3 {

IdeDrive::Bytes AtaDisk::IdentifyData() const {
  Bytes data(kSectorBytes);
  const auto word = [&data](unsigned index, uint64_t value) {
    StoreIdentifyWord(data, index, static_cast<unsigned>(value & 0xFFFF));
  };
  word(0, 0x0040);  // not removable
  word(1, geometry_.cylinders);
  word(3, geometry_.heads);
  word(6, geometry_.sectors);
  StoreIdentifyText(data, 10, 10, identity_.serial);
  word(20, 3);    // buffer: dual port, caching
  word(21, 512);  // of 256 KiB
  StoreIdentifyText(data, 23, 4, identity_.firmware);
  StoreIdentifyText(data, 27, 20, identity_.model);
  word(47, 0x8000 | kMostMultiple);
  word(48, 1);       // 32-bit accesses to the data register
  word(49, 0x0F00);  // IORDY, LBA, DMA
  word(50, 0x4000);
  word(53, 0x0007);  // words 54-58, 64-70 and 88 are valid
  word(54, translation_.cylinders);
  word(55, translation_.heads);
  word(56, translation_.sectors);
  const uint64_t current = std::min(translation_.Capacity(), sectors_);
  word(57, current);
  word(58, current >> 16);
  word(59, multiple_ ? 0x0100 | multiple_ : 0);
  const uint64_t lba28 = std::min(sectors_, kLba28Sectors);
  word(60, lba28);
  word(61, lba28 >> 16);
  word(63, 0x0007 | (transfer_mode_ >> 3 == 4 ? 0x100u << (transfer_mode_ & 7) : 0));
  word(64, 0x0003);                                  // PIO modes 3 and 4
  for (unsigned i = 65; i <= 68; ++i) word(i, 120);  // cycle times in ns
  StoreIdentifyFeatures(data);
  word(88, 0x003F | (transfer_mode_ >> 3 == 8 ? 0x100u << (transfer_mode_ & 7) : 0));
  word(93, 0x600B);  // 80-conductor cable; passed diagnostics
  for (unsigned i = 0; i < 4; ++i) word(100 + i, sectors_ >> (16 * i));
  SealIdentify(data);
  return data;
}

void AtaDisk::StoreIdentifyFeatures(Bytes& data) const {
  // Words 82-84 say what there is, 85-87 what is enabled.
  constexpr unsigned kSmartSet = 0x0001, kPowerSet = 0x0008, kCache = 0x0020, kLookAhead = 0x0040, kBuffers = 0x3000;
  constexpr unsigned kLba48AndFlush = 0x3400, kValid = 0x4000, kSmartLogs = 0x0001, kFua = 0x0040;
  StoreIdentifyWord(data, 80, 0x0070);  // ATA/ATAPI-4 to 6
  StoreIdentifyWord(data, 81, 0x0018);  // T13/1410D
  StoreIdentifyWord(data, 82, kSmartSet | kPowerSet | kCache | kLookAhead | kBuffers);
  StoreIdentifyWord(data, 83, kValid | kLba48AndFlush);
  StoreIdentifyWord(data, 84, kValid | kSmartLogs | kFua);
  StoreIdentifyWord(
      data, 85,
      (smart_ ? kSmartSet : 0) | kPowerSet | (write_cache_ ? kCache : 0) | (look_ahead_ ? kLookAhead : 0) | kBuffers);
  StoreIdentifyWord(data, 86, kLba48AndFlush);
  StoreIdentifyWord(data, 87, kValid | kSmartLogs | kFua);
}

}  // namespace ring3
