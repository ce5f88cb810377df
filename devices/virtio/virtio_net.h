// virtio network device (virtio 1.1, 5.1): mergeable receive buffers, the control queue's receive modes and addresses,
// transmit checksums and TCP segmentation left to the device.
#pragma once

#include <vector>

#include "devices/net/network.h"
#include "devices/virtio/virtio_device.h"

namespace ring3 {

class VirtioNet final : public VirtioDevice, public NetworkReceiver {
 public:
  VirtioNet(PhysicalMemory& memory, NetworkBackend& network, const MacAddress& mac);

  bool ReceiveFrame(FrameView frame) override;

 protected:
  void QueueNotified(unsigned index) override;
  void DeviceReset() override;
  void ConfigWritten8(unsigned offset, uint8_t value) override;

 private:
  struct Filter {
    bool promiscuous = true, all_multicast = false, all_unicast = false;
    bool no_multicast = false, no_unicast = false, no_broadcast = false;
    std::vector<MacAddress> addresses;
    bool too_many_unicast = false, too_many_multicast = false;
  };

  size_t HeaderBytes() const;
  bool Accepts(FrameView frame) const;
  MacAddress Mac();
  void SetMac(const MacAddress& mac);

  void TransmitAll();
  void Transmit(const VirtioChain& chain);
  void CompleteChecksum(std::span<uint8_t> frame, size_t start, size_t offset) const;

  void ControlAll();
  bool Control(const VirtioChain& chain);
  bool ControlReceive(uint8_t command, bool on);
  bool ControlMac(uint8_t command, std::span<const uint8_t> data);

  NetworkBackend& network_;
  const MacAddress permanent_;
  Filter filter_;
  std::vector<uint8_t> frame_;  // being sent
};

}  // namespace ring3
