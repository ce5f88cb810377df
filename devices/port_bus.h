// The I/O port space: 65,536 byte-addressed ports, each owned by at most one device.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace ring3 {

/// A device that answers ports. `port` is absolute; `size` is 1, 2 or 4 bytes.
class PortDevice {
 public:
  virtual ~PortDevice() = default;
  virtual uint32_t ReadPort(uint16_t port, unsigned size) = 0;
  virtual void WritePort(uint16_t port, unsigned size, uint32_t value) = 0;
};

/// Two devices claim one port: a mistake in the machine's description.
struct PortOverlap : std::logic_error {
  using std::logic_error::logic_error;
};

class PortBus;

/// Stands between the processor and the bus, in runs that are recorded or replayed.
class PortTap {
 public:
  virtual ~PortTap() = default;
  virtual uint32_t ReadPort(PortBus& bus, uint16_t port, unsigned size) = 0;
  virtual void WritePort(PortBus& bus, uint16_t port, unsigned size, uint32_t value) = 0;
};

class PortBus {
 public:
  PortBus();

  /// Claims [first, first+count) for `device`, which must outlive the bus. Throws PortOverlap, or std::out_of_range
  /// when the range is empty or leaves the port space, or when 255 ranges are in use.
  void Attach(uint16_t first, unsigned count, PortDevice& device, std::string name);
  /// Gives the range of `device` that begins at `first` back. Nothing happens when there is none.
  void Detach(uint16_t first, const PortDevice& device);
  /// True when no port of the range is claimed and the range is one that Attach takes.
  bool IsFree(uint16_t first, unsigned count) const;

  /// An unclaimed port reads as all ones, as an ISA bus with nothing driving it does. An access that spans two owners
  /// is split into bytes.
  uint32_t Read(uint16_t port, unsigned size) {
    return tap_ ? tap_->ReadPort(*this, port, size) : ReadDevice(port, size);
  }
  /// A write to an unclaimed port is dropped.
  void Write(uint16_t port, unsigned size, uint32_t value) {
    tap_ ? tap_->WritePort(*this, port, size, value) : WriteDevice(port, size, value);
  }
  /// The same past the tap.
  uint32_t ReadDevice(uint16_t port, unsigned size);
  void WriteDevice(uint16_t port, unsigned size, uint32_t value);
  /// All accesses of the processor go to `tap`, which outlives the bus; nullptr: to the devices.
  void SetTap(PortTap* tap) { tap_ = tap; }

 private:
  struct Range {
    uint16_t first;
    unsigned count;  // 0 in an entry that was given back
    PortDevice* device;
    std::string name;
  };
  size_t FreeEntry() const;
  /// True when bytes port .. port+size-1 all belong to the range of `port` (or to none).
  bool OneOwner(uint16_t port, unsigned size) const;

  PortTap* tap_ = nullptr;
  std::vector<Range> ranges_;   // ranges_[0] is "unclaimed"
  std::vector<uint8_t> owner_;  // per port: index into ranges_
};

}  // namespace ring3
