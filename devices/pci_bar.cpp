#include "devices/pci_bar.h"

namespace ring3 {
namespace {

constexpr uint32_t kPortSpace = 0x10000;

}  // namespace

void PciBar::UnmapIfMoved(PortBus* ports, PhysicalMemory* memory) {
  if (shown_ == Shown::kNothing || function_.BarAddress(index_) == base_) return;
  switch (shown_) {
    case Shown::kPorts:
      ports->Detach(static_cast<uint16_t>(base_), *this);
      break;
    case Shown::kMmio:
      memory->DetachMmio(GuestPhysical(base_), *this);
      break;
    case Shown::kBacked:
      memory->DetachBacked(*function_.BarBacked(index_));
      break;
    case Shown::kNothing:
      break;
  }
  shown_ = Shown::kNothing;
}

void PciBar::MapIfWanted(PortBus* ports, PhysicalMemory* memory) {
  const uint32_t address = function_.BarAddress(index_);
  if (shown_ != Shown::kNothing || address == 0) return;
  base_ = address;
  shown_ = MapPorts(ports, address);
  if (shown_ == Shown::kNothing) shown_ = MapMemory(memory, address);
}

PciBar::Shown PciBar::MapPorts(PortBus* ports, uint32_t address) {
  ports_ = function_.BarPorts(index_);
  const uint32_t bytes = function_.BarBytes(index_);
  if (!ports || !ports_ || address >= kPortSpace || !ports->IsFree(static_cast<uint16_t>(address), bytes)) {
    return Shown::kNothing;
  }
  ports->Attach(static_cast<uint16_t>(address), bytes, *this, "PCI function");
  return Shown::kPorts;
}

PciBar::Shown PciBar::MapMemory(PhysicalMemory* memory, uint32_t address) {
  if (!memory) return Shown::kNothing;
  if (BackedMemory* backed = function_.BarBacked(index_)) {
    return memory->AttachBacked(*backed, GuestPhysical(address)) ? Shown::kBacked : Shown::kNothing;
  }
  mmio_ = index_ == PciDevice::kRomBar ? function_.Rom() : function_.BarMemory(index_);
  if (!mmio_ || !memory->IsFree(GuestPhysical(address), function_.BarBytes(index_))) return Shown::kNothing;
  memory->AttachMmio(GuestPhysical(address), function_.BarBytes(index_), *this);
  return Shown::kMmio;
}

uint32_t PciBar::ReadPort(uint16_t port, unsigned size) {
  return ports_->ReadPort(static_cast<uint16_t>(port - base_), size);
}

void PciBar::WritePort(uint16_t port, unsigned size, uint32_t value) {
  ports_->WritePort(static_cast<uint16_t>(port - base_), size, value);
}

uint64_t PciBar::ReadMmio(GuestPhysical address, unsigned size) {
  return mmio_->ReadMmio(GuestPhysical(address.value - base_), size);
}

void PciBar::WriteMmio(GuestPhysical address, unsigned size, uint64_t value) {
  mmio_->WriteMmio(GuestPhysical(address.value - base_), size, value);
}

}  // namespace ring3
