// The guest's half of virtio, for tests: rings in memory, and a driver of either interface.
#pragma once

#include <catch2/catch.hpp>
#include <vector>

#include "devices/virtio/virtio_device.h"
#include "tests/net/card_test_support.h"

namespace ring3 {

inline constexpr uint64_t kModern = virtio::kVersion1;
inline constexpr uint8_t kNeedsReset = 0x40;  // status

struct TestBuffer {
  uint32_t address, bytes;
  bool writable = false;
};

/// One queue's rings, from an address on; laid out as the legacy interface wants it.
class TestQueue {
 public:
  static constexpr uint16_t kNext = 1, kWritable = 2, kIndirect = 4;

  TestQueue(PhysicalMemory& memory, uint32_t base, uint16_t size) : memory_(memory), base_(base), size_(size) {}

  uint32_t Descriptors() const { return base_; }
  uint32_t Available() const { return base_ + size_ * 16u; }
  uint32_t Used() const { return (Available() + 6 + size_ * 2u + 4095) & ~4095u; }

  void SetDescriptor(unsigned index, uint64_t address, uint32_t bytes, uint16_t flags, uint16_t next,
                     uint32_t table = 0) {
    const uint32_t at = (table ? table : base_) + index * 16;
    Store<uint64_t>(at, address), Store<uint32_t>(at + 8, bytes), Store<uint16_t>(at + 12, flags);
    Store<uint16_t>(at + 14, next);
  }
  /// Descriptors from `head` on; the chain is made available.
  void Add(uint16_t head, const std::vector<TestBuffer>& buffers) {
    SetChain(head, buffers, 0);
    MakeAvailable(head);
  }
  void AddIndirect(uint16_t head, uint32_t table, const std::vector<TestBuffer>& buffers) {
    SetChain(0, buffers, table);
    SetDescriptor(head, table, static_cast<uint32_t>(buffers.size() * 16), kIndirect, 0);
    MakeAvailable(head);
  }
  void MakeAvailable(uint16_t head) {
    Store<uint16_t>(Available() + 4 + available_ % size_ * 2u, head);
    Store<uint16_t>(Available() + 2, ++available_);
  }
  void SetAvailableIndex(uint16_t index) { Store<uint16_t>(Available() + 2, index); }
  void SetInterruptsOff() { Store<uint16_t>(Available(), 1); }
  void SetUsedEvent(uint16_t index) { Store<uint16_t>(Available() + 4 + size_ * 2u, index); }
  uint16_t AvailableEvent() { return Load<uint16_t>(Used() + 4 + size_ * 8u); }
  uint16_t UsedIndex() { return Load<uint16_t>(Used() + 2); }
  uint32_t UsedHead(unsigned i) { return Load<uint32_t>(Used() + 4 + i % size_ * 8u); }
  uint32_t UsedBytes(unsigned i) { return Load<uint32_t>(Used() + 8 + i % size_ * 8u); }

  template <class T>
  T Load(uint32_t address) {
    T value;
    memory_.Read(GuestPhysical(address), {reinterpret_cast<uint8_t*>(&value), sizeof value});
    return value;
  }
  template <class T>
  void Store(uint32_t address, T value) {
    memory_.Write(GuestPhysical(address), {reinterpret_cast<const uint8_t*>(&value), sizeof value});
  }

 private:
  void SetChain(uint16_t head, const std::vector<TestBuffer>& buffers, uint32_t table) {
    for (size_t i = 0; i < buffers.size(); ++i) {
      const bool last = i + 1 == buffers.size();
      const auto flags = static_cast<uint16_t>((buffers[i].writable ? kWritable : 0) | (last ? 0 : kNext));
      const auto index = static_cast<uint16_t>(head + i);
      SetDescriptor(index, buffers[i].address, buffers[i].bytes, flags, static_cast<uint16_t>(index + 1), table);
    }
  }

  PhysicalMemory& memory_;
  uint32_t base_;
  uint16_t size_, available_ = 0;
};

/// Negotiates and sets queues up through the modern interface.
class ModernDriver {
 public:
  explicit ModernDriver(VirtioDevice& device) : mmio_(*device.BarMemory(4)) { SwitchOn(device); }

  uint64_t Read(uint32_t offset, unsigned size) { return mmio_.ReadMmio(GuestPhysical(offset), size); }
  void Write(uint32_t offset, unsigned size, uint64_t value) { mmio_.WriteMmio(GuestPhysical(offset), size, value); }
  uint8_t Status() { return static_cast<uint8_t>(Read(0x14, 1)); }
  uint8_t InterruptStatus() { return static_cast<uint8_t>(Read(0x1000, 1)); }

  uint64_t Features() {
    Write(0x00, 4, 0);
    const uint64_t low = Read(0x04, 4);
    Write(0x00, 4, 1);
    return low | Read(0x04, 4) << 32;
  }
  /// False: the device did not accept them.
  bool Negotiate(uint64_t features) {
    Write(0x14, 1, 0), Write(0x14, 1, 1), Write(0x14, 1, 3);
    Write(0x08, 4, 0), Write(0x0C, 4, features & 0xFFFFFFFF);
    Write(0x08, 4, 1), Write(0x0C, 4, features >> 32);
    Write(0x14, 1, 0x0B);
    return Status() == 0x0B;
  }
  void SetUp(uint16_t index, const TestQueue& queue, uint16_t size) {
    Write(0x16, 2, index), Write(0x18, 2, size);
    Write(0x20, 8, queue.Descriptors()), Write(0x28, 8, queue.Available()), Write(0x30, 8, queue.Used());
    Write(0x1C, 2, 1);
  }
  void Go() { Write(0x14, 1, 0x0F); }
  void Notify(uint16_t index) { Write(0x3000 + 4u * index, 2, index); }

 private:
  MmioDevice& mmio_;
};

}  // namespace ring3
