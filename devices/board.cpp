#include "devices/board.h"

#include <chrono>
#include <utility>

namespace ring3 {
namespace {

uint64_t HostUnixNs() {
  using namespace std::chrono;
  return static_cast<uint64_t>(duration_cast<nanoseconds>(system_clock::now().time_since_epoch()).count());
}

}  // namespace

Board::Board(Clock& clock, BoardOptions options, BoardEvents events)
    : clock_(clock),
      options_(std::move(options)),
      events_(std::move(events)),
      pit_(clock, timers_, IrqLine(pit_line_, layout::kPitIrq)),
      system_control_b_(clock, pit_),
      system_control_a_([this](bool enabled) { SetA20(enabled); }, [this] { RequestReset(); }),
      reset_control_([this] { RequestReset(); }),
      rtc_(clock, timers_, IrqLine(rtc_line_, layout::kRtcIrq),
           options_.start_unix_ns ? *options_.start_unix_ns : HostUnixNs()),
      keyboard_controller_(clock, timers_, IrqLine(irqs_, layout::kKeyboardIrq), IrqLine(irqs_, layout::kMouseIrq),
                           {.a20 = [this](bool enabled) { SetA20(enabled); }, .reset = [this] { RequestReset(); }}),
      first_serial_irq_(irqs_, layout::kFirstSerialIrq),
      second_serial_irq_(irqs_, layout::kSecondSerialIrq),
      pm_(clock, timers_, IrqLine(irqs_, layout::kSciIrq),
          [this] {
            FlushOutput();
            if (events_.power_off) events_.power_off();
          }),
      debug_console_(options_.debug_console),
      debug_exit_([this](int code) {
        FlushOutput();
        if (events_.debug_exit) events_.debug_exit(code);
      }),
      fpu_error_(IrqLine(irqs_, layout::kFpuIrq),
                 [this] {
                   if (events_.ignore_fpu_error) events_.ignore_fpu_error();
                 }),
      pci_(reset_control_),
      firmware_log_(options_.firmware_log),
      host_bridge_(HasFirmware() ? &shadow_ram_.emplace(*options_.memory, options_.firmware) : nullptr) {
  pics_.OnInterruptChange([this](bool waits) {
    if (local_apic_) return local_apic_->SetExternal(waits);
    NoticeInterrupt();
  });
  if (options_.apic) AddApics();
  AddSerialPorts(clock);
  rtc_.SetMemorySize(options_.ram_bytes);
  AttachPorts();
  if (options_.hpet) AddHpet();
  if (options_.memory) AddDma();
  pci_.Connect(&ports_, options_.memory, &irqs_);
  if (options_.pci_host_bridge) AddPciFunctions();
  if (HasFirmware()) AddFirmwareDevices();
  SetUpChipset();
  built_ = true;
}

void Board::NoticeInterrupt() {
  if (built_ && events_.interrupt_changed) events_.interrupt_changed();
}

void Board::AddApics() {
  local_apic_.emplace(clock_, timers_,
                      LocalApic::Events{.changed = [this] { NoticeInterrupt(); },
                                        .level_ended = [this](uint8_t vector) { io_apic_->EndInterrupt(vector); }});
  io_apic_.emplace(*local_apic_);
  irqs_.SetIoApic(&*io_apic_);
  options_.memory->AttachMmio(GuestPhysical(LocalApic::kAddress), LocalApic::kBytes, *local_apic_);
  options_.memory->AttachMmio(GuestPhysical(IoApic::kAddress), IoApic::kBytes, *io_apic_);
}

void Board::AddHpet() {
  hpet_.emplace(
      clock_, timers_,
      Hpet::Wires{.isa = &irqs_, .io_apic = io_apic_ ? &*io_apic_ : nullptr, .replace_legacy = [this](bool replaced) {
                    pit_line_.SetReplaced(replaced);
                    rtc_line_.SetReplaced(replaced);
                  }});
  options_.memory->AttachMmio(GuestPhysical(Hpet::kAddress), Hpet::kBytes, *hpet_);
}

void Board::AddSerialPorts(Clock& clock) {
  constexpr const char* kNames[kSerialPorts] = {"COM1", "COM2", "COM3", "COM4"};
  for (unsigned port = 0; port < kSerialPorts; ++port) {
    if (port != 0 && !(options_.serial_ports >> port & 1)) continue;
    IrqLine line(port % 2 == 0 ? first_serial_irq_ : second_serial_irq_, port);
    serial_[port].emplace(clock, timers_, line, options_.serial[port]);
    ports_.Attach(layout::kSerialPortAt[port], layout::kSerialPortCount, *serial_[port], kNames[port]);
  }
}

unsigned Board::SerialPorts() const {
  unsigned ports = 0;
  for (unsigned port = 0; port < kSerialPorts; ++port) ports |= serial_[port] ? 1u << port : 0;
  return ports;
}

uint8_t Board::AcknowledgeInterrupt() {
  if (!local_apic_) return pics_.Acknowledge();
  const std::optional<uint8_t> vector = local_apic_->Acknowledge();
  return vector ? *vector : pics_.Acknowledge();
}

void Board::AddDma() {
  dma_.emplace(*options_.memory);
  ports_.Attach(layout::kDmaPort, layout::kDmaPortCount, dma_->First(), "DMA controller");
  ports_.Attach(layout::kSecondDmaPort, layout::kSecondDmaPortCount, dma_->Second(), "second DMA controller");
  ports_.Attach(layout::kDmaPagePort, layout::kDmaPagePortCount, dma_->Pages(), "DMA pages");
}

void Board::AddFirmwareDevices() {
  fw_cfg_.emplace(*options_.memory);
  ports_.Attach(layout::kFwCfgPort, layout::kFwCfgPortCount, fw_cfg_->Registers(), "firmware configuration");
  ports_.Attach(layout::kFwCfgDmaPort, layout::kFwCfgDmaPortCount, fw_cfg_->Dma(), "firmware configuration DMA");
  ports_.Attach(layout::kFirmwareLogPort, 1, firmware_log_, "firmware log");
}

void Board::AddPciFunctions() {
  pci_.Add(layout::kHostBridgeSlot, 0, host_bridge_);
  pci_.Add(layout::kSouthBridgeSlot, layout::kIsaBridgeFunction, isa_bridge_);
  pci_.Add(layout::kSouthBridgeSlot, layout::kPowerManagementFunction, power_management_);
}

/// What a BIOS would have done before it starts an operating system.
void Board::SetUpChipset() {
  if (HasFirmware()) return;
  isa_bridge_.RoutePirqs(layout::kFirstPciIrq, layout::kSecondPciIrq);
  power_management_.SetBase(layout::kPmBasePort);
}

void Board::AttachPorts() {
  using namespace layout;
  ports_.Attach(kMasterPicPort, kPicPortCount, pics_.Master(), "master interrupt controller");
  ports_.Attach(kSlavePicPort, kPicPortCount, pics_.Slave(), "slave interrupt controller");
  ports_.Attach(kElcrPort, kElcrPortCount, pics_.Elcr(), "interrupt edge/level control");
  ports_.Attach(kPitPort, kPitPortCount, pit_, "interval timer");
  ports_.Attach(kKeyboardDataPort, 1, keyboard_controller_, "keyboard data");
  ports_.Attach(kKeyboardCommandPort, 1, keyboard_controller_, "keyboard command");
  ports_.Attach(kSystemControlBPort, 1, system_control_b_, "system control B");
  ports_.Attach(kSystemControlAPort, 1, system_control_a_, "system control A");
  ports_.Attach(kRtcPort, kRtcPortCount, rtc_, "real-time clock");
  ports_.Attach(kPostPort, 1, post_, "POST code");
  ports_.Attach(kFpuErrorPort, kFpuErrorPortCount, fpu_error_, "x87 error");
  ports_.Attach(kDebugConsolePort, 1, debug_console_, "debug console");
  ports_.Attach(kPciAddressPort, kPciAddressPortCount, pci_.AddressPort(), "PCI configuration address");
  ports_.Attach(kPciDataPort, kPciDataPortCount, pci_.DataPort(), "PCI configuration data");
  ports_.Attach(kSmiCommandPort, kSmiCommandPortCount, pm_.SmiCommand(), "SMI command");
  if (options_.vm_port) ports_.Attach(kVmPort, kVmPortCount, vm_port_, "VMware port");
  if (options_.debug_exit) {
    ports_.Attach(options_.debug_exit->first, options_.debug_exit->count, debug_exit_, "debug exit");
  }
}

void Board::SetA20(bool enabled) {
  system_control_a_.SetA20(enabled);
  keyboard_controller_.SetA20(enabled);
  if (events_.a20) events_.a20(enabled);
}

void Board::RequestReset() {
  FlushOutput();
  if (events_.reset) events_.reset();
}

void Board::FlushOutput() {
  for (auto& serial : serial_) {
    if (serial) serial->FlushOutput();
  }
  debug_console_.FlushOutput();
  firmware_log_.FlushOutput();
}

void Board::Reset() {
  FlushOutput();
  pics_.Reset();
  if (io_apic_) io_apic_->Reset();
  if (hpet_) hpet_->Reset();
  if (local_apic_) local_apic_->Reset();
  pit_.Reset();
  system_control_b_.Reset();
  reset_control_.Reset();
  rtc_.Reset();
  keyboard_controller_.Reset();
  vm_port_.Reset();
  for (auto& serial : serial_) {
    if (serial) serial->Reset();
  }
  pm_.Reset();
  pci_.Reset();
  if (dma_) dma_->Reset();
  if (fw_cfg_) fw_cfg_->Reset();
  post_.Reset();
  fpu_error_.Reset();
  SetUpChipset();
  SetA20(true);
}

}  // namespace ring3
