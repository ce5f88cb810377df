// A chip with an 8-bit data bus: the ISA bus turns a wider access into bytes at consecutive ports, lowest first.
#pragma once

#include "devices/port_bus.h"

namespace ring3 {

class BytePortDevice : public PortDevice {
 public:
  uint32_t ReadPort(uint16_t port, unsigned size) final {
    uint32_t value = 0;
    for (unsigned i = 0; i < size; ++i) value |= uint32_t{ReadByte(static_cast<uint16_t>(port + i))} << (8 * i);
    return value;
  }
  void WritePort(uint16_t port, unsigned size, uint32_t value) final {
    for (unsigned i = 0; i < size; ++i) {
      WriteByte(static_cast<uint16_t>(port + i), static_cast<uint8_t>(value >> (8 * i)));
    }
  }

 protected:
  virtual uint8_t ReadByte(uint16_t port) = 0;
  virtual void WriteByte(uint16_t port, uint8_t value) = 0;
};

}  // namespace ring3
