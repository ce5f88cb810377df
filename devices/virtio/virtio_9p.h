// virtio 9P transport (virtio 1.1, 5.9 names the device; Linux's net/9p/trans_virtio.c its configuration): each chain
// is a message and room for its answer.
#pragma once

#include <string>

#include "devices/ninep/server.h"
#include "devices/virtio/virtio_device.h"

namespace ring3 {

class Virtio9p final : public VirtioDevice {
 public:
  /// The guest mounts the folder, which outlives this, by `tag`.
  Virtio9p(PhysicalMemory& memory, const ninep::SharedFolder& folder, const std::string& tag);

 protected:
  void QueueNotified(unsigned index) override;
  void DeviceReset() override { server_.Reset(); }

 private:
  ninep::Server server_;
};

}  // namespace ring3
