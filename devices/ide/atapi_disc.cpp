// The commands of the CD-ROM drive that read the disc: one session with one data track (MMC-3).
#include <algorithm>

#include "devices/block/big_endian.h"
#include "devices/block/image.h"
#include "devices/ide/atapi_cdrom.h"

namespace ring3 {
namespace {

constexpr uint8_t kDataTrack = 0x14;  // ADR 1; a data track
constexpr uint8_t kLeadOut = 0xAA;
constexpr uint32_t kFramesPerSecond = 75, kSecondsPerMinute = 60, kPregapFrames = 150;

uint32_t FromMsf(const uint8_t* msf) {
  return (msf[0] * kSecondsPerMinute + msf[1]) * kFramesPerSecond + msf[2] - kPregapFrames;
}

void Append(std::vector<uint8_t>& data, std::initializer_list<uint8_t> bytes) {
  for (const uint8_t byte : bytes) data.push_back(byte);
}

}  // namespace

void AtapiCdrom::StoreAddress(Bytes& data, uint32_t lba, bool msf) const {
  if (!msf) {
    data.resize(data.size() + 4);
    StoreBig(&data[data.size() - 4], lba);
    return;
  }
  const uint64_t frames = uint64_t{lba} + kPregapFrames;
  data.push_back(0);
  data.push_back(static_cast<uint8_t>(std::min<uint64_t>(frames / kFramesPerSecond / kSecondsPerMinute, 255)));
  data.push_back(static_cast<uint8_t>(frames / kFramesPerSecond % kSecondsPerMinute));
  data.push_back(static_cast<uint8_t>(frames % kFramesPerSecond));
}

void AtapiCdrom::ReadCapacity() {
  Bytes data(8);
  StoreBig<uint32_t>(&data[0], std::max(Blocks(), 1u) - 1);
  StoreBig<uint32_t>(&data[4], kCdSectorBytes);
  Reply(std::move(data), 8);
}

void AtapiCdrom::Read() {
  const auto lba = LoadBig<uint32_t>(&packet_[2]);
  const uint32_t count = packet_[0] == scsi::kRead10 ? LoadBig<uint16_t>(&packet_[7]) : LoadBig<uint32_t>(&packet_[6]);
  if (lba > Blocks() || count > Blocks() - lba) return FailPacket(scsi::kOutOfRange);
  ReadSectors(lba, count);
}

/// User data of data sectors only: headers, subchannels and error correction are not in images.
void AtapiCdrom::ReadCd() {
  constexpr uint8_t kUserData = 0x10, kExpectedMode1 = 2, kExpectedAny = 0;
  const bool msf = packet_[0] == scsi::kReadCdMsf;
  const uint32_t lba = msf ? FromMsf(&packet_[3]) : LoadBig<uint32_t>(&packet_[2]);
  const uint32_t count = msf ? FromMsf(&packet_[6]) - lba : LoadBig<uint32_t>(&packet_[5]) & 0xFF'FFFF;
  const unsigned expected = packet_[1] >> 2 & 7, fields = packet_[9], subchannels = packet_[10] & 7;
  if (count == 0) return EndPacket();
  if (msf && FromMsf(&packet_[6]) < lba) return FailPacket(scsi::kInvalidField);
  if (lba > Blocks() || count > Blocks() - lba) return FailPacket(scsi::kOutOfRange);
  if (expected != kExpectedAny && expected != kExpectedMode1) return FailPacket(scsi::kIllegalModeForTrack);
  if (fields == 0 && subchannels == 0) return EndPacket();
  if (fields != kUserData || subchannels != 0) return FailPacket(scsi::kInvalidField);
  ReadSectors(lba, count);
}

void AtapiCdrom::ReadSubChannel() {
  const bool msf = packet_[1] & 2, wants_data = packet_[2] & 0x40;
  constexpr uint8_t kCurrentPosition = 1, kNoAudioStatus = 0x15;
  Bytes data;
  Append(data, {0, kNoAudioStatus, 0, 0});
  if (wants_data) {
    if (packet_[3] != kCurrentPosition) return FailPacket(scsi::kInvalidField);
    Append(data, {kCurrentPosition, kDataTrack, 1, 1});
    StoreAddress(data, 0, msf);
    StoreAddress(data, 0, msf);
    data[3] = static_cast<uint8_t>(data.size() - 4);
  }
  Reply(std::move(data), LoadBig<uint16_t>(&packet_[7]));
}

void AtapiCdrom::ReadHeader() {
  const bool msf = packet_[1] & 2;
  const auto lba = LoadBig<uint32_t>(&packet_[2]);
  if (lba >= Blocks()) return FailPacket(scsi::kOutOfRange);
  Bytes data;
  Append(data, {1, 0, 0, 0});  // mode 1
  StoreAddress(data, lba, msf);
  Reply(std::move(data), LoadBig<uint16_t>(&packet_[7]));
}

IdeDrive::Bytes AtapiCdrom::SimpleToc(bool msf, uint8_t first_track) const {
  Bytes data;
  Append(data, {0, 0, 1, 1});  // tracks 1 to 1
  if (first_track <= 1) {
    Append(data, {0, kDataTrack, 1, 0});
    StoreAddress(data, 0, msf);
  }
  Append(data, {0, kDataTrack, kLeadOut, 0});
  StoreAddress(data, Blocks(), msf);
  return data;
}

IdeDrive::Bytes AtapiCdrom::SessionToc(bool msf) const {
  Bytes data;
  Append(data, {0, 0, 1, 1, 0, kDataTrack, 1, 0});
  StoreAddress(data, 0, msf);
  return data;
}

/// As the lead-in holds it: points A0h, A1h, A2h and track 1.
IdeDrive::Bytes AtapiCdrom::RawToc() const {
  Bytes data;
  Append(data, {0, 0, 1, 1});
  const auto point = [&](uint8_t number) { Append(data, {1, kDataTrack, 0, number, 0, 0, 0}); };
  point(0xA0);
  Append(data, {0, 1, 0, 0});  // first track, disc type CD-ROM
  point(0xA1);
  Append(data, {0, 1, 0, 0});  // last track
  point(0xA2);
  StoreAddress(data, Blocks(), true);
  point(1);
  StoreAddress(data, 0, true);
  return data;
}

void AtapiCdrom::ReadToc() {
  const bool msf = packet_[1] & 2;
  // The format has an old place, in the control byte.
  const unsigned format = (packet_[2] & 0x0F) ? packet_[2] & 0x0Fu : packet_[9] >> 6;
  const uint8_t start = packet_[6];
  Bytes data;
  switch (format) {
    case 0:
      if (start > 1 && start != kLeadOut) return FailPacket(scsi::kInvalidField);
      data = SimpleToc(msf, start);
      break;
    case 1:
      data = SessionToc(msf);
      break;
    case 2:
      data = RawToc();
      break;
    default:
      return FailPacket(scsi::kInvalidField);
  }
  StoreBig<uint16_t>(&data[0], static_cast<uint16_t>(data.size() - 2));
  Reply(std::move(data), LoadBig<uint16_t>(&packet_[7]));
}

void AtapiCdrom::ReadDiscInformation() {
  if (packet_[1] & 7) return FailPacket(scsi::kInvalidField);
  Bytes data(34);
  StoreBig<uint16_t>(&data[0], static_cast<uint16_t>(data.size() - 2));
  data[2] = 0x0E;                                    // complete, last session complete
  data[3] = data[4] = 1;                             // first track, sessions
  data[5] = data[6] = 1;                             // first and last track of the last session
  data[7] = 0x20;                                    // unrestricted use
  std::fill_n(data.begin() + 16, 8, uint8_t{0xFF});  // no further session
  Reply(std::move(data), LoadBig<uint16_t>(&packet_[7]));
}

void AtapiCdrom::ReadTrackInformation() {
  constexpr unsigned kByAddress = 0, kByTrack = 1, kBySession = 2;
  const unsigned by = packet_[1] & 3;
  const auto number = LoadBig<uint32_t>(&packet_[2]);
  const bool known = (by == kByAddress && number < Blocks()) || ((by == kByTrack || by == kBySession) && number == 1);
  if (!known) return FailPacket(scsi::kInvalidField);
  Bytes data(36);
  StoreBig<uint16_t>(&data[0], static_cast<uint16_t>(data.size() - 2));
  data[2] = data[3] = 1;  // track, session
  data[5] = 0x04;         // data track
  data[6] = 0x01;         // mode 1
  StoreBig<uint32_t>(&data[24], Blocks());
  Reply(std::move(data), LoadBig<uint16_t>(&packet_[7]));
}

}  // namespace ring3
