// Realtek RTL8139C and RTL8139C+ Fast Ethernet controllers (data sheets RTL8139C(L) rev. 1.4, RTL8139C(L)+ v1.6).
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "devices/clock.h"
#include "devices/dma.h"
#include "devices/net/eeprom93c46.h"
#include "devices/net/network.h"
#include "devices/net/rtl8139_registers.h"
#include "devices/pci_device.h"
#include "devices/register_window.h"

namespace ring3 {

/// The link is always up, at 100 Mbit/s full duplex; frames take no time.
class Rtl8139 final : public PciDevice, public NetworkReceiver, private RegisterBlock {
 public:
  enum class Model : uint8_t { kC, kCPlus };

  Rtl8139(Clock& clock, TimerQueue& timers, PhysicalMemory& memory, NetworkBackend& network, const MacAddress& mac,
          Model model);

  PortDevice* BarPorts(unsigned bar) override { return bar == 0 ? &ports_ : nullptr; }
  MmioDevice* BarMemory(unsigned bar) override { return bar == 1 ? &window_ : nullptr; }
  void Reset() override;
  bool ReceiveFrame(FrameView frame) override;

 private:
  struct Descriptor {
    uint32_t status, vlan;
    uint64_t buffer;
  };

  uint32_t ReadRegister(uint32_t offset, unsigned size) override;
  void WriteRegister(uint32_t offset, unsigned size, uint32_t value) override;

  uint8_t ReadByte(uint32_t offset);
  uint16_t ReadWord(uint32_t offset);
  void WriteByte(uint32_t offset, uint8_t value);
  bool WriteWord(uint32_t offset, uint16_t value);
  bool WriteDword(uint32_t offset, uint32_t value);
  void WriteCommand(uint8_t value);
  void WriteEeprom(uint8_t value);
  void WritePhy(uint32_t offset, uint16_t value);
  void WritePlain(uint32_t offset, uint8_t value);
  bool IsPlain(uint32_t offset) const;
  void SoftReset();
  void LoadFromEeprom();

  uint8_t& Byte(uint32_t offset) { return registers_[offset % rtl8139::kRegisterBytes]; }
  uint16_t Word(uint32_t offset) const;
  uint32_t Dword(uint32_t offset) const;
  uint64_t Qword(uint32_t offset) const { return Dword(offset) | uint64_t{Dword(offset + 4)} << 32; }
  void SetWord(uint32_t offset, uint16_t value);
  void SetDword(uint32_t offset, uint32_t value);

  bool Unlocked() const;
  bool ReceiverOn() const { return registers_[rtl8139::kCommand] & rtl8139::kReceiverOn; }
  bool TransmitterOn() const { return registers_[rtl8139::kCommand] & rtl8139::kTransmitterOn; }
  bool CPlus(uint16_t direction) const { return model_ == Model::kCPlus && (Word(rtl8139::kCPlusCommand) & direction); }

  void Raise(uint16_t interrupts);
  void UpdateInterrupt();
  uint32_t TimerTicks() const;
  void ScheduleTimer();
  void OfferAgain();

  // rtl8139_receive.cpp
  uint32_t RingBytes() const;
  uint32_t RingRoom() const;
  uint16_t Accepted(FrameView frame) const;
  bool StoreInRing(FrameView frame, uint16_t header);
  void WriteRing(uint32_t& at, std::span<const uint8_t> bytes);
  bool StoreInDescriptors(FrameView frame, uint16_t header);
  uint32_t DescriptorRxStatus(FrameView frame, uint16_t header) const;

  // rtl8139_transmit.cpp
  void StartTransmit(unsigned index, uint32_t status);
  void TransmitPending();
  void TransmitBuffer(unsigned index);
  uint16_t TransmitSummary() const;
  void PollRing(uint32_t ring, unsigned& next);
  bool TransmitDescriptor(Descriptor& descriptor);
  void Finish(const Descriptor& last);
  void Transmit(FrameView frame);
  void DumpTally();

  Descriptor ReadDescriptor(uint64_t address);
  void WriteDescriptorStatus(uint64_t address, const Descriptor& descriptor);

  Clock& clock_;
  Dma dma_;
  NetworkBackend& network_;
  const Model model_;
  RegisterPorts ports_;
  RegisterMemory window_;
  Eeprom93c46 eeprom_;
  Timer timer_, retry_;

  std::array<uint8_t, rtl8139::kRegisterBytes> registers_{};
  std::array<uint32_t, 4> tx_status_{};
  unsigned next_tx_ = 0;                                    // the descriptor whose turn it is
  unsigned next_normal_ = 0, next_high_ = 0, next_rx_ = 0;  // C+: indices into the rings
  std::vector<uint8_t> assembling_;                         // C+: fragments of a frame so far
  uint32_t first_status_ = 0;                               // C+: of its first descriptor
  uint32_t missed_ = 0;
  uint64_t timer_start_ns_ = 0;
  struct {
    uint64_t tx_ok = 0, rx_ok = 0, tx_errors = 0;
    uint32_t rx_errors = 0, rx_physical = 0, rx_broadcast = 0, rx_multicast = 0;
    uint16_t missed = 0, tx_aborted = 0;
  } tally_;
  bool held_ = false;  // the backend waits for room
};

}  // namespace ring3
