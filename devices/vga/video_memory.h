// The adapter's memory, and which of its pages changed since the picture was last made from them.
#pragma once

#include <cstdint>
#include <vector>

#include "shadowmmu/physical_memory.h"

namespace ring3 {

class VideoMemory {
 public:
  static constexpr uint32_t kPageBytes = kPageSize;

  /// Memory of its own, which the guest reaches through the VGA's window alone.
  explicit VideoMemory(uint32_t bytes) : own_(bytes), dirty_(bytes / kPageBytes, 1) {}
  /// Memory that the guest maps, too. Both outlive this.
  VideoMemory(PhysicalMemory& physical, BackedMemory& backed);

  uint8_t* Data() const { return backed_ ? backed_->Data() : const_cast<uint8_t*>(own_.data()); }
  uint32_t Size() const { return static_cast<uint32_t>(dirty_.size() * kPageBytes); }
  /// Null for memory of its own.
  BackedMemory* Backed() const { return backed_; }

  /// `offset` is below Size().
  void Touch(uint32_t offset) { dirty_[offset / kPageBytes] = 1; }
  void TouchAll() { dirty_.assign(dirty_.size(), 1); }

  /// Learns which pages the guest wrote to through its own mappings.
  void Collect();
  /// True when a page of [first, end) changed before the last Collect(); an end past the memory counts as its end.
  bool Dirty(uint32_t first, uint32_t end) const;
  void Clean() { dirty_.assign(dirty_.size(), 0); }

 private:
  PhysicalMemory* physical_ = nullptr;
  BackedMemory* backed_ = nullptr;
  std::vector<uint8_t> own_;
  std::vector<uint8_t> dirty_;  // per page
};

}  // namespace ring3
