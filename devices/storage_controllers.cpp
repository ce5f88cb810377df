#include "devices/storage_controllers.h"

#include "devices/layout.h"

namespace ring3 {

StorageControllers::StorageControllers(Board& board, PhysicalMemory& memory,
                                       std::array<FloppyDriveType, FloppyController::kDriveCount> floppies, bool set_up)
    : board_(board),
      set_up_(set_up),
      ide_(memory, IrqLine(board.Irqs(), layout::kPrimaryIdeIrq), IrqLine(board.Irqs(), layout::kSecondaryIdeIrq)),
      floppy_(IrqLine(board.Irqs(), layout::kFloppyIrq), *board.Dma(), floppies) {
  AttachPorts(board.Ports());
  board.Pci().Add(layout::kSouthBridgeSlot, layout::kIdeFunction, ide_);
  SetUp();
}

/// What a BIOS would have done.
void StorageControllers::SetUp() {
  constexpr uint16_t kDmaMask = layout::kSecondDmaPort + 2 * 0xA, kDmaMode = layout::kSecondDmaPort + 2 * 0xB;
  constexpr uint32_t kCascadeMode = 0xC0, kUnmaskCascade = 0x00;
  if (!set_up_) return;
  ide_.SetUp(layout::kIdeBusMasterPort);
  board_.Ports().WriteDevice(kDmaMode, 1, kCascadeMode);
  board_.Ports().WriteDevice(kDmaMask, 1, kUnmaskCascade);
}

void StorageControllers::AttachPorts(PortBus& ports) {
  using namespace layout;
  ports.Attach(kFloppyPort, kFloppyPortCount, floppy_, "floppy controller");
  ports.Attach(kFloppyInputPort, 1, floppy_, "floppy digital input");
  ports.Attach(kPrimaryIdePort, kIdePortCount, ide_.Channel(0), "primary IDE channel");
  ports.Attach(kPrimaryIdeControlPort, 1, ide_.Channel(0).Control(), "primary IDE control");
  ports.Attach(kSecondaryIdePort, kIdePortCount, ide_.Channel(1), "secondary IDE channel");
  ports.Attach(kSecondaryIdeControlPort, 1, ide_.Channel(1).Control(), "secondary IDE control");
}

/// The PCI bus has reset the IDE function.
void StorageControllers::Reset() {
  floppy_.Reset();
  SetUp();
}

}  // namespace ring3
