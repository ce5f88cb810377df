// A block of registers that the guest reaches through an I/O BAR, a memory BAR, or both.
#pragma once

#include <cstdint>

#include "devices/port_bus.h"
#include "shadowmmu/physical_memory.h"

namespace ring3 {

/// Offsets are relative to the block; sizes are 1, 2 or 4. A register that is wider than the access may be given whole.
class RegisterBlock {
 public:
  virtual ~RegisterBlock() = default;
  virtual uint32_t ReadRegister(uint32_t offset, unsigned size) = 0;
  uint32_t ReadCut(uint32_t offset, unsigned size) {
    return static_cast<uint32_t>(ReadRegister(offset, size) & ((uint64_t{1} << 8 * size) - 1));
  }
  virtual void WriteRegister(uint32_t offset, unsigned size, uint32_t value) = 0;
};

class RegisterPorts final : public PortDevice {
 public:
  explicit RegisterPorts(RegisterBlock& block) : block_(block) {}
  uint32_t ReadPort(uint16_t port, unsigned size) override { return block_.ReadCut(port, size); }
  void WritePort(uint16_t port, unsigned size, uint32_t value) override { block_.WriteRegister(port, size, value); }

 private:
  RegisterBlock& block_;
};

/// Eight bytes at once are two accesses, as on the 32-bit bus.
class RegisterMemory final : public MmioDevice {
 public:
  explicit RegisterMemory(RegisterBlock& block) : block_(block) {}
  uint64_t ReadMmio(GuestPhysical address, unsigned size) override {
    const auto offset = static_cast<uint32_t>(address.value);
    if (size != 8) return block_.ReadCut(offset, size);
    const uint64_t low = block_.ReadRegister(offset, 4);
    return low | uint64_t{block_.ReadRegister(offset + 4, 4)} << 32;
  }
  void WriteMmio(GuestPhysical address, unsigned size, uint64_t value) override {
    const auto offset = static_cast<uint32_t>(address.value);
    block_.WriteRegister(offset, size == 8 ? 4 : size, static_cast<uint32_t>(value));
    if (size == 8) block_.WriteRegister(offset + 4, 4, static_cast<uint32_t>(value >> 32));
  }

 private:
  RegisterBlock& block_;
};

}  // namespace ring3
