// A split virtqueue as the device sees it (virtio 1.1, 2.6), with indirect descriptors and event indices. Everything
// in it is the guest's and is checked before use: a queue that makes no sense breaks, and then gives nothing more.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "devices/dma.h"

namespace ring3 {

/// A range of guest memory.
struct VirtioBuffer {
  GuestPhysical address;
  uint32_t bytes;
};

/// One descriptor chain: what the device may read, then what it may write.
struct VirtioChain {
  uint16_t head = 0;
  std::vector<VirtioBuffer> readable, writable;
  unsigned descriptors = 0;
  uint64_t bytes = 0;

  uint64_t ReadableBytes() const;
  uint64_t WritableBytes() const;
};

class Virtqueue {
 public:
  static constexpr uint16_t kLargest = 1024;
  /// No chain is longer, indirect descriptors included.
  static constexpr unsigned kLongestChain = 1024;
  static constexpr uint64_t kMostChainBytes = 256u << 20;

  explicit Virtqueue(PhysicalMemory& memory) : dma_(memory) {}

  struct Place {
    uint16_t size = 0;  // descriptors, a power of two up to kLargest
    GuestPhysical descriptors, available, used;
  };
  /// False, and the queue stays off, when the sizes or places make no sense.
  bool Enable(const Place& place, bool event_index);
  void Disable();
  bool Enabled() const { return enabled_; }
  /// The guest's rings contradicted themselves.
  bool Broken() const { return broken_; }

  /// The next chain the guest has made available. When there is none, asks the guest to notify of the next one.
  std::optional<VirtioChain> Pop();
  /// Gives back the chain that was popped last and not pushed, as if it had not been popped.
  void Unpop() { --next_available_; }
  /// Hands the chain back with `written` bytes in its writable part. The guest sees it at the next Publish().
  void Push(uint16_t head, uint32_t written);
  /// Shows the guest what was pushed. True when it wants an interrupt for that.
  bool Publish();

  /// Copies from the chain's readable part, `offset` bytes into it. Returns how many there were.
  size_t Read(const VirtioChain& chain, uint64_t offset, std::span<uint8_t> out);
  size_t Write(const VirtioChain& chain, uint64_t offset, std::span<const uint8_t> data);

 private:
  struct Descriptor {
    uint64_t address;
    uint32_t bytes;
    uint16_t flags, next;
  };

  std::optional<VirtioChain> Break();
  bool Walk(VirtioChain& chain);
  bool Append(VirtioChain& chain, const Descriptor& descriptor);
  bool WalkIndirect(VirtioChain& chain, const Descriptor& table);
  void RequestNotification();

  Dma dma_;
  Place place_;
  bool enabled_ = false, broken_ = false, event_index_ = false;
  uint16_t next_available_ = 0;  // ring indices run free and wrap at 64 Ki
  uint16_t next_used_ = 0, published_ = 0;
};

}  // namespace ring3
