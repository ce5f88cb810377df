// virtio entropy device (virtio 1.1, 5.4): random bytes from the host's kernel.
#pragma once

#include "devices/virtio/virtio_device.h"

namespace ring3 {

class VirtioRng final : public VirtioDevice {
 public:
  explicit VirtioRng(PhysicalMemory& memory);

 protected:
  void QueueNotified(unsigned index) override;
};

}  // namespace ring3
