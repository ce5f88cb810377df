// An expansion ROM behind a PCI function's ROM register.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "shadowmmu/physical_memory.h"

namespace ring3 {

/// Reads as ones behind its end; writes do nothing.
class OptionRom final : public MmioDevice {
 public:
  explicit OptionRom(std::vector<uint8_t> bytes) : bytes_(std::move(bytes)) {}
  uint64_t ReadMmio(GuestPhysical address, unsigned size) override {
    uint64_t value = 0;
    for (unsigned i = 0; i < size; ++i) {
      const uint64_t at = address.value + i;
      value |= uint64_t{at < bytes_.size() ? bytes_[at] : uint8_t{0xFF}} << (8 * i);
    }
    return value;
  }
  void WriteMmio(GuestPhysical, unsigned, uint64_t) override {}

 private:
  std::vector<uint8_t> bytes_;
};

}  // namespace ring3
