// A wire that ends in the test, and a PCI function that is reached without a bus.
#pragma once

#include <algorithm>
#include <deque>
#include <vector>

#include "devices/net/network.h"
#include "devices/pci_device.h"

namespace ring3 {

using TestFrame = std::vector<uint8_t>;

inline constexpr MacAddress kTestMac = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};
inline constexpr MacAddress kBroadcastMac = {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF};

/// Keeps what the card sends; offers frames again when the card says that it has room.
class FakeNetwork final : public NetworkBackend {
 public:
  void Connect(NetworkReceiver& card) override { card_ = &card; }
  void Send(FrameView frame) override { sent.emplace_back(frame.begin(), frame.end()); }
  void ReceiveReady() override {
    while (!waiting.empty() && card_->ReceiveFrame(waiting.front())) waiting.pop_front();
  }
  void Arrive(TestFrame frame) {
    waiting.push_back(std::move(frame));
    if (waiting.size() == 1) ReceiveReady();
  }

  std::vector<TestFrame> sent;
  std::deque<TestFrame> waiting;

 private:
  NetworkReceiver* card_ = nullptr;
};

/// To the test's card, with bytes that count up.
inline TestFrame MakeFrame(size_t bytes, uint8_t seed = 0, const MacAddress& to = kTestMac) {
  TestFrame frame(bytes);
  std::copy(to.begin(), to.end(), frame.begin());
  for (size_t i = 6; i < bytes; ++i) frame[i] = static_cast<uint8_t>(seed + i);
  return frame;
}

inline bool Interrupting(const PciDevice& device) {
  return (device.ReadConfig(pci::kStatus, 2) & pci::kStatusInterrupt) != 0;
}

inline void SwitchOn(PciDevice& device) {
  device.WriteConfig(pci::kCommand, 2, pci::kCommandIo | pci::kCommandMemory | pci::kCommandMaster);
}

}  // namespace ring3
