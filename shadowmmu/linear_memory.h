// The monitor's own accesses to guest-linear memory: descriptor tables, stacks, operands of emulated instructions.
// A software TLB over the flat RAM view; misses walk the guest's tables.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "shadowmmu/paging.h"

namespace ring3 {

class LinearMemory {
 public:
  explicit LinearMemory(PhysicalMemory& physical);

  /// Adopts the paging state and forgets cached translations (MOV CR0/CR3/CR4/EFER, task switch, reset, A20).
  void SetPaging(const PagingState& paging);
  void InvalidatePage(GuestLinear address);

  /// All throw GuestFault (#PF with error code and CR2 of the first byte that faults). Page-crossing and 4 GiB-wrapping
  /// accesses are allowed: both pages are checked before a byte moves. MMIO goes to its device, each naturally sized
  /// and aligned access as one.
  template <class T>
  T Read(GuestLinear address, Access access) {
    T value;
    ReadBytes(address, {reinterpret_cast<uint8_t*>(&value), sizeof value}, access);
    return value;
  }
  template <class T>
  void Write(GuestLinear address, T value, Access access) {
    WriteBytes(address, {reinterpret_cast<const uint8_t*>(&value), sizeof value}, access);
  }
  void ReadBytes(GuestLinear address, std::span<uint8_t> out, Access access);
  void WriteBytes(GuestLinear address, std::span<const uint8_t> data, Access access);
  /// Faults as a write of `bytes` would, and sets A and D, without writing: for read-modify-write operands.
  void CheckWritable(GuestLinear address, uint32_t bytes, bool user);

  /// Host pointer to the bytes from `address` to at most the end of its page when it is RAM and, for writes, holds no
  /// translated code; nullptr otherwise (use Read/Write). Throws GuestFault as an access would.
  uint8_t* TryDirect(GuestLinear address, Access access);
  /// Physical address of one byte as this access would reach it. Throws GuestFault.
  GuestPhysical Translate(GuestLinear address, Access access);

  PhysicalMemory& Physical() { return physical_; }

 private:
  struct Entry {
    uint32_t tag = ~0u;           // page number, or ~0 when empty
    GuestPhysical page;
    bool user = false, writable = false, dirty = false, executable = false, ram = false;
  };
  static constexpr unsigned kEntries = 1024;

  Entry& Lookup(GuestLinear address, Access access);

  PhysicalMemory& physical_;
  PagingState paging_;
  std::array<Entry, kEntries> supervisor_, user_;
};

}  // namespace ring3
