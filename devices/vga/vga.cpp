#include "devices/vga/vga.h"

#include <algorithm>
#include <cstring>

#include "devices/vga/direct_window.h"

namespace ring3 {
namespace {

using namespace vga;

constexpr uint16_t kMonoOffset = kCrtcPort - 0x3B4;  // from a port at 3Bxh to its twin at 3Dxh
constexpr uint8_t kSequencerIndexMask = 7, kGraphicsIndexMask = 0x0F, kCrtcIndexMask = 0x3F;
/// Bits that exist, by register.
constexpr uint8_t kSequencerBits[seq::kCount] = {0x03, 0x3D, 0x0F, 0x3F, 0x0E};
constexpr uint8_t kGraphicsBits[gfx::kCount] = {0x0F, 0x0F, 0x0F, 0x1F, 0x03, 0x7B, 0x0F, 0x0F, 0xFF};
constexpr uint8_t kPaletteBits = 0x3F;
constexpr uint8_t kProtectedCount = 8;

constexpr bool InColourBlock(uint16_t port) { return port >= 0x3D0; }
constexpr bool InMonoBlock(uint16_t port) { return port < 0x3C0; }

// BIOS mode 3 (IBM VGA technical reference, mode tables).
constexpr uint8_t kTextMiscellaneous = 0x67;
constexpr uint8_t kTextSequencer[seq::kCount] = {0x03, 0x00, 0x03, 0x00, 0x02};
constexpr uint8_t kTextGraphics[gfx::kCount] = {0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x0E, 0x0F, 0xFF};
constexpr uint8_t kTextCrtc[crtc::kCount] = {0x5F, 0x4F, 0x50, 0x82, 0x55, 0x81, 0xBF, 0x1F, 0x00,
                                             0x4F, 0x0D, 0x0E, 0x00, 0x00, 0x00, 0x00, 0x9C, 0x8E,
                                             0x8F, 0x28, 0x1F, 0x96, 0xB9, 0xA3, 0xFF};
constexpr uint8_t kTextAttribute[attr::kCount] = {0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x14, 0x07, 0x38, 0x39, 0x3A,
                                                  0x3B, 0x3C, 0x3D, 0x3E, 0x3F, 0x0C, 0x00, 0x0F, 0x08, 0x00};
constexpr unsigned kGlyphBytes = 16, kGlyphStride = 32, kGlyphs = 256, kPlanes = 4, kFontPlane = 2;
constexpr uint32_t kTextCells = 0x4000;
constexpr size_t kVgaBytes = 256u << 10;
constexpr uint8_t kBlank = ' ', kGrey = 0x07;

/// The 64 colours of the EGA: bits 0-2 two thirds of full blue, green, red; bits 3-5 one third of them.
uint8_t EgaChannel(unsigned colour, unsigned channel) {
  constexpr unsigned kFull = 0x3F;
  return static_cast<uint8_t>(((colour >> channel & 1) * 2 + (colour >> (channel + 3) & 1)) * kFull / 3);
}

}  // namespace

Vga::Vga(Clock& clock, VideoMemory& memory)
    : clock_(clock),
      memory_(memory),
      bochs_(memory.Size()),
      window_(registers_, bochs_, memory),
      timing_(TimingOf(registers_)) {}

void Vga::Reset() {
  registers_ = VgaRegisters();
  dac_.Reset();
  bochs_.Reset();
  bochs_index_ = 0;
  WindowChanged();
  std::memset(memory_.Data(), 0, kVgaBytes);  // what lies beyond need not be backed by the host yet
  memory_.TouchAll();
  TimingChanged();
}

void Vga::EnterTextMode(std::span<const uint8_t> font) {
  registers_.miscellaneous = kTextMiscellaneous;
  std::copy_n(kTextSequencer, seq::kCount, registers_.sequencer.begin());
  std::copy_n(kTextGraphics, gfx::kCount, registers_.graphics.begin());
  std::copy_n(kTextCrtc, crtc::kCount, registers_.crtc.begin());
  std::copy_n(kTextAttribute, attr::kCount, registers_.attribute.begin());
  registers_.attribute_index = attr::kIndexScreenOn;
  WindowChanged();
  dac_.Write(kDacWritePort, 0);
  for (unsigned colour = 0; colour < 64; ++colour) {
    for (const unsigned channel : {2u, 1u, 0u}) dac_.Write(kDacDataPort, EgaChannel(colour, channel));
  }
  for (uint32_t cell = 0; cell < kTextCells; ++cell) {
    memory_.Data()[cell * kPlanes] = kBlank;
    memory_.Data()[cell * kPlanes + 1] = kGrey;
  }
  for (unsigned i = 0; i < std::min<size_t>(font.size(), kGlyphs * kGlyphBytes); ++i) {
    const unsigned cell = i / kGlyphBytes * kGlyphStride + i % kGlyphBytes;
    memory_.Data()[cell * kPlanes + kFontPlane] = font[i];
  }
  memory_.TouchAll();
  TimingChanged();
}

uint64_t Vga::Frames() { return NanosecondsToTicks(clock_.NowNs(), timing_.dot_hertz) / timing_.FrameDots(); }

/// The mono and colour blocks answer one at a time.
bool Vga::Answers(uint16_t port) const {
  const bool colour = registers_.miscellaneous & kMiscColour;
  return colour ? !InMonoBlock(port) : !InColourBlock(port);
}

uint8_t Vga::ReadByte(uint16_t port) {
  if (!Answers(port)) return 0xFF;
  if (InMonoBlock(port)) port += kMonoOffset;
  const VgaRegisters& r = registers_;
  switch (port) {
    case kAttributePort:
      return r.attribute_index;
    case kAttributeReadPort: {
      const uint8_t index = r.attribute_index & attr::kIndexMask;
      return index < attr::kCount ? r.attribute[index] : 0;
    }
    case kMiscWritePort:
      return kStatus0Sense;
    case kEnablePort:
      return r.enable;
    case kSequencerPort:
      return r.sequencer_index;
    case kSequencerPort + 1:
      return r.sequencer_index < seq::kCount ? r.sequencer[r.sequencer_index] : 0;
    case kDacMaskPort:
    case kDacReadPort:
    case kDacWritePort:
    case kDacDataPort:
      return dac_.Read(port);
    case kFeatureReadPort:
      return r.feature;
    case kMiscReadPort:
      return r.miscellaneous;
    case kGraphicsPort:
      return r.graphics_index;
    case kGraphicsPort + 1:
      return r.graphics_index < gfx::kCount ? r.graphics[r.graphics_index] : 0;
    case kStatusPort:
      return ReadStatus();
    default:
      return ReadCrtc(port);
  }
}

/// An index port and a data port, which repeat below themselves.
uint8_t Vga::ReadCrtc(uint16_t port) const {
  if (port < 0x3D0 || port > kCrtcPort + 1) return 0xFF;
  if ((port & 1) == 0) return registers_.crtc_index;
  return registers_.crtc_index < crtc::kCount ? registers_.crtc[registers_.crtc_index] : 0;
}

uint8_t Vga::ReadStatus() {
  registers_.attribute_data_next = false;
  return timing_.Status(clock_.NowNs());
}

void Vga::WriteByte(uint16_t port, uint8_t value) {
  if (!Answers(port)) return;
  if (InMonoBlock(port)) port += kMonoOffset;
  VgaRegisters& r = registers_;
  switch (port) {
    case kAttributePort:
      return WriteAttribute(value);
    case kMiscWritePort:
      r.miscellaneous = value;
      WindowChanged();
      return TimingChanged();
    case kEnablePort:
      r.enable = value & 1;
      return;
    case kSequencerPort:
      r.sequencer_index = value & kSequencerIndexMask;
      return;
    case kSequencerPort + 1:
      if (r.sequencer_index >= seq::kCount) return;
      r.sequencer[r.sequencer_index] = value & kSequencerBits[r.sequencer_index];
      WindowChanged();
      return TimingChanged();
    case kDacMaskPort:
    case kDacReadPort:
    case kDacWritePort:
    case kDacDataPort:
      return dac_.Write(port, value);
    case kGraphicsPort:
      r.graphics_index = value & kGraphicsIndexMask;
      return;
    case kGraphicsPort + 1:
      if (r.graphics_index < gfx::kCount) r.graphics[r.graphics_index] = value & kGraphicsBits[r.graphics_index];
      return WindowChanged();
    case kStatusPort:
      r.feature = value;
      return;
    default:
      WriteCrtc(port, value);
  }
}

void Vga::WriteAttribute(uint8_t value) {
  VgaRegisters& r = registers_;
  r.attribute_data_next = !r.attribute_data_next;
  if (r.attribute_data_next) {
    r.attribute_index = value & (attr::kIndexMask | attr::kIndexScreenOn);
    return;
  }
  const uint8_t index = r.attribute_index & attr::kIndexMask;
  if (index < attr::kCount) r.attribute[index] = index < attr::kPaletteCount ? value & kPaletteBits : value;
}

void Vga::WriteCrtc(uint16_t port, uint8_t value) {
  if (port < 0x3D0 || port > kCrtcPort + 1) return;
  VgaRegisters& r = registers_;
  if ((port & 1) == 0) {
    r.crtc_index = value & kCrtcIndexMask;
    return;
  }
  if (r.crtc_index >= crtc::kCount) return;
  uint8_t& target = r.crtc[r.crtc_index];
  const bool protects = r.crtc[crtc::kRetraceEnd] & crtc::kRetraceEndProtect;
  if (protects && r.crtc_index < kProtectedCount) {
    if (r.crtc_index != crtc::kOverflow) return;
    value = static_cast<uint8_t>((target & ~crtc::kOverflowCompare8) | (value & crtc::kOverflowCompare8));
  }
  target = value;
  TimingChanged();
}

void Vga::WriteBochs(uint16_t index, uint16_t value) {
  if (bochs_.Write(index, value)) {
    const LinearMode mode = bochs_.Mode();
    std::memset(memory_.Data(), 0, size_t{mode.pitch} * mode.height * (mode.bits == 4 ? kPlanes : 1));
    memory_.TouchAll();
  }
  dac_.SetEightBit(bochs_.WantsEightBitDac());
  WindowChanged();
}

void Vga::WindowChanged() {
  if (direct_) direct_->RegistersChanged();
}

uint32_t Vga::ReadBochsPort(uint16_t port, unsigned size) {
  const uint16_t value = port == kBochsIndexPort ? bochs_index_ : ReadBochs(bochs_index_);
  return size == 1 ? value & 0xFF : value;
}

void Vga::WriteBochsPort(uint16_t port, unsigned, uint32_t value) {
  if (port == kBochsIndexPort) {
    bochs_index_ = static_cast<uint16_t>(value);
  } else {
    WriteBochs(bochs_index_, static_cast<uint16_t>(value));
  }
}

}  // namespace ring3
