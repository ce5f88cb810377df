// The PC's chips, wired together on one port bus.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include "devices/acpi_pm.h"
#include "devices/clock.h"
#include "devices/debug_ports.h"
#include "devices/dma8237.h"
#include "devices/fpu_error.h"
#include "devices/fw_cfg.h"
#include "devices/hpet.h"
#include "devices/i8042.h"
#include "devices/io_apic.h"
#include "devices/irq_router.h"
#include "devices/layout.h"
#include "devices/local_apic.h"
#include "devices/pci_bus.h"
#include "devices/pic8259.h"
#include "devices/piix.h"
#include "devices/pit8254.h"
#include "devices/port_bus.h"
#include "devices/rtc146818.h"
#include "devices/system_ports.h"
#include "devices/uart16550.h"
#include "devices/vm_port.h"

namespace ring3 {

struct DebugExitPorts {
  uint16_t first = layout::kDebugExitPort;
  unsigned count = layout::kDebugExitPortCount;
};

struct BoardOptions {
  uint64_t ram_bytes = 0;          // what CMOS tells the guest
  std::array<ByteSink, 4> serial;  // output of COM1 to COM4
  unsigned serial_ports = 1;       // a bit for each port that there is; COM1 always is
  ByteSink debug_console;          // output of port E9h
  std::optional<DebugExitPorts> debug_exit;
  PhysicalMemory* memory = nullptr;  // where base address registers of PCI functions lead
  /// The firmware's ROM, if there is one: then the chipset is as after RESET, for firmware to set up; else it is as
  /// firmware leaves it. Needs `memory`, and outlives the board.
  std::span<const uint8_t> firmware;
  ByteSink firmware_log;                  // output of port 402h
  bool apic = false;                      // a local APIC and an I/O APIC; needs `memory`
  bool hpet = false;                      // needs `memory`
  bool vm_port = false;                   // VMware's backdoor port
  bool pci_host_bridge = true;            // without it the PCI bus is empty
  std::optional<uint64_t> start_unix_ns;  // time of day at construction; the host's when unset
};

/// What the board asks of the machine. Called from inside port accesses and RunTimers(), so reset, power_off and
/// debug_exit should only take note. Unset ones are ignored.
struct BoardEvents {
  std::function<void(bool enabled)> a20;
  std::function<void()> reset;
  std::function<void()> power_off;
  std::function<void(int code)> debug_exit;
  std::function<void()> interrupt_changed;  // the INTR output rose or fell
  std::function<void()> ignore_fpu_error;   // IGNNE# is asserted while FERR# is
};

class Board {
 public:
  Board(Clock& clock, BoardOptions options, BoardEvents events);
  Board(const Board&) = delete;
  Board& operator=(const Board&) = delete;

  PortBus& Ports() { return ports_; }
  PicPair& Pics() { return pics_; }
  LocalApic* Apic() { return local_apic_ ? &*local_apic_ : nullptr; }
  /// The processor's INTR: an interrupt waits.
  bool HasInterrupt() const { return local_apic_ ? local_apic_->HasInterrupt() : pics_.HasInterrupt(); }
  /// The vector of the interrupt that the processor takes now.
  uint8_t AcknowledgeInterrupt();
  IrqRouter& Irqs() { return irqs_; }  // where interrupt lines end
  TimerQueue& Timers() { return timers_; }
  Pit8254& Pit() { return pit_; }
  Rtc146818& Rtc() { return rtc_; }
  static constexpr unsigned kSerialPorts = 4;
  Uart16550& Serial() { return *serial_[0]; }
  /// COM1 is 0; nullptr where there is no such port.
  Uart16550* Serial(unsigned port) { return serial_.at(port) ? &*serial_[port] : nullptr; }
  /// A bit for each.
  unsigned SerialPorts() const;
  bool HasHpet() const { return hpet_.has_value(); }
  I8042& KeyboardController() { return keyboard_controller_; }
  Ps2Keyboard& Keyboard() { return keyboard_controller_.Keyboard(); }
  Ps2Mouse& Mouse() { return keyboard_controller_.Mouse(); }
  VmPort& VmPointer() { return vm_port_; }
  AcpiPm& Pm() { return pm_; }
  PciBus& Pci() { return pci_; }
  /// Only where there is memory.
  DmaControllers* Dma() { return dma_ ? &*dma_ : nullptr; }
  /// Only with firmware.
  FwCfg* Config() { return fw_cfg_ ? &*fw_cfg_ : nullptr; }
  PiixPowerManagement& PowerManagement() { return power_management_; }
  PostPort& Post() { return post_; }
  FpuErrorLatch& FpuError() { return fpu_error_; }

  /// Fires the timers that are due. Call at or after NextDeadline(); it changes with port accesses too.
  void RunTimers() { timers_.RunExpired(clock_.NowNs()); }
  /// In nanoseconds of the board's clock.
  std::optional<uint64_t> NextDeadline() const { return timers_.NextDeadline(); }
  /// Hands collected console output to the sinks; also done before power_off, reset and debug_exit.
  void FlushOutput();
  /// The reset line of every chip; ends with a20(true).
  void Reset();

 private:
  bool HasFirmware() const { return !options_.firmware.empty(); }
  void AttachPorts();
  void AddApics();
  void AddHpet();
  void AddSerialPorts(Clock& clock);
  void NoticeInterrupt();
  void AddDma();
  void AddFirmwareDevices();
  void AddPciFunctions();
  void SetUpChipset();
  void SetA20(bool enabled);
  void RequestReset();

  Clock& clock_;
  const BoardOptions options_;
  const BoardEvents events_;
  PortBus ports_;
  TimerQueue timers_;
  PicPair pics_;
  IrqRouter irqs_{pics_};
  std::optional<LocalApic> local_apic_;
  std::optional<IoApic> io_apic_;
  ReplaceableLine pit_line_{irqs_}, rtc_line_{irqs_};
  std::optional<Hpet> hpet_;
  Pit8254 pit_;
  SystemControlB system_control_b_;
  SystemControlA system_control_a_;
  ResetControl reset_control_;
  Rtc146818 rtc_;
  I8042 keyboard_controller_;
  VmPort vm_port_{keyboard_controller_.Mouse()};
  SharedLine first_serial_irq_, second_serial_irq_;  // of COM1 and COM3, of COM2 and COM4
  std::array<std::optional<Uart16550>, kSerialPorts> serial_;
  AcpiPm pm_;
  DebugConsole debug_console_;
  DebugExit debug_exit_;
  PostPort post_;
  FpuErrorLatch fpu_error_;
  PciBus pci_;
  bool built_ = false;  // until then nobody is told of anything
  std::optional<DmaControllers> dma_;
  std::optional<ShadowRam> shadow_ram_;
  std::optional<FwCfg> fw_cfg_;
  DebugConsole firmware_log_;
  PciHostBridge host_bridge_;
  PiixIsaBridge isa_bridge_{irqs_};
  PiixPowerManagement power_management_{pm_, ports_};
};

}  // namespace ring3
