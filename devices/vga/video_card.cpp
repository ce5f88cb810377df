#include "devices/vga/video_card.h"

#include <utility>

namespace ring3 {
namespace {

constexpr uint16_t kVendor = 0x1234, kDevice = 0x1111;
constexpr uint32_t kClassVga = 0x030000;
constexpr uint8_t kRevisionWithRegisterBar = 2;

// The register window.
constexpr uint32_t kPortsAt = 0x400, kPortsBytes = 0x20, kBochsAt = 0x500, kBochsBytes = 0x16, kExtraAt = 0x600,
                   kExtraBytes = 8;
constexpr uint16_t kFirstWindowPort = 0x3C0;
/// The extra registers: their own size, and the byte order of the picture, which is always the processor's.
constexpr uint64_t kExtraRegisters = kExtraBytes | uint64_t{0x1E1E1E1E} << 32;

}  // namespace

VideoCard::VideoCard(Clock& clock, TimerQueue& timers, PhysicalMemory& physical, PortBus& ports,
                     std::vector<uint8_t> bios)
    : PciDevice({.vendor = kVendor, .device = kDevice, .class_code = kClassVga, .revision = kRevisionWithRegisterBar}),
      memory_(physical, physical.AddBacked(kMemoryBytes)),
      vga_(clock, memory_),
      direct_(clock, timers, physical, *memory_.Backed(), vga_.Window()),
      registers_(vga_) {
  vga_.SetDirect(&direct_);
  AddBar(kMemoryBar, BarKind::kPrefetchableMemory, kMemoryBytes);
  AddBar(kRegisterBar, BarKind::kMemory, RegisterWindow::kBytes);
  SetRom(std::move(bios));
  ports.Attach(Vga::kFirstPort, Vga::kPortCount, vga_, "VGA");
  ports.Attach(Vga::kBochsIndexPort, Vga::kBochsPortCount, vga_.BochsPorts(), "Bochs display");
  physical.AttachMmio(GuestPhysical(VgaWindow::kFirst), VgaWindow::kBytes, vga_.Window());
}

void VideoCard::EnableWithoutBios(uint32_t lfb) {
  WriteConfig(pci::kBar0, 4, lfb);
  WriteConfig(pci::kCommand, 2, pci::kCommandIo | pci::kCommandMemory);
}

void VideoCard::Reset() {
  PciDevice::Reset();
  vga_.Reset();
}

MmioDevice* VideoCard::BarMemory(unsigned index) { return index == kRegisterBar ? &registers_ : nullptr; }

BackedMemory* VideoCard::BarBacked(unsigned index) { return index == kMemoryBar ? memory_.Backed() : nullptr; }

uint64_t VideoCard::RegisterWindow::ReadMmio(GuestPhysical address, unsigned size) {
  const auto at = static_cast<uint32_t>(address.value);
  if (at < kPortsAt) return ReadEdid(at, size);
  if (at - kPortsAt < kPortsBytes) {
    const auto port = static_cast<uint16_t>(kFirstWindowPort + (at - kPortsAt));
    return vga_.ReadPort(port, size > 4 ? 4 : size);
  }
  if (at - kBochsAt < kBochsBytes) return vga_.ReadBochs(static_cast<uint16_t>((at - kBochsAt) / 2)) >> (8 * (at & 1));
  if (at - kExtraAt < kExtraBytes) return kExtraRegisters >> (8 * (at - kExtraAt));
  return ~uint64_t{0};
}

uint64_t VideoCard::RegisterWindow::ReadEdid(uint32_t at, unsigned size) const {
  uint64_t value = 0;
  for (unsigned i = 0; i < size && at + i < edid_.size(); ++i) value |= uint64_t{edid_[at + i]} << (8 * i);
  return value;
}

void VideoCard::RegisterWindow::WriteMmio(GuestPhysical address, unsigned size, uint64_t value) {
  const auto at = static_cast<uint32_t>(address.value);
  if (at - kPortsAt < kPortsBytes) {
    const auto port = static_cast<uint16_t>(kFirstWindowPort + (at - kPortsAt));
    vga_.WritePort(port, size > 4 ? 4 : size, static_cast<uint32_t>(value));
  } else if (at - kBochsAt < kBochsBytes && (at & 1) == 0) {
    vga_.WriteBochs(static_cast<uint16_t>((at - kBochsAt) / 2), static_cast<uint16_t>(value));
  }
}

}  // namespace ring3
