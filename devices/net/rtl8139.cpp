#include "devices/net/rtl8139.h"

#include <algorithm>
#include <cstring>

namespace ring3 {

using namespace rtl8139;

namespace {

constexpr uint16_t kRealtek = 0x10EC;
constexpr uint16_t kDevice = 0x8139;
constexpr uint32_t kEthernetClass = 0x020000;
constexpr uint8_t kRevisionC = 0x10, kRevisionCPlus = 0x20;
constexpr uint16_t kSubsystemVendor = 0x1AF4, kSubsystem = 0x1100;
constexpr uint64_t kPciHertz = 33'000'000;
constexpr uint64_t kRetryNs = 1'000'000;
constexpr uint16_t kReadPointerReset = 0xFFF0;
constexpr unsigned kEepromMac = 7;  // word

Eeprom93c46::Words EepromFor(const MacAddress& mac) {
  Eeprom93c46::Words words{};
  words[0] = 0x8129;  // its signature
  words[1] = kRealtek;
  words[2] = kDevice;
  words[3] = kRealtek;  // subsystem
  words[4] = kDevice;
  for (unsigned i = 0; i < 3; ++i) words[kEepromMac + i] = static_cast<uint16_t>(mac[2 * i] | mac[2 * i + 1] << 8);
  return words;
}

}  // namespace

Rtl8139::Rtl8139(Clock& clock, TimerQueue& timers, PhysicalMemory& memory, NetworkBackend& network,
                 const MacAddress& mac, Model model)
    : PciDevice({.vendor = kRealtek,
                 .device = kDevice,
                 .class_code = kEthernetClass,
                 .revision = model == Model::kC ? kRevisionC : kRevisionCPlus,
                 .subsystem_vendor = kSubsystemVendor,
                 .subsystem = kSubsystem}),
      clock_(clock),
      dma_(memory),
      network_(network),
      model_(model),
      ports_(*this),
      window_(*this),
      eeprom_(EepromFor(mac)),
      timer_(timers, [this](uint64_t) { Raise(kTimeout); }),
      retry_(timers, [this](uint64_t) {
        OfferAgain();
        // A driver may have acknowledged without having read all. On a wire the next frame would remind it.
        const bool unread = ReceiverOn() && !CPlus(kCPlusRx) && RingRoom() != RingBytes();
        if (unread && !(Word(kInterruptStatus) & kRxOk)) Raise(kRxOk);
      }) {
  AddBar(0, BarKind::kIo, kRegisterBytes);
  AddBar(1, BarKind::kMemory, kRegisterBytes);
  SetRegister(pci::kInterruptPin, 1, 1);
  // Drivers insist on these; nothing here takes longer for want of them.
  AllowWrites(pci::kCacheLineSize, 1, 0xFF);
  AllowWrites(pci::kLatencyTimer, 1, 0xFF);
  AllowWrites(pci::kCommand, 2,
              pci::kCommandIo | pci::kCommandMemory | pci::kCommandMaster | pci::kCommandInvalidate |
                  pci::kCommandParity | pci::kCommandSerr | pci::kCommandInterruptDisable);
  SoftReset();
  LoadFromEeprom();
  network_.Connect(*this);
}

void Rtl8139::Reset() {
  PciDevice::Reset();
  registers_.fill(0);
  SoftReset();
  LoadFromEeprom();
}

/// CR.RST: everything but the station address, the multicast filter and the configuration registers.
void Rtl8139::SoftReset() {
  std::array<uint8_t, kTxStatus0> addresses;
  std::copy_n(registers_.begin(), addresses.size(), addresses.begin());
  const uint8_t config[] = {Byte(kConfig1), Byte(kConfig3), Byte(kConfig4), Byte(kConfig5), Byte(kEeprom)};
  registers_.fill(0);
  std::copy(addresses.begin(), addresses.end(), registers_.begin());
  Byte(kConfig1) = config[0], Byte(kConfig3) = config[1], Byte(kConfig4) = config[2], Byte(kConfig5) = config[3];
  Byte(kEeprom) = config[4] & kModeMask;
  tx_status_.fill(kTxOwn);
  next_tx_ = next_normal_ = next_high_ = next_rx_ = 0;
  assembling_.clear();
  missed_ = 0;
  SetWord(kReadPointer, kReadPointerReset);
  SetDword(kTxConfig, model_ == Model::kC ? kVersionC : kVersionCPlus);
  SetWord(kBasicControl, kControlDefault);
  SetWord(kBasicStatus, kStatusLinkUp);
  SetWord(kAdvertisement, kAdvertiseAll);
  SetWord(kLinkPartner, kPartnerAll);
  SetWord(kExpansion, kPartnerNegotiates);
  timer_start_ns_ = clock_.NowNs();
  timer_.Cancel();
  retry_.Cancel();
  UpdateInterrupt();
}

void Rtl8139::LoadFromEeprom() {
  for (unsigned i = 0; i < 6; ++i) {
    Byte(kMac + i) = static_cast<uint8_t>(eeprom_.Word(kEepromMac + i / 2) >> (8 * (i & 1)));
  }
  Byte(kConfig1) = kConfig1Reset;
}

// --- register storage ---

uint16_t Rtl8139::Word(uint32_t offset) const {
  return static_cast<uint16_t>(registers_[offset] | registers_[offset + 1] << 8);
}
uint32_t Rtl8139::Dword(uint32_t offset) const { return Word(offset) | uint32_t{Word(offset + 2)} << 16; }
void Rtl8139::SetWord(uint32_t offset, uint16_t value) {
  registers_[offset] = static_cast<uint8_t>(value);
  registers_[offset + 1] = static_cast<uint8_t>(value >> 8);
}
void Rtl8139::SetDword(uint32_t offset, uint32_t value) {
  SetWord(offset, static_cast<uint16_t>(value));
  SetWord(offset + 2, static_cast<uint16_t>(value >> 16));
}

// --- reads ---

uint32_t Rtl8139::ReadRegister(uint32_t offset, unsigned size) {
  uint32_t value = 0;
  for (unsigned i = 0; i < size && offset + i < kRegisterBytes; ++i) {
    value |= uint32_t{ReadByte(offset + i)} << (8 * i);
  }
  return value;
}

uint8_t Rtl8139::ReadByte(uint32_t offset) {
  const auto byte_of = [offset](uint32_t value) { return static_cast<uint8_t>(value >> (8 * (offset & 3))); };
  if (offset >= kTxStatus0 && offset < kTxAddress0 && !CPlus(kCPlusTx)) {
    return byte_of(tx_status_[(offset - kTxStatus0) / 4]);
  }
  switch (offset & ~3u) {
    case kTimerCount:
      return byte_of(TimerTicks());
    case kMissed:
      return byte_of(missed_);
  }
  switch (offset) {
    case kCommand:
      return static_cast<uint8_t>(Byte(kCommand) | (RingRoom() == RingBytes() ? kBufferEmpty : 0));
    case kEeprom:
      return static_cast<uint8_t>((Byte(kEeprom) & ~kEepromOut) | (eeprom_.DataOut() ? kEepromOut : 0));
    case kRevision:
      return model_ == Model::kC ? kRevisionC : kRevisionCPlus;
    case kTxSummary:
    case kTxSummary + 1:
      return byte_of(TransmitSummary());
    case kTxPoll:
      return 0;
    default:
      return Byte(offset);
  }
}

// --- writes ---

void Rtl8139::WriteRegister(uint32_t offset, unsigned size, uint32_t value) {
  if (offset + size > kRegisterBytes) return;
  if (size == 4 && offset % 4 == 0 && WriteDword(offset, value)) return;
  for (unsigned i = 0; i < size;) {
    const uint32_t at = offset + i;
    const auto half = static_cast<uint16_t>(value >> (8 * i));
    if (size - i >= 2 && at % 2 == 0 && WriteWord(at, half)) {
      i += 2;
    } else {
      WriteByte(at, static_cast<uint8_t>(half));
      ++i;
    }
  }
}

/// True when this is a register of four bytes that acts as a whole.
bool Rtl8139::WriteDword(uint32_t offset, uint32_t value) {
  if (offset >= kTxStatus0 && offset < kTxAddress0 && !CPlus(kCPlusTx)) {
    StartTransmit((offset - kTxStatus0) / 4, value);
    return true;
  }
  switch (offset) {
    case kTallyAddress:
      SetDword(kTallyAddress, value);
      if (value & kDumpTally) DumpTally();
      return true;
    case kRxBuffer:
      SetDword(kRxBuffer, value & ~3u);
      SetWord(kWritePointer, 0);
      return true;
    case kTxConfig:
      SetDword(kTxConfig, (Dword(kTxConfig) & ~kTxConfigWritable) | (value & kTxConfigWritable));
      if (value & kClearAbort) TransmitPending();
      return true;
    case kRxConfig:
      SetDword(kRxConfig, value & kRxConfigWritable);
      OfferAgain();
      return true;
    case kTimerCount:
      timer_start_ns_ = clock_.NowNs();
      ScheduleTimer();
      return true;
    case kMissed:
      missed_ = 0;
      return true;
    case kTimerInterrupt:
      SetDword(kTimerInterrupt, value);
      ScheduleTimer();
      return true;
    default:
      return false;
  }
}

/// True when this is a register of two bytes that acts as a whole.
bool Rtl8139::WriteWord(uint32_t offset, uint16_t value) {
  switch (offset) {
    case kReadPointer:
      SetWord(kReadPointer, value);
      OfferAgain();
      return true;
    case kInterruptMask:
      SetWord(kInterruptMask, value & kInterruptBits);
      UpdateInterrupt();
      OfferAgain();
      return true;
    case kInterruptStatus:
      SetWord(kInterruptStatus, Word(kInterruptStatus) & static_cast<uint16_t>(~value));
      UpdateInterrupt();
      OfferAgain();
      if ((value & kRxOk) && RingRoom() != RingBytes()) retry_.Schedule(clock_.NowNs() + kRetryNs);
      return true;
    case kCPlusCommand:
      if (model_ == Model::kCPlus) SetWord(kCPlusCommand, value & kCPlusWritable);
      return true;
    case kBasicControl:
    case kAdvertisement:
      WritePhy(offset, value);
      return true;
    case kWritePointer:
    case kEarlyRxCount:
    case kBasicStatus:
    case kLinkPartner:
    case kExpansion:
    case kTxSummary:
      return true;  // read-only
    default:
      return false;
  }
}

void Rtl8139::WriteByte(uint32_t offset, uint8_t value) {
  switch (offset) {
    case kCommand:
      return WriteCommand(value);
    case kEeprom:
      return WriteEeprom(value);
    case kInterruptStatus:
    case kInterruptStatus + 1:
      WriteWord(kInterruptStatus, static_cast<uint16_t>(value << (8 * (offset & 1))));
      return;
    case kInterruptMask:
    case kInterruptMask + 1: {
      const uint16_t other = Word(kInterruptMask) & (offset & 1 ? 0x00FF : 0xFF00);
      WriteWord(kInterruptMask, static_cast<uint16_t>(other | value << (8 * (offset & 1))));
      return;
    }
    case kReadPointer:
      Byte(kReadPointer) = value;  // acts when the other half is written
      return;
    case kReadPointer + 1:
      WriteWord(kReadPointer, static_cast<uint16_t>(value << 8 | Byte(kReadPointer)));
      return;
    case kTxPoll:
      if (model_ != Model::kCPlus) return;
      if (value & kPollHigh) PollRing(kTxHighRing, next_high_);
      if (value & kPollNormal) PollRing(kTxRing, next_normal_);
      if (value & kForceInterrupt) Raise(kSoftwareInterrupt);
      return;
    default:
      return WritePlain(offset, value);
  }
}

/// Whether a byte just holds what is written. What of it acts does so as part of a word or dword.
bool Rtl8139::IsPlain(uint32_t offset) const {
  const auto within = [offset](uint32_t first, uint32_t bytes) { return offset >= first && offset < first + bytes; };
  if (within(kTxStatus0, 16)) return CPlus(kCPlusTx);
  if (within(kRxConfig, 4) || within(kTxAddress0, 16) || within(kRxBuffer, 4)) return true;
  const bool address = within(kMac, 6) || within(kMulticast, 8);
  const bool timer = within(kTimerInterrupt, 4);
  return address || timer || (model_ == Model::kCPlus && within(kRxRing, 8));
}

void Rtl8139::WritePlain(uint32_t offset, uint8_t value) {
  const auto configure = [&](uint8_t writable) {
    if (Unlocked()) Byte(offset) = static_cast<uint8_t>((Byte(offset) & ~writable) | (value & writable));
  };
  switch (offset) {
    case kConfig1:
      return configure(kConfig1Writable);
    case kConfig3:
      return configure(kConfig3Writable);
    case kConfig4:
      return configure(kConfig4Writable);
    case kConfig5:
      return configure(kConfig5Writable);
  }
  if (!IsPlain(offset)) return;
  Byte(offset) = value;
  // A ring that moves starts over.
  if (CPlus(kCPlusTx) && offset / 8 == kTxRing / 8) next_normal_ = 0, assembling_.clear();
  if (CPlus(kCPlusTx) && offset / 8 == kTxHighRing / 8) next_high_ = 0;
  if (offset >= kRxRing && offset < kRxRing + 8) next_rx_ = 0;
}

void Rtl8139::WriteCommand(uint8_t value) {
  if (value & kReset) return SoftReset();
  const uint8_t before = Byte(kCommand);
  Byte(kCommand) = value & (kReceiverOn | kTransmitterOn);
  if (!(before & kReceiverOn) && ReceiverOn()) {
    SetWord(kWritePointer, 0);
    SetWord(kReadPointer, kReadPointerReset);
    next_rx_ = 0;
  }
  if (!(before & kTransmitterOn) && TransmitterOn()) next_tx_ = next_normal_ = next_high_ = 0;
  if (!TransmitterOn()) assembling_.clear();
  OfferAgain();
}

void Rtl8139::WriteEeprom(uint8_t value) {
  const uint8_t mode = value & kModeMask;
  Byte(kEeprom) = value & static_cast<uint8_t>(~kEepromOut);
  if (mode == kModeReload) {
    LoadFromEeprom();
    Byte(kEeprom) = 0;  // autoload ends in normal mode
  }
  const bool programming = mode == kModeProgram;
  eeprom_.SetLines(programming && (value & kEepromSelect), value & kEepromClock, value & kEepromIn);
}

bool Rtl8139::Unlocked() const { return (registers_[kEeprom] & kModeMask) == kModeUnlocked; }

/// Reset and negotiation are over at once.
void Rtl8139::WritePhy(uint32_t offset, uint16_t value) {
  if (offset == kBasicControl && (value & kControlReset)) value = kControlDefault;
  SetWord(offset, value & static_cast<uint16_t>(~kControlRestart));
}

// --- interrupts and timer ---

void Rtl8139::Raise(uint16_t interrupts) {
  SetWord(kInterruptStatus, Word(kInterruptStatus) | interrupts);
  UpdateInterrupt();
}

void Rtl8139::UpdateInterrupt() { SetInterrupt((Word(kInterruptStatus) & Word(kInterruptMask)) != 0); }

uint32_t Rtl8139::TimerTicks() const {
  return static_cast<uint32_t>(NanosecondsToTicks(clock_.NowNs() - timer_start_ns_, kPciHertz));
}

void Rtl8139::ScheduleTimer() {
  const uint32_t at = Dword(kTimerInterrupt);
  const uint32_t now = TimerTicks();
  if (at == 0 || at <= now) return timer_.Cancel();
  timer_.Schedule(timer_start_ns_ + TicksToNanoseconds(at, kPciHertz));
}

/// A frame that found no room waits in the backend. Drivers make room by writing a register, or, in C+ mode, just in
/// memory: then the timer finds it.
void Rtl8139::OfferAgain() {
  if (!held_) return;
  held_ = false;
  network_.ReceiveReady();
  if (held_) retry_.Schedule(clock_.NowNs() + kRetryNs);
}

}  // namespace ring3
