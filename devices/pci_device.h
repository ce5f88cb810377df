// A PCI function's configuration space (PCI Local Bus Specification 2.1, chapter 6).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "devices/option_rom.h"
#include "devices/port_bus.h"
#include "shadowmmu/physical_memory.h"

namespace ring3 {

class PciBus;

namespace pci {
// Configuration registers of every function, by offset.
inline constexpr uint8_t kVendorId = 0x00;
inline constexpr uint8_t kDeviceId = 0x02;
inline constexpr uint8_t kCommand = 0x04;
inline constexpr uint8_t kStatus = 0x06;
inline constexpr uint8_t kRevision = 0x08;  // low byte of the dword whose other three are the class code
inline constexpr uint8_t kCacheLineSize = 0x0C;
inline constexpr uint8_t kLatencyTimer = 0x0D;
inline constexpr uint8_t kHeaderType = 0x0E;
inline constexpr uint8_t kBar0 = 0x10;
inline constexpr uint8_t kBarsEnd = 0x28;
inline constexpr uint8_t kSubsystemVendorId = 0x2C;
inline constexpr uint8_t kSubsystemId = 0x2E;
inline constexpr uint8_t kRomBar = 0x30;
inline constexpr uint8_t kInterruptLine = 0x3C;
inline constexpr uint8_t kInterruptPin = 0x3D;
// Command register.
inline constexpr uint16_t kCommandIo = 0x0001;
inline constexpr uint16_t kCommandMemory = 0x0002;
inline constexpr uint16_t kCommandMaster = 0x0004;
inline constexpr uint16_t kCommandInvalidate = 0x0010;  // memory write and invalidate
inline constexpr uint16_t kCommandParity = 0x0040;
inline constexpr uint16_t kCommandSerr = 0x0100;
inline constexpr uint16_t kCommandInterruptDisable = 0x0400;
// Status register.
inline constexpr uint16_t kStatusInterrupt = 0x0008;
// Expansion ROM base address register.
inline constexpr uint32_t kRomEnable = 0x00000001;
}  // namespace pci

/// Holds the 256 bytes with a write mask for each; subclasses set registers up in their constructor.
class PciDevice {
 public:
  struct Identity {
    uint16_t vendor;
    uint16_t device;
    uint32_t class_code;  // 24 bits: class, subclass, programming interface
    uint8_t revision = 0;
    uint16_t subsystem_vendor = 0x1AF4;  // with `subsystem`, what emulated PCs say of their own functions
    uint16_t subsystem = 0x1100;
  };
  enum class BarKind { kIo, kMemory, kPrefetchableMemory };
  static constexpr unsigned kBarCount = 6;
  static constexpr uint32_t kMostRomBytes = 16u << 20;
  static constexpr unsigned kRomBar = kBarCount;  // the expansion ROM's index among the base address registers

  explicit PciDevice(const Identity& identity);
  virtual ~PciDevice() = default;

  /// `offset` is aligned to `size` (1, 2 or 4).
  uint32_t ReadConfig(uint8_t offset, unsigned size) const;
  void WriteConfig(uint8_t offset, unsigned size, uint32_t value);
  /// RST#: every register takes its reset value, and the interrupt is withdrawn.
  virtual void Reset();

  /// The address the guest programmed, 0 while the command register (or the ROM's enable bit) has it switched off.
  /// `index` may be kRomBar.
  uint32_t BarAddress(unsigned index) const;
  /// In bytes; 0 when there is no such register.
  uint32_t BarBytes(unsigned index) const { return bar_bytes_[index]; }

  /// What answers behind a base address register. The bus maps it where the guest says, and hands it ports or addresses
  /// that count from the register's start. An I/O register needs BarPorts; a memory register one of the others.
  virtual PortDevice* BarPorts(unsigned /*index*/) { return nullptr; }
  virtual MmioDevice* BarMemory(unsigned /*index*/) { return nullptr; }
  virtual BackedMemory* BarBacked(unsigned /*index*/) { return nullptr; }

  /// Gives the function an expansion ROM of up to kMostRomBytes, before it is placed on the bus. Empty: none.
  void SetRom(std::vector<uint8_t> bytes);
  /// nullptr where there is none.
  OptionRom* Rom() { return rom_ ? &*rom_ : nullptr; }

  /// Asserts or withdraws the function's INTx# pin (kInterruptPin says which). Level-triggered and shared; the guest
  /// may have it disabled in the command register.
  void SetInterrupt(bool asserted);
  /// The function may access memory on its own.
  bool IsMaster() const { return (ReadConfig(pci::kCommand, 2) & pci::kCommandMaster) != 0; }

 protected:
  /// Sets a register's present and reset value.
  void SetRegister(uint8_t offset, unsigned size, uint32_t value);
  /// Sets a register's present value alone.
  void ForceRegister(uint8_t offset, unsigned size, uint32_t value);
  /// Lets the guest write the bits in `mask`.
  void AllowWrites(uint8_t offset, unsigned size, uint32_t mask);
  /// The bits in `mask` are cleared by writing ones to them.
  void ClearOnWrite(uint8_t offset, unsigned size, uint32_t mask);
  /// Declares a base address register for `size` bytes, a power of two (at least 4 for I/O, 16 for memory).
  void AddBar(unsigned index, BarKind kind, uint32_t size);
  /// The guest is about to read these bytes: what is made by looking at it can be stored by ForceRegister().
  virtual void ConfigReadNext(uint8_t /*offset*/, unsigned /*size*/) {}
  /// The guest wrote these bytes; registers already have their new values.
  virtual void ConfigWritten(uint8_t offset, unsigned size);

 private:
  friend class PciBus;
  using Space = std::array<uint8_t, 256>;
  /// What the pin does, the command register considered.
  bool InterruptDriven() const;

  PciBus* bus_ = nullptr;  // once it was placed there
  std::array<uint32_t, kBarCount + 1> bar_bytes_{};
  bool interrupt_ = false;
  std::optional<OptionRom> rom_;
  Space config_{};
  Space reset_values_{};
  Space writable_{};
  Space clear_on_write_{};
};

}  // namespace ring3
