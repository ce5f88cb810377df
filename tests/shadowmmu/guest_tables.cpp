#include "tests/shadowmmu/guest_tables.h"

#include <cstring>

namespace ring3 {

GuestTables::GuestTables(PhysicalMemory& memory, uint32_t first_table, bool pae)
    : memory_(memory), next_(first_table), pae_(pae) {}

uint32_t GuestTables::NewPage() {
  const uint32_t page = next_;
  next_ += kPageSize;
  std::memset(memory_.Flat(GuestPhysical(page)), 0, kPageSize);
  return page;
}

uint32_t GuestTables::NewSpace() {
  const uint32_t cr3 = NewPage();
  for (unsigned i = 0; pae_ && i < 4; ++i) Store(cr3 + i * 8, NewPage() | kP);
  return cr3;
}

PagingState GuestTables::State(uint32_t cr3) const {
  PagingState state;
  state.cr0 = cr0::kPe | cr0::kPg | cr0::kWp;
  state.cr3 = cr3;
  state.cr4 = cr4::kPse | cr4::kPge | (pae_ ? cr4::kPae : 0);
  state.efer = pae_ ? efer::kNxe : 0;
  for (unsigned i = 0; pae_ && i < 4; ++i) state.pdpte[i] = Load(cr3 + i * 8);
  return state;
}

uint64_t GuestTables::Load(uint64_t address) const {
  uint64_t value = 0;
  std::memcpy(&value, memory_.Flat(GuestPhysical(address)), pae_ ? 8 : 4);
  return value;
}

void GuestTables::Store(uint64_t address, uint64_t value) {
  std::memcpy(memory_.Flat(GuestPhysical(address)), &value, pae_ ? 8 : 4);
}

uint64_t GuestTables::PdeAddress(uint32_t cr3, uint32_t linear) const {
  if (!pae_) return cr3 + (linear >> 22) * 4;
  return (Load(cr3 + (linear >> 30) * 8) & ~uint64_t{0xFFF}) + (linear >> 21 & 511) * 8;
}

uint64_t GuestTables::PteAddress(uint32_t cr3, uint32_t linear) const {
  const uint64_t table = Pde(cr3, linear) & 0xFFFFF000;
  return pae_ ? table + (linear >> 12 & 511) * 8 : table + (linear >> 12 & 1023) * 4;
}

void GuestTables::SetPde(uint32_t cr3, uint32_t linear, uint64_t value) { Store(PdeAddress(cr3, linear), value); }
uint64_t GuestTables::Pde(uint32_t cr3, uint32_t linear) const { return Load(PdeAddress(cr3, linear)); }

void GuestTables::SetPte(uint32_t cr3, uint32_t linear, uint64_t value) {
  if (!(Pde(cr3, linear) & kP)) SetPde(cr3, linear, NewPage() | kP | kRw | kUs | kA);
  Store(PteAddress(cr3, linear), value);
}

uint64_t GuestTables::Pte(uint32_t cr3, uint32_t linear) const { return Load(PteAddress(cr3, linear)); }

}  // namespace ring3
