// SMART of the ATA disk (ATA/ATAPI-6, 8.41): a disk that is well, has no history, and runs its self-tests at once.
#include <algorithm>

#include "devices/block/image.h"
#include "devices/ide/ata_disk.h"

namespace ring3 {
namespace {

// Subcommands, in the features register.
constexpr uint8_t kReadData = 0xD0, kReadThresholds = 0xD1, kAutosave = 0xD2, kSave = 0xD3, kOffline = 0xD4,
                  kReadLog = 0xD5, kEnable = 0xD8, kDisable = 0xD9, kReturnStatus = 0xDA;
// What the address registers hold: for a command that is meant, and in the answer of a disk that is well.
constexpr uint8_t kKeyMid = 0x4F, kKeyHigh = 0xC2;
constexpr uint8_t kLogDirectory = 0x00, kErrorLog = 0x01, kSelfTestLog = 0x06;

struct Attribute {
  uint8_t id;
  uint16_t flags;  // bit 0: predicts failure, bit 1: collected online
  uint8_t value, threshold;
  uint32_t raw;
};
constexpr Attribute kAttributes[] = {
    {1, 0x000B, 100, 6, 0},    // raw read error rate
    {5, 0x0033, 100, 36, 0},   // reallocated sectors
    {9, 0x0032, 100, 0, 1},    // power-on hours
    {12, 0x0032, 100, 0, 1},   // power cycles
    {197, 0x0012, 100, 0, 0},  // pending sectors
};
constexpr size_t kFirstAttribute = 2, kAttributeBytes = 12;

/// The bytes of a structure and its checksum add up to 0.
void Seal(std::vector<uint8_t>& data) {
  unsigned sum = 0;
  for (size_t i = 0; i + 1 < data.size(); ++i) sum += data[i];
  data.back() = static_cast<uint8_t>(-sum);
}

}  // namespace

void AtaDisk::Smart() {
  if (mid_.now != kKeyMid || high_.now != kKeyHigh) return Fail(ata::kAborted);
  if (!smart_ && features_.now != kEnable) return Fail(ata::kAborted);
  switch (features_.now) {
    case kReadData:
      return OfferData(SmartAttributes());
    case kReadThresholds:
      return OfferData(SmartThresholds());
    case kReadLog:
      return SmartLog() ? void() : Fail(ata::kAborted);
    case kEnable:
    case kDisable:
      smart_ = features_.now == kEnable;
      return Succeed();
    case kAutosave:
    case kSave:
    case kOffline:
    case kReturnStatus:  // the registers already hold the key, which means that no threshold is exceeded
      return Succeed();
    default:
      return Fail(ata::kAborted);
  }
}

IdeDrive::Bytes AtaDisk::SmartAttributes() const {
  Bytes data(kSectorBytes);
  data[0] = 0x10;  // revision
  size_t at = kFirstAttribute;
  for (const Attribute& attribute : kAttributes) {
    data[at] = attribute.id;
    data[at + 1] = static_cast<uint8_t>(attribute.flags);
    data[at + 2] = static_cast<uint8_t>(attribute.flags >> 8);
    data[at + 3] = data[at + 4] = attribute.value;  // now, and the worst so far
    for (unsigned i = 0; i < 4; ++i) data[at + 5 + i] = static_cast<uint8_t>(attribute.raw >> (8 * i));
    at += kAttributeBytes;
  }
  data[362] = 0x02;  // off-line collection has completed
  data[364] = 60;    // and takes so many seconds
  data[367] = 0x13;  // executes off-line immediate, self-tests
  data[368] = 0x03;  // saves attributes
  data[370] = 0x01;  // keeps logs
  data[372] = 2;     // minutes for a short self-test
  data[373] = 54;    // and for a long one
  Seal(data);
  return data;
}

IdeDrive::Bytes AtaDisk::SmartThresholds() const {
  Bytes data(kSectorBytes);
  data[0] = 0x10;
  size_t at = kFirstAttribute;
  for (const Attribute& attribute : kAttributes) {
    data[at] = attribute.id;
    data[at + 1] = attribute.threshold;
    at += kAttributeBytes;
  }
  Seal(data);
  return data;
}

bool AtaDisk::SmartLog() {
  Bytes data(kSectorBytes);
  switch (low_.now) {
    case kLogDirectory:
      data[0] = 1;  // version; then the sectors of each log
      data[2 * kErrorLog] = data[2 * kSelfTestLog] = 1;
      break;
    case kErrorLog:
    case kSelfTestLog:
      data[0] = 1;  // version; no entries
      Seal(data);
      break;
    default:
      return false;
  }
  OfferData(std::move(data));
  return true;
}

}  // namespace ring3
