// virtio block device (virtio 1.1, 5.2). Requests are carried out by the disk's own thread, many at a time.
#pragma once

#include <memory>
#include <string>

#include "devices/block/disk.h"
#include "devices/virtio/virtio_device.h"

namespace ring3 {

class VirtioBlock final : public VirtioDevice {
 public:
  /// `serial` is cut to 20 characters. The disk outlives this; its answers must not come after this is gone.
  VirtioBlock(PhysicalMemory& memory, Disk& disk, const std::string& serial);

 protected:
  void QueueNotified(unsigned index) override;
  void DeviceReset() override;

 private:
  using ChainPointer = std::shared_ptr<const VirtioChain>;

  void TakeRequests();
  void Start(const ChainPointer& chain);
  void StartRead(const ChainPointer& chain, uint64_t sector);
  void StartWrite(const ChainPointer& chain, uint64_t sector);
  void AnswerIdentity(const VirtioChain& chain);
  /// `written` bytes of data stand before the status byte.
  void Complete(const VirtioChain& chain, uint8_t status, uint64_t written);
  Disk::Done WhenDone(const ChainPointer& chain, uint64_t bytes, bool is_read);

  Disk& disk_;
  const std::string serial_;
  uint64_t in_flight_bytes_ = 0;
  uint64_t generation_ = 0;  // answers to requests from before a reset are dropped
};

}  // namespace ring3
