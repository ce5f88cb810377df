#include "monitor/boot/smbios_tables.h"

#include <algorithm>
#include <initializer_list>
#include <string_view>

namespace ring3 {
namespace {

// Structure types, DSP0134 chapter 7.
enum Type : uint8_t {
  kSystem = 1,
  kChassis = 3,
  kProcessor = 4,
  kMemoryArray = 16,
  kMemoryDevice = 17,
  kMappedArray = 19,
  kBoot = 32,
  kEnd = 127
};
// Handles: the type and a number, so that structures can name each other.
constexpr uint16_t Handle(Type type) { return static_cast<uint16_t>(type << 8); }
constexpr uint16_t kNoHandle = 0xFFFE;
constexpr uint8_t kUnknown = 0x02, kOther = 0x01;
constexpr char kMaker[] = "ring3", kProduct[] = "ring3 PC (i440FX + PIIX)";

constexpr size_t kAnchorBytes = 31;
constexpr uint8_t kVersionMajor = 2, kVersionMinor = 8;

/// Formatted area first, then its strings, each ended by a zero, and a zero.
class Structure {
 public:
  explicit Structure(Type type) : bytes_{type, 0} { Word(Handle(type)); }
  Structure& Byte(uint8_t value) { return bytes_.push_back(value), *this; }
  Structure& Word(uint16_t value) { return AppendField<uint16_t>(bytes_, value), *this; }
  Structure& Dword(uint32_t value) { return AppendField<uint32_t>(bytes_, value), *this; }
  Structure& Zeros(size_t count) { return bytes_.resize(bytes_.size() + count), *this; }
  /// The number of a string in the unformatted part.
  Structure& Text(std::string_view text) {
    AppendCString(strings_, text);
    return Byte(++texts_);
  }
  Bytes Finish() {
    bytes_[1] = static_cast<uint8_t>(bytes_.size());
    if (strings_.empty()) strings_.push_back(0);
    AppendBytes(bytes_, strings_);
    bytes_.push_back(0);
    return bytes_;
  }

 private:
  Bytes bytes_, strings_;
  uint8_t texts_ = 0;
};

Bytes System() {
  constexpr uint8_t kWakeByPowerSwitch = 6;
  constexpr size_t kUuidBytes = 16;  // zero: not set
  return Structure(kSystem)
      .Text(kMaker)
      .Text(kProduct)
      .Byte(0)  // version
      .Byte(0)  // serial number
      .Zeros(kUuidBytes)
      .Byte(kWakeByPowerSwitch)
      .Byte(0)
      .Byte(0)
      .Finish();
}

Bytes Chassis() {
  constexpr uint8_t kSafe = 3;
  return Structure(kChassis)
      .Text(kMaker)
      .Byte(kOther)
      .Byte(0)
      .Byte(0)
      .Byte(0)
      .Byte(kSafe)  // boot-up, power supply and thermal state
      .Byte(kSafe)
      .Byte(kSafe)
      .Byte(kUnknown)  // security
      .Dword(0)
      .Byte(0)
      .Byte(0)
      .Byte(0)
      .Byte(0)
      .Finish();
}

Bytes Processor() {
  constexpr uint8_t kCentral = 3, kUpgradeOther = 1, kPopulatedEnabled = 0x41;
  constexpr size_t kIdBytes = 8;
  return Structure(kProcessor)
      .Text("CPU 0")
      .Byte(kCentral)
      .Byte(kOther)
      .Text(kMaker)
      .Zeros(kIdBytes)  // CPUID tells
      .Byte(0)
      .Byte(0)  // voltage
      .Word(0)  // clocks: unknown
      .Word(0)
      .Word(0)
      .Byte(kPopulatedEnabled)
      .Byte(kUpgradeOther)
      .Word(0xFFFF)  // no cache information
      .Word(0xFFFF)
      .Word(0xFFFF)
      .Byte(0)
      .Byte(0)
      .Byte(0)
      .Byte(1)  // cores, enabled cores, threads
      .Byte(1)
      .Byte(1)
      .Word(kUnknown << 1)  // characteristics
      .Word(kUnknown)       // family
      .Finish();
}

Bytes MemoryArray(uint32_t kib) {
  constexpr uint8_t kSystemBoard = 3, kSystemMemory = 3, kNoCorrection = 3;
  return Structure(kMemoryArray)
      .Byte(kSystemBoard)
      .Byte(kSystemMemory)
      .Byte(kNoCorrection)
      .Dword(kib)
      .Word(kNoHandle)
      .Word(1)  // devices
      .Finish();
}

Bytes MemoryDevice(uint32_t kib) {
  constexpr uint8_t kDimm = 9, kRam = 7;
  constexpr uint16_t kOtherDetail = 2, kMostMib = 0x7FFF, kInKib = 0x8000;
  const uint32_t mib = kib >> 10;
  const auto size = static_cast<uint16_t>(mib ? std::min<uint32_t>(mib, kMostMib - 1u) : kInKib | kib);
  return Structure(kMemoryDevice)
      .Word(Handle(kMemoryArray))
      .Word(kNoHandle)
      .Word(0xFFFF)  // widths: unknown
      .Word(0xFFFF)
      .Word(size)
      .Byte(kDimm)
      .Byte(0)
      .Text("DIMM 0")
      .Byte(0)
      .Byte(kRam)
      .Word(kOtherDetail)
      .Word(0)
      .Text(kMaker)
      .Byte(0)
      .Byte(0)
      .Byte(0)
      .Byte(0)
      .Dword(0)
      .Word(0)
      .Finish();
}

Bytes MappedArray(uint32_t kib) {
  return Structure(kMappedArray).Dword(0).Dword(kib - 1).Word(Handle(kMemoryArray)).Byte(1).Finish();
}

Bytes Boot() {
  constexpr size_t kReserved = 6;
  return Structure(kBoot).Zeros(kReserved).Byte(0).Finish();
}

}  // namespace

SmbiosImage BuildSmbios(uint64_t ram_bytes) {
  const auto kib = static_cast<uint32_t>(ram_bytes >> 10);
  SmbiosImage image;
  uint16_t count = 0;
  size_t largest = 0;
  for (const Bytes& structure : {System(), Chassis(), Processor(), MemoryArray(kib), MemoryDevice(kib),
                                 MappedArray(kib), Boot(), Structure(kEnd).Finish()}) {
    AppendBytes(image.tables, structure);
    largest = std::max(largest, structure.size());
    ++count;
  }
  image.anchor.resize(kAnchorBytes);
  std::memcpy(image.anchor.data(), "_SM_", 4);
  image.anchor[5] = kAnchorBytes;
  image.anchor[6] = kVersionMajor;
  image.anchor[7] = kVersionMinor;
  StoreField<uint16_t>(image.anchor, 8, static_cast<uint16_t>(largest));
  std::memcpy(image.anchor.data() + 16, "_DMI_", 5);
  StoreField<uint16_t>(image.anchor, 22, static_cast<uint16_t>(image.tables.size()));
  StoreField<uint16_t>(image.anchor, 28, count);
  image.anchor[30] = kVersionMajor << 4 | kVersionMinor;
  return image;
}

}  // namespace ring3
