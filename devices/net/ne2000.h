// NE2000 on PCI: Realtek's RTL8029AS (data sheet of that name), a National DP8390 with 32 KiB of buffer behind a data
// port (DP8390D data sheet; NE2000 convention for the station address PROM).
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "devices/clock.h"
#include "devices/net/network.h"
#include "devices/pci_device.h"
#include "devices/register_window.h"

namespace ring3 {

/// Frames take no time and never collide.
class Ne2000 final : public PciDevice, public NetworkReceiver, private RegisterBlock {
 public:
  Ne2000(Clock& clock, TimerQueue& timers, NetworkBackend& network, const MacAddress& mac);

  PortDevice* BarPorts(unsigned bar) override { return bar == 0 ? &ports_ : nullptr; }
  void Reset() override;
  bool ReceiveFrame(FrameView frame) override;

 private:
  static constexpr unsigned kRamFirst = 0x4000, kRamBytes = 0x8000, kPromBytes = 32;

  uint32_t ReadRegister(uint32_t offset, unsigned size) override;
  void WriteRegister(uint32_t offset, unsigned size, uint32_t value) override;
  uint8_t ReadChip(unsigned index);
  uint8_t ReadPage0(unsigned index);
  uint8_t ReadPage2(unsigned index) const;
  uint8_t ReadPage3(unsigned index) const;
  void WriteChip(unsigned index, uint8_t value);
  void WritePage0(unsigned index, uint8_t value);
  void WritePage1(unsigned index, uint8_t value);
  void WritePage3(unsigned index, uint8_t value);
  void WriteCommand(uint8_t value);
  void ChipReset();

  void StartRemote();
  uint32_t ReadData(unsigned size);
  void WriteData(unsigned size, uint32_t value);
  void AdvanceRemote(unsigned bytes);
  void Transmit();
  bool Accepts(FrameView frame) const;
  bool HasUnread() const;
  void ReceiveAcknowledged();
  void Remind();
  unsigned FreePages() const;
  uint8_t NextPage(uint8_t page) const;
  void Store(uint8_t& page, unsigned& offset, std::span<const uint8_t> bytes);

  uint8_t ReadMemory(uint16_t address) const;
  void WriteMemory(uint16_t address, uint8_t value);
  void Raise(uint8_t interrupts);
  void UpdateInterrupt();

  Clock& clock_;
  NetworkBackend& network_;
  RegisterPorts ports_;
  Timer reminder_;
  std::array<uint8_t, kPromBytes> prom_{};
  std::vector<uint8_t> ram_;

  uint8_t command_ = 0, interrupt_status_ = 0, interrupt_mask_ = 0;
  uint8_t page_start_ = 0, page_stop_ = 0, boundary_ = 0, current_ = 0;
  uint8_t transmit_page_ = 0, transmit_status_ = 0, receive_status_ = 0;
  uint8_t receive_config_ = 0, transmit_config_ = 0, data_config_ = 0;
  uint16_t transmit_bytes_ = 0, remote_start_ = 0, remote_bytes_ = 0;
  uint16_t remote_address_ = 0, remote_left_ = 0;  // of the transfer that runs
  bool sending_packet_ = false;                    // it is a Send Packet command
  unsigned burst_ = 0;                             // frames since the driver acknowledged one
  MacAddress physical_{};
  std::array<uint8_t, 8> multicast_{};
  uint8_t eeprom_ = 0, config2_ = 0, config3_ = 0;
};

}  // namespace ring3
