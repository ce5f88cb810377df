// The PC's two cascaded 8237A DMA controllers with their page registers (Intel 8237A data sheet; 82371SB for the
// pages).
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <span>

#include "devices/byte_port_device.h"
#include "shadowmmu/physical_memory.h"

namespace ring3 {

/// Channels 0 to 3 move bytes, 5 to 7 words; channel 4 is the cascade. Nothing moves by itself: a device that has its
/// DREQ up moves what the channel lets it.
class DmaControllers {
 public:
  static constexpr unsigned kChannels = 8;

  struct Moved {
    size_t bytes = 0;
    bool terminal_count = false;  // the programmed count is used up
  };

  /// `memory` outlives this.
  explicit DmaControllers(PhysicalMemory& memory) : memory_(memory) { Reset(); }

  /// The device's DREQ line.
  void SetRequest(unsigned channel, bool asserted);
  /// The guest has the channel switched on.
  bool Ready(unsigned channel) const;
  /// `ready` is called when the guest has switched the channel on while its DREQ is up.
  void OnReady(unsigned channel, std::function<void()> ready) { channels_[channel].ready = std::move(ready); }

  /// From the device into memory: as much as the channel takes, nothing unless it is Ready() and programmed for that
  /// direction. A channel programmed to verify counts without moving. Word channels move an even number.
  Moved ToMemory(unsigned channel, std::span<const uint8_t> data);
  /// The same, from memory to the device.
  Moved FromMemory(unsigned channel, std::span<uint8_t> data);

  /// 16 ports of bytes; 16 registers at 32 ports; 15 ports from 81h on.
  PortDevice& First() { return first_; }
  PortDevice& Second() { return second_; }
  PortDevice& Pages() { return pages_; }
  void Reset();

 private:
  enum class Direction : uint8_t { kVerify, kToMemory, kFromMemory, kIllegal };
  struct Channel {
    uint16_t base_address = 0, base_count = 0, address = 0, count = 0;
    uint8_t mode = 0;
    std::function<void()> ready;
  };
  struct Chip {
    uint8_t command = 0, mask = 0, terminal_counts = 0, requests = 0;
    bool high_byte = false;  // which half the address and count ports mean next
  };
  class ChipPorts final : public BytePortDevice {
   public:
    ChipPorts(DmaControllers& owner, unsigned chip) : owner_(owner), chip_(chip) {}

   protected:
    uint8_t ReadByte(uint16_t port) override { return owner_.ReadRegister(chip_, Register(port)); }
    void WriteByte(uint16_t port, uint8_t value) override { owner_.WriteRegister(chip_, Register(port), value); }

   private:
    /// The second chip has every other port.
    unsigned Register(uint16_t port) const { return (chip_ == 0 ? port : port >> 1) & 0xF; }
    DmaControllers& owner_;
    unsigned chip_;
  };
  class PagePorts final : public BytePortDevice {
   public:
    uint8_t PageOf(unsigned channel) const;
    void Reset() { pages_ = {}; }

   protected:
    uint8_t ReadByte(uint16_t port) override { return pages_[port & 0xF]; }
    void WriteByte(uint16_t port, uint8_t value) override { pages_[port & 0xF] = value; }

   private:
    std::array<uint8_t, 16> pages_{};  // those that no channel has hold what is written
  };

  static constexpr unsigned kPerChip = 4;

  uint8_t ReadRegister(unsigned chip, unsigned number);
  void WriteRegister(unsigned chip, unsigned number, uint8_t value);
  void WriteHalf(unsigned chip, unsigned number, uint8_t value);
  void ClearChip(unsigned chip);
  void SetMask(unsigned chip, uint8_t mask);
  void NoticeReady(unsigned chip);
  Direction DirectionOf(unsigned channel) const;
  GuestPhysical AddressOf(unsigned channel) const;
  template <class Move>
  Moved Run(unsigned channel, size_t bytes, Move move);
  void ReachTerminalCount(unsigned channel);

  PhysicalMemory& memory_;
  std::array<Channel, kChannels> channels_;
  std::array<Chip, 2> chips_;
  ChipPorts first_{*this, 0}, second_{*this, 1};
  PagePorts pages_;
};

}  // namespace ring3
