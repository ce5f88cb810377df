// The commands of the CD-ROM drive that concern the drive and its medium (SPC-2, MMC-3).
#include <algorithm>

#include "devices/block/big_endian.h"
#include "devices/block/image.h"
#include "devices/ide/atapi_cdrom.h"

namespace ring3 {
namespace {

constexpr uint8_t kCdromType = 0x05, kRemovable = 0x80;
// Profiles.
constexpr uint16_t kProfileDvdRom = 0x0010, kProfileCdRom = 0x0008;
constexpr uint32_t kMostCdBlocks = 450'000;  // a disc that is larger is a DVD
constexpr uint32_t kSpeed = 706;             // kB/s: 4x
constexpr uint8_t kAllPages = 0x3F;

void Append(std::vector<uint8_t>& data, std::initializer_list<unsigned> bytes) {
  for (const unsigned byte : bytes) data.push_back(static_cast<uint8_t>(byte));
}

}  // namespace

struct AtapiCdrom::CommandRow {
  uint8_t opcode;
  void (AtapiCdrom::*execute)();
  bool needs_medium;
  bool despite_attention;  // executed while a unit attention waits
};

const AtapiCdrom::CommandRow* AtapiCdrom::FindCommand(uint8_t opcode) {
  static constexpr CommandRow kRows[] = {
      {scsi::kTestUnitReady, &AtapiCdrom::TestUnitReady, true, false},
      {scsi::kRequestSense, &AtapiCdrom::RequestSense, false, true},
      {scsi::kInquiry, &AtapiCdrom::Inquiry, false, true},
      {scsi::kModeSense6, &AtapiCdrom::ModeSense, false, false},
      {scsi::kModeSense10, &AtapiCdrom::ModeSense, false, false},
      {scsi::kStartStopUnit, &AtapiCdrom::StartStopUnit, false, false},
      {scsi::kPreventAllow, &AtapiCdrom::PreventAllow, false, false},
      {scsi::kReadCapacity, &AtapiCdrom::ReadCapacity, true, false},
      {scsi::kRead10, &AtapiCdrom::Read, true, false},
      {scsi::kRead12, &AtapiCdrom::Read, true, false},
      {scsi::kReadCd, &AtapiCdrom::ReadCd, true, false},
      {scsi::kReadCdMsf, &AtapiCdrom::ReadCd, true, false},
      {scsi::kSeek10, &AtapiCdrom::Seek, true, false},
      {scsi::kReadSubChannel, &AtapiCdrom::ReadSubChannel, true, false},
      {scsi::kReadToc, &AtapiCdrom::ReadToc, true, false},
      {scsi::kReadHeader, &AtapiCdrom::ReadHeader, true, false},
      {scsi::kGetConfiguration, &AtapiCdrom::GetConfiguration, false, true},
      {scsi::kGetEventStatus, &AtapiCdrom::GetEventStatus, false, true},
      {scsi::kReadDiscInformation, &AtapiCdrom::ReadDiscInformation, true, false},
      {scsi::kReadTrackInformation, &AtapiCdrom::ReadTrackInformation, true, false},
      {scsi::kSetCdSpeed, &AtapiCdrom::SetCdSpeed, false, false},
      {scsi::kMechanismStatus, &AtapiCdrom::MechanismStatus, false, false},
  };
  const auto found = std::find_if(std::begin(kRows), std::end(kRows), [=](auto& row) { return row.opcode == opcode; });
  return found == std::end(kRows) ? nullptr : found;
}

void AtapiCdrom::ExecutePacket() {
  const CommandRow* const row = FindCommand(packet_[0]);
  if (!row) return FailPacket(scsi::kInvalidOpcode);
  if (attention_ && !row->despite_attention) {
    const scsi::Sense attention = *attention_;
    attention_.reset();
    return FailPacket(attention);
  }
  if (row->needs_medium) {
    if (const auto sense = NotReady()) return FailPacket(*sense);
  }
  (this->*row->execute)();
}

std::optional<scsi::Sense> AtapiCdrom::NotReady() {
  if (tray_open_) return scsi::kMediumNotPresentTrayOpen;
  if (!slot_.Present()) return scsi::kMediumNotPresentTrayClosed;
  return std::nullopt;
}

void AtapiCdrom::RequestSense() {
  scsi::Sense sense = sense_;
  if (sense == scsi::kNoSense && attention_) {
    sense = *attention_;
    attention_.reset();
  }
  Bytes data(18);
  data[0] = 0x70;  // current error, fixed format
  data[2] = sense.key;
  data[7] = static_cast<uint8_t>(data.size() - 8);
  data[12] = sense.code;
  data[13] = sense.qualifier;
  sense_ = scsi::kNoSense;
  Reply(std::move(data), packet_[4]);
}

void AtapiCdrom::Inquiry() {
  if ((packet_[1] & 1) || packet_[2]) return FailPacket(scsi::kInvalidField);  // vital product data
  Bytes data(36, ' ');
  const uint8_t head[] = {kCdromType, kRemovable, 0, 0x21, 31, 0, 0, 0};  // ATAPI version 2
  std::copy(std::begin(head), std::end(head), data.begin());
  const auto text = [&data](size_t at, size_t most, const std::string& value) {
    std::copy_n(value.begin(), std::min(most, value.size()), data.begin() + static_cast<ptrdiff_t>(at));
  };
  const size_t space = identity_.model.find(' ');
  text(8, 8, identity_.model.substr(0, space));
  text(16, 16, space == std::string::npos ? "" : identity_.model.substr(space + 1));
  text(32, 4, identity_.firmware);
  Reply(std::move(data), LoadBig<uint16_t>(&packet_[3]));
}

IdeDrive::Bytes AtapiCdrom::ModePages(uint8_t page) const {
  Bytes data;
  const auto wanted = [page](uint8_t code) { return page == code || page == kAllPages; };
  if (wanted(0x01)) Append(data, {0x01, 6, 0, 5, 0, 0, 0, 0});  // read error recovery: five times
  if (wanted(0x0E)) {                                           // CD audio control: two channels at full volume
    Append(data, {0x0E, 14, 4, 0, 0, 0, 0, 75, 1, 255, 2, 255, 0, 0, 0, 0});
  }
  if (wanted(0x2A)) {  // capabilities: reads CD-R, CD-RW, DVD; tray, locks, ejects
    const unsigned locked = locked_ ? 0x02 : 0;
    Append(data,
           {0x2A,          18, 0x0B, 0, 0, 0, 0x29 | locked, 0, kSpeed >> 8, kSpeed & 0xFF, 0, 2, 2, 0, kSpeed >> 8,
            kSpeed & 0xFF, 0,  0,    0, 0});
  }
  return data;
}

void AtapiCdrom::ModeSense() {
  constexpr unsigned kSavedValues = 3, kChangeableValues = 1;
  const bool six = packet_[0] == scsi::kModeSense6;
  const unsigned control = packet_[2] >> 6;
  if (control == kSavedValues) return FailPacket(scsi::kSavingUnsupported);
  Bytes pages = ModePages(packet_[2] & 0x3F);
  if (pages.empty()) return FailPacket(scsi::kInvalidField);
  if (control == kChangeableValues) {  // none: what is no header is zero
    for (size_t at = 0; at < pages.size(); at += 2u + pages[at + 1]) {
      std::fill_n(pages.begin() + static_cast<ptrdiff_t>(at) + 2, pages[at + 1], uint8_t{0});
    }
  }
  const unsigned medium = tray_open_ ? 0x71 : slot_.Present() ? 0x01 : 0x70;
  Bytes data;
  const auto rest = static_cast<unsigned>(pages.size() + (six ? 3 : 6));
  six ? Append(data, {rest, medium, 0, 0}) : Append(data, {rest >> 8, rest & 0xFF, medium, 0, 0, 0, 0, 0});
  data.insert(data.end(), pages.begin(), pages.end());
  Reply(std::move(data), six ? packet_[4] : LoadBig<uint16_t>(&packet_[7]));
}

void AtapiCdrom::StartStopUnit() {
  const bool load_eject = packet_[4] & 2, start = packet_[4] & 1;
  if (load_eject && !start && locked_) return FailPacket(scsi::kRemovalPrevented);
  if (load_eject && !start) {
    // The disc lies in the open tray, where Insert() or Eject() finds it; closing the tray loads it again.
    event_ = MediaEvent::kRemoval;
    SetTray(true);
  } else if (load_eject && tray_open_) {
    if (slot_.Present()) {
      attention_ = scsi::kMediumChanged;
      event_ = MediaEvent::kNewMedia;
    }
    SetTray(false);
  }
  EndPacket();
}

void AtapiCdrom::PreventAllow() {
  locked_ = packet_[4] & 1;
  EndPacket();
}

void AtapiCdrom::Seek() { LoadBig<uint32_t>(&packet_[2]) < Blocks() ? EndPacket() : FailPacket(scsi::kOutOfRange); }

void AtapiCdrom::GetConfiguration() {
  struct Feature {
    uint16_t code;
    bool current;
    std::vector<uint8_t> data;
  };
  const bool disc = !NotReady(), dvd = disc && Blocks() > kMostCdBlocks, cd = disc && !dvd;
  const Feature features[] = {
      {0x0000,
       true,
       {kProfileDvdRom >> 8, kProfileDvdRom & 0xFF, dvd, 0, kProfileCdRom >> 8, kProfileCdRom & 0xFF, cd, 0}},
      {0x0001, true, {0, 0, 0, 2, 1, 0, 0, 0}},  // core: ATAPI
      {0x0002, true, {2, 0, 0, 0}},              // morphing: operational events
      {0x0003, true, {0x29, 0, 0, 0}},           // removable: tray, ejects, locks
      {0x0010, disc, {0, 0, 8, 0, 0, 1, 1, 0}},  // random readable: 2048-byte blocks
      {0x001E, cd, {0, 0, 0, 0}},                // CD read
      {0x001F, dvd, {}},                         // DVD read
      {0x0105, true, {0, 0, 0, 0}},              // timeout
  };
  constexpr unsigned kCurrentOnly = 1, kOne = 2;
  const unsigned which = packet_[1] & 3;
  const auto first = LoadBig<uint16_t>(&packet_[2]);
  Bytes data(8);
  StoreBig<uint16_t>(&data[6], dvd ? kProfileDvdRom : cd ? kProfileCdRom : 0);
  for (const Feature& feature : features) {
    if (feature.code < first || (which == kOne && feature.code != first)) continue;
    if (which == kCurrentOnly && !feature.current) continue;
    const bool persistent = feature.code <= 0x0003 || feature.code == 0x0105;
    Append(data, {static_cast<unsigned>(feature.code >> 8), feature.code & 0xFFu,
                  static_cast<unsigned>(persistent ? 2 : 0) | static_cast<unsigned>(feature.current),
                  static_cast<unsigned>(feature.data.size())});
    data.insert(data.end(), feature.data.begin(), feature.data.end());
  }
  StoreBig<uint32_t>(&data[0], static_cast<uint32_t>(data.size() - 4));
  Reply(std::move(data), LoadBig<uint16_t>(&packet_[7]));
}

/// Polled: the answer tells the newest event of the medium, once.
void AtapiCdrom::GetEventStatus() {
  constexpr uint8_t kPolled = 1, kMediaClass = 1u << 4, kMediaCode = 4, kNoneOfThese = 0x80;
  if (!(packet_[1] & kPolled)) return FailPacket(scsi::kInvalidField);
  const auto allocation = LoadBig<uint16_t>(&packet_[7]);
  if (!(packet_[4] & kMediaClass)) return Reply({0, 2, kNoneOfThese, kMediaClass}, allocation);
  const unsigned state = (tray_open_ ? 1u : 0) | (!tray_open_ && slot_.Present() ? 2u : 0);
  Reply({0, 6, kMediaCode, kMediaClass, static_cast<uint8_t>(event_), static_cast<uint8_t>(state), 0, 0}, allocation);
  event_ = MediaEvent::kNone;
}

void AtapiCdrom::MechanismStatus() {
  Bytes data(8);
  data[1] = tray_open_ ? 0x10 : 0;  // door open
  Reply(std::move(data), LoadBig<uint16_t>(&packet_[8]));
}

}  // namespace ring3
