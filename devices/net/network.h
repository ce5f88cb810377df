// What joins a network card and the network behind it. Frames go without preamble and checksum (FCS).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace ring3 {

using FrameView = std::span<const uint8_t>;
using MacAddress = std::array<uint8_t, 6>;

inline constexpr size_t kEthernetHeader = 14;
inline constexpr size_t kShortestFrame = 60;
/// The largest frame that a backend may be given or may offer: a whole IP packet and its Ethernet header.
inline constexpr size_t kLongestFrame = 65535 + kEthernetHeader;

/// A card's side of the wire. vCPU thread only.
class NetworkReceiver {
 public:
  virtual ~NetworkReceiver() = default;
  /// False: no room now. The backend keeps the frame and offers it again once the card calls ReceiveReady(). A frame
  /// that the card filters out or cannot take at all counts as taken.
  virtual bool ReceiveFrame(FrameView frame) = 0;
};

/// The network's side. vCPU thread only.
class NetworkBackend {
 public:
  virtual ~NetworkBackend() = default;
  /// The card, which outlives its use of this backend.
  virtual void Connect(NetworkReceiver& card) = 0;
  virtual void Send(FrameView frame) = 0;
  /// The card has made room; frames that wait are offered before this returns.
  virtual void ReceiveReady() = 0;
};

}  // namespace ring3
