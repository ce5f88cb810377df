// A virtio device on PCI (virtio 1.1, 2 and 4.1): transitional, so that drivers of the legacy interface (I/O registers
// behind BAR 0) and of the modern one (memory behind BAR 4, found by capabilities) both work.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "devices/pci_device.h"
#include "devices/register_window.h"
#include "devices/virtio/virtqueue.h"

namespace ring3 {

namespace virtio {
// Device types.
inline constexpr uint16_t kNet = 1, kBlock = 2, kEntropy = 4, kNinep = 9;
// Features of every device.
inline constexpr uint64_t kAnyLayout = 1ull << 27, kIndirectDescriptors = 1ull << 28, kEventIndex = 1ull << 29,
                          kVersion1 = 1ull << 32;
}  // namespace virtio

class VirtioDevice : public PciDevice {
 public:
  struct Kind {
    uint16_t type;             // virtio::kNet and so on
    uint16_t transitional_id;  // of the PCI device
    uint32_t class_code;
    uint64_t features;  // beyond those of every device
    unsigned queues;
    uint16_t queue_size;    // what the device proposes
    unsigned config_bytes;  // of its own configuration
  };

  VirtioDevice(PhysicalMemory& memory, const Kind& kind);

  PortDevice* BarPorts(unsigned bar) override { return bar == kLegacyBar ? &legacy_ports_ : nullptr; }
  MmioDevice* BarMemory(unsigned bar) override { return bar == kModernBar ? &modern_memory_ : nullptr; }
  void Reset() override;

 protected:
  /// The guest notified this queue; also called for queues that were notified before DRIVER_OK.
  virtual void QueueNotified(unsigned index) = 0;
  /// Status was set to 0, or RST#. Queues are off already.
  virtual void DeviceReset() {}
  /// The guest wrote to the device's configuration; the default ignores it.
  virtual void ConfigWritten8(unsigned /*offset*/, uint8_t /*value*/) {}

  Virtqueue& Queue(unsigned index) { return queues_[index].queue; }
  bool HasFeature(uint64_t feature) const { return (driver_features_ & feature) != 0; }
  /// DRIVER_OK is set, DMA is allowed, and nothing is broken.
  bool Running() const;
  /// Shows the guest what was pushed to the queue, and interrupts if it wants that. Notices a broken queue.
  void Finish(unsigned queue);
  /// The guest broke a rule beyond the rings': DEVICE_NEEDS_RESET.
  void Fail();
  /// Of the device's own configuration; the guest sees it at once.
  std::span<uint8_t> Config() { return config_; }

 private:
  static constexpr unsigned kLegacyBar = 0, kModernBar = 4;

  struct QueueState {
    explicit QueueState(PhysicalMemory& memory) : queue(memory) {}
    Virtqueue queue;
    uint16_t size = 0;
    uint32_t legacy_page = 0;
    uint64_t descriptors = 0, available = 0, used = 0;
  };
  class Legacy final : public RegisterBlock {
   public:
    explicit Legacy(VirtioDevice& device) : device_(device) {}
    uint32_t ReadRegister(uint32_t offset, unsigned size) override { return device_.ReadLegacy(offset, size); }
    void WriteRegister(uint32_t offset, unsigned size, uint32_t value) override {
      device_.WriteLegacy(offset, size, value);
    }

   private:
    VirtioDevice& device_;
  };
  class Modern final : public RegisterBlock {
   public:
    explicit Modern(VirtioDevice& device) : device_(device) {}
    uint32_t ReadRegister(uint32_t offset, unsigned size) override { return device_.ReadModern(offset, size); }
    void WriteRegister(uint32_t offset, unsigned size, uint32_t value) override {
      device_.WriteModern(offset, size, value);
    }

   private:
    VirtioDevice& device_;
  };

  void ConfigReadNext(uint8_t offset, unsigned size) override;
  void ConfigWritten(uint8_t offset, unsigned size) override;
  bool ConfigWindow(uint32_t& offset, unsigned& size) const;
  void AddCapabilities();
  void AddCapability(uint8_t at, uint8_t next, uint8_t length, uint8_t type, uint32_t offset, uint32_t bytes);
  uint32_t ReadLegacy(uint32_t offset, unsigned size);
  void WriteLegacy(uint32_t offset, unsigned size, uint32_t value);
  uint32_t ReadModern(uint32_t offset, unsigned size);
  void WriteModern(uint32_t offset, unsigned size, uint32_t value);
  uint32_t ReadCommon(uint32_t offset);
  void WriteCommon(uint32_t offset, unsigned size, uint32_t value);
  uint32_t ReadConfigBytes(uint32_t offset, unsigned size) const;
  void WriteConfigBytes(uint32_t offset, unsigned size, uint32_t value);
  uint8_t ReadInterruptStatus();
  void WriteStatus(uint8_t value, bool legacy);
  void ResetDevice();
  void EnableModern(QueueState& queue);
  void EnableLegacy(QueueState& queue, uint32_t page);
  void Notify(unsigned index);
  void Interrupt(uint8_t reason);
  QueueState* Selected() { return queue_select_ < queues_.size() ? &queues_[queue_select_] : nullptr; }

  PhysicalMemory& memory_;
  const uint64_t offered_;
  const uint16_t queue_size_;
  Legacy legacy_{*this};
  Modern modern_{*this};
  RegisterPorts legacy_ports_{legacy_};
  RegisterMemory modern_memory_{modern_};
  std::vector<QueueState> queues_;
  std::vector<uint8_t> config_;
  uint64_t driver_features_ = 0;
  uint32_t device_feature_select_ = 0, driver_feature_select_ = 0;
  uint16_t queue_select_ = 0;
  uint8_t status_ = 0, interrupt_status_ = 0;
};

}  // namespace ring3
