// A PCI function's configuration space (PCI Local Bus Specification 2.1, chapter 6).
#pragma once

#include <array>
#include <cstdint>

namespace ring3 {

namespace pci {
// Configuration registers of every function, by offset.
inline constexpr uint8_t kVendorId = 0x00;
inline constexpr uint8_t kDeviceId = 0x02;
inline constexpr uint8_t kCommand = 0x04;
inline constexpr uint8_t kStatus = 0x06;
inline constexpr uint8_t kRevision = 0x08;  // low byte of the dword whose other three are the class code
inline constexpr uint8_t kHeaderType = 0x0E;
inline constexpr uint8_t kBar0 = 0x10;
inline constexpr uint8_t kSubsystemVendorId = 0x2C;
inline constexpr uint8_t kSubsystemId = 0x2E;
inline constexpr uint8_t kInterruptLine = 0x3C;
inline constexpr uint8_t kInterruptPin = 0x3D;
// Command register.
inline constexpr uint16_t kCommandIo = 0x0001;
inline constexpr uint16_t kCommandMemory = 0x0002;
inline constexpr uint16_t kCommandMaster = 0x0004;
inline constexpr uint16_t kCommandParity = 0x0040;
inline constexpr uint16_t kCommandSerr = 0x0100;
inline constexpr uint16_t kCommandInterruptDisable = 0x0400;
}  // namespace pci

/// Holds the 256 bytes with a write mask for each; subclasses set registers up in their constructor.
class PciDevice {
 public:
  struct Identity {
    uint16_t vendor;
    uint16_t device;
    uint32_t class_code;  // 24 bits: class, subclass, programming interface
    uint8_t revision = 0;
    uint16_t subsystem_vendor = 0;
    uint16_t subsystem = 0;
  };
  enum class BarKind { kIo, kMemory, kPrefetchableMemory };
  static constexpr unsigned kBarCount = 6;

  explicit PciDevice(const Identity& identity);
  virtual ~PciDevice() = default;

  /// `offset` is aligned to `size` (1, 2 or 4).
  uint32_t ReadConfig(uint8_t offset, unsigned size) const;
  void WriteConfig(uint8_t offset, unsigned size, uint32_t value);
  /// RST#: every register takes its reset value.
  virtual void Reset() { config_ = reset_values_; }

  /// The address the guest programmed, 0 while the command register has that space switched off.
  uint32_t BarAddress(unsigned index) const;

 protected:
  /// Sets a register's present and reset value.
  void SetRegister(uint8_t offset, unsigned size, uint32_t value);
  /// Lets the guest write the bits in `mask`.
  void AllowWrites(uint8_t offset, unsigned size, uint32_t mask);
  /// The bits in `mask` are cleared by writing ones to them.
  void ClearOnWrite(uint8_t offset, unsigned size, uint32_t mask);
  /// Declares a base address register for `size` bytes, a power of two (at least 4 for I/O, 16 for memory).
  void AddBar(unsigned index, BarKind kind, uint32_t size);
  /// The guest wrote these bytes; registers already have their new values.
  virtual void ConfigWritten(uint8_t offset, unsigned size);

 private:
  using Space = std::array<uint8_t, 256>;
  Space config_{};
  Space reset_values_{};
  Space writable_{};
  Space clear_on_write_{};
};

}  // namespace ring3
