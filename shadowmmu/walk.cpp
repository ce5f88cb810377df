#include "shadowmmu/paging.h"
#include "shadowmmu/paging_entry.h"

namespace ring3 {
namespace {

WalkResult Fault(uint32_t error_code) {
  WalkResult result;
  result.error_code = error_code;
  return result;
}

WalkResult Identity(const PhysicalMemory& memory, const PagingState& paging, GuestLinear address) {
  WalkResult result;
  result.ok = true;
  Translation& t = result.translation;
  t.page = memory.Resolve(ApplyA20(paging, address.Page().value));
  t.page_bytes = 4ull << 30;
  t.writable = t.user = t.dirty = true;
  return result;
}

/// Error code bits that depend on the access alone.
uint32_t AccessBits(const PagingState& paging, Access access) {
  uint32_t bits = access.user ? pferr::kUser : 0;
  if (access.type == AccessType::kWrite) bits |= pferr::kWrite;
  if (access.type == AccessType::kFetch && NxOn(paging)) bits |= pferr::kFetch;
  return bits;
}

bool Allowed(const PagingState& paging, const Translation& t, Access access) {
  if (access.user && !t.user) return false;
  if (access.type == AccessType::kFetch) return t.executable;
  if (access.type != AccessType::kWrite) return true;
  return t.writable || (!access.user && !WriteProtectOn(paging));
}

void AddRights(const PagingState& paging, Translation& t, uint64_t value) {
  t.writable &= (value & entry::kWritable) != 0;
  t.user &= (value & entry::kUser) != 0;
  if (NxOn(paging)) t.executable &= !(value & entry::kNoExecute);
}

void FinishLeaf(const PhysicalMemory& memory, const PagingState& paging, Translation& t, GuestLinear address,
                bool large) {
  t.page_bytes = large ? LargePageBytes(paging) : kPageSize;
  const uint64_t offset = address.value & (t.page_bytes - 1) & ~uint64_t{kPageMask};
  t.page = memory.Resolve(ApplyA20(paging, EntryAddress(paging, t.pte, large) + offset));
  t.global = t.pte & entry::kGlobal;
  t.dirty = t.pte & entry::kDirty;
}

/// Reads the tables only; `error_bits` are added to the code of a fault.
WalkResult ReadTables(PhysicalMemory& memory, const PagingState& paging, GuestLinear address, uint32_t error_bits) {
  WalkResult result;
  Translation& t = result.translation;
  t.writable = t.user = true;
  GuestPhysical base;
  uint32_t index;
  if (!DirectoryFor(paging, address, base, index)) return Fault(error_bits);
  const TableReader directory(memory, paging, base);
  const uint64_t pde = directory.Entry(index);
  if (!(pde & entry::kPresent)) return Fault(error_bits);
  const bool large = IsLarge(paging, pde);
  if (HasReservedBits(paging, pde, large)) return Fault(error_bits | pferr::kPresent | pferr::kReserved);
  AddRights(paging, t, pde);
  if (large) {
    t.pte_address = directory.Address(index);
    t.pte = pde;
  } else {
    t.pde_address = directory.Address(index);
    t.pde = pde;
    const TableReader table(memory, paging, ApplyA20(paging, EntryAddress(paging, pde, false)));
    const uint32_t table_index = TableIndex(paging, address);
    t.pte_address = table.Address(table_index);
    t.pte = table.Entry(table_index);
    if (!(t.pte & entry::kPresent)) return Fault(error_bits);
    if (HasReservedBits(paging, t.pte, false)) return Fault(error_bits | pferr::kPresent | pferr::kReserved);
    AddRights(paging, t, t.pte);
  }
  FinishLeaf(memory, paging, t, address, large);
  result.ok = true;
  return result;
}

/// Sets bits of the entry's low half in memory and in `value`.
void SetEntryBits(PhysicalMemory& memory, GuestPhysical address, uint64_t& value, uint32_t bits) {
  if ((value & bits) == bits) return;
  value |= bits;
  if (memory.KindOf(address) == PageKind::kRam && memory.IsPlain(address)) {
    __atomic_fetch_or(reinterpret_cast<uint32_t*>(memory.Flat(address)), bits, __ATOMIC_RELAXED);
    return;
  }
  const uint32_t low = static_cast<uint32_t>(value);
  memory.Write(address, {reinterpret_cast<const uint8_t*>(&low), sizeof low});
}

}  // namespace

PagingState PagingState::From(const CpuState& cpu, bool a20_enabled, bool pse36) {
  PagingState state;
  state.cr0 = cpu.cr0;
  state.cr3 = cpu.cr3;
  state.cr4 = cpu.cr4;
  state.efer = cpu.efer;
  state.pdpte = cpu.pdpte;
  state.a20_enabled = a20_enabled;
  state.pse36 = pse36;
  return state;
}

WalkResult Walk(PhysicalMemory& memory, const PagingState& paging, GuestLinear address, Access access) {
  if (!PagingOn(paging)) return Identity(memory, paging, address);
  const uint32_t error_bits = AccessBits(paging, access);
  WalkResult result = ReadTables(memory, paging, address, error_bits);
  if (!result.ok) return result;
  Translation& t = result.translation;
  if (!Allowed(paging, t, access)) return Fault(error_bits | pferr::kPresent);
  constexpr uint32_t kA = entry::kAccessed, kAD = entry::kAccessed | entry::kDirty;
  if (t.page_bytes == kPageSize) SetEntryBits(memory, t.pde_address, t.pde, kA);
  SetEntryBits(memory, t.pte_address, t.pte, access.type == AccessType::kWrite ? kAD : kA);
  t.dirty = t.pte & entry::kDirty;
  return result;
}

WalkResult Peek(PhysicalMemory& memory, const PagingState& paging, GuestLinear address) {
  return PagingOn(paging) ? ReadTables(memory, paging, address, 0) : Identity(memory, paging, address);
}

}  // namespace ring3
