// Bus mastering as the devices here do it: to and from memory, never to other devices' registers. A guest can so make
// no device call another, or itself, in the middle of its work.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>

#include "shadowmmu/physical_memory.h"

namespace ring3 {

/// vCPU thread only. Reads of what is not memory give all ones, writes to it are dropped; both then return false.
class Dma {
 public:
  explicit Dma(PhysicalMemory& memory) : memory_(&memory) {}

  bool Read(GuestPhysical address, std::span<uint8_t> out) {
    return ForPieces(address, out.size(), [&](GuestPhysical at, size_t from, size_t bytes, bool is_memory) {
      if (is_memory) {
        std::memcpy(&out[from], memory_->Flat(at), bytes);
      } else {
        std::memset(&out[from], 0xFF, bytes);
      }
    });
  }
  bool Write(GuestPhysical address, std::span<const uint8_t> data) {
    return ForPieces(address, data.size(), [&](GuestPhysical at, size_t from, size_t bytes, bool is_memory) {
      if (is_memory) memory_->Write(at, data.subspan(from, bytes));
    });
  }
  template <class T>
  T Load(GuestPhysical address) {
    T value;
    Read(address, {reinterpret_cast<uint8_t*>(&value), sizeof value});
    return value;
  }
  template <class T>
  bool Store(GuestPhysical address, const T& value) {
    return Write(address, {reinterpret_cast<const uint8_t*>(&value), sizeof value});
  }
  /// Whether the whole range is memory.
  bool IsMemory(GuestPhysical address, uint64_t bytes) const {
    if (bytes == 0) return true;
    if (address.value + bytes < address.value) return false;
    for (GuestPhysical page = address.Page(); page.value < address.value + bytes; page = page + kPageSize) {
      if (memory_->KindOf(page) == PageKind::kMmio) return false;
    }
    return true;
  }

 private:
  template <class Piece>
  bool ForPieces(GuestPhysical address, size_t bytes, const Piece& piece) {
    bool all = true;
    for (size_t from = 0; from < bytes;) {
      const size_t here = std::min<size_t>(bytes - from, kPageSize - address.PageOffset());
      const bool is_memory = memory_->KindOf(address) != PageKind::kMmio;
      piece(address, from, here, is_memory);
      all = all && is_memory;
      from += here;
      address = address + here;
    }
    return all;
  }

  PhysicalMemory* memory_;
};

}  // namespace ring3
