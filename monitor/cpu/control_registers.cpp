// CR0-CR4 and the instructions that touch parts of them (SDM 3A 2.5).
#include <span>

#include "monitor/cpu/descriptor.h"
#include "monitor/cpu/privileged.h"

namespace ring3 {
namespace {

constexpr uint32_t kCr0Writable =
    cr0::kPe | cr0::kMp | cr0::kEm | cr0::kTs | cr0::kNe | cr0::kWp | cr0::kAm | cr0::kNw | cr0::kCd | cr0::kPg;
constexpr uint32_t kMachineStatusWord = cr0::kPe | cr0::kMp | cr0::kEm | cr0::kTs;
/// Changes of these reload the PDPTEs, and all but the cache bits change what a translation means.
constexpr uint32_t kCr0Reloads = cr0::kPg | cr0::kCd | cr0::kNw, kCr0Translation = cr0::kPg | cr0::kWp;
constexpr uint32_t kCr4Translation = cr4::kPse | cr4::kPae | cr4::kPge;
constexpr unsigned kFamilyWithPerformanceCounters = 6;

/// CR3 bits that address the page-directory-pointer table, and PDPTE bits below MAXPHYADDR that are reserved.
constexpr uint32_t kPdptAddress = ~0x1Fu;
constexpr uint64_t kPdptePresent = 1;
constexpr uint64_t kPdpteReserved = 0x1E6 | ~((uint64_t{1} << kPhysicalAddressBits) - 1);
constexpr uint64_t kA20 = 1u << 20;

bool PaePaging(uint32_t cr0, uint32_t cr4) { return (cr0 & cr0::kPg) && (cr4 & cr4::kPae); }

/// The CR4 bits that exist on this model; the others are reserved.
uint32_t Cr4Bits(const CpuModel& model) {
  uint32_t bits = 0;
  const auto allow = [&](uint32_t feature, uint32_t mask) { bits |= model.Has(feature) ? mask : 0; };
  allow(cpuid_edx::kVme, cr4::kVme | cr4::kPvi);
  allow(cpuid_edx::kTsc, cr4::kTsd);
  allow(cpuid_edx::kDe, cr4::kDe);
  allow(cpuid_edx::kPse, cr4::kPse);
  allow(cpuid_edx::kPae, cr4::kPae);
  allow(cpuid_edx::kMce, cr4::kMce);
  allow(cpuid_edx::kPge, cr4::kPge);
  allow(cpuid_edx::kFxsr, cr4::kOsfxsr);
  allow(cpuid_edx::kSse, cr4::kOsxmmexcpt);
  if (model.Xcr0Supported()) bits |= cr4::kOsxsave;
  if (model.Family() >= kFamilyWithPerformanceCounters) bits |= cr4::kPce;
  return bits;
}

void WriteCr0(Cpu& cpu, uint32_t value) {
  CpuState& state = cpu.state;
  value = (value & kCr0Writable) | cr0::kEt;
  const bool paging_unprotected = (value & cr0::kPg) && !(value & cr0::kPe);
  const bool writethrough_uncached = (value & cr0::kNw) && !(value & cr0::kCd);
  if (paging_unprotected || writethrough_uncached) ThrowFault(Vector::kGeneralProtection, 0);
  const uint32_t changed = value ^ state.cr0;
  const bool reload = PaePaging(value, state.cr4) && (changed & kCr0Reloads);
  if (reload) state.pdpte = ReadPdptes(cpu, state.cr3);
  state.cr0 = value;
  if (reload || (changed & kCr0Translation)) cpu.PagingChanged();
}

void WriteCr3(Cpu& cpu, uint32_t value) {
  CpuState& state = cpu.state;
  if (PaePaging(state.cr0, state.cr4)) state.pdpte = ReadPdptes(cpu, value);
  state.cr3 = value;
  cpu.Cr3Loaded();
}

void WriteCr4(Cpu& cpu, uint32_t value) {
  CpuState& state = cpu.state;
  if (value & ~Cr4Bits(cpu.model)) ThrowFault(Vector::kGeneralProtection, 0);
  const uint32_t changed = value ^ state.cr4;
  if (PaePaging(state.cr0, value) && (changed & kCr4Translation)) state.pdpte = ReadPdptes(cpu, state.cr3);
  state.cr4 = value;
  if (changed & cr4::kDe) cpu.DebugRegistersChanged();
  if (changed & kCr4Translation) cpu.PagingChanged();
}

bool ControlExists(unsigned number) { return number == 0 || (number >= 2 && number <= 4); }

}  // namespace

std::array<uint64_t, 4> ReadPdptes(const Cpu& cpu, uint32_t cr3) {
  std::array<uint64_t, 4> pdptes;
  const uint64_t address = (cr3 & kPdptAddress) & (cpu.a20_enabled ? ~uint64_t{0} : ~kA20);
  cpu.memory.Physical().Read(GuestPhysical(address), {reinterpret_cast<uint8_t*>(pdptes.data()), sizeof pdptes});
  for (uint64_t pdpte : pdptes) {
    if ((pdpte & kPdptePresent) && (pdpte & kPdpteReserved)) ThrowFault(Vector::kGeneralProtection, 0);
  }
  return pdptes;
}

void RequireRing0(const Cpu& cpu) {
  if (cpu.state.cpl != 0) ThrowFault(Vector::kGeneralProtection, 0);
}

uint32_t ReadControl(const Cpu& cpu, unsigned number) {
  if (!ControlExists(number)) ThrowFault(Vector::kInvalidOpcode);
  RequireRing0(cpu);
  switch (number) {
    case 0:
      return cpu.state.cr0;
    case 2:
      return cpu.state.cr2;
    case 3:
      return cpu.state.cr3;
    default:
      return cpu.state.cr4;
  }
}

void WriteControl(Cpu& cpu, unsigned number, uint32_t value) {
  if (!ControlExists(number)) ThrowFault(Vector::kInvalidOpcode);
  RequireRing0(cpu);
  switch (number) {
    case 0:
      return WriteCr0(cpu, value);
    case 2:
      cpu.state.cr2 = value;
      return;
    case 3:
      return WriteCr3(cpu, value);
    default:
      return WriteCr4(cpu, value);
  }
}

void LoadMachineStatusWord(Cpu& cpu, uint16_t value) {
  RequireRing0(cpu);
  const uint32_t sticky = cpu.state.cr0 & cr0::kPe;  // LMSW cannot leave protected mode
  WriteCr0(cpu, (cpu.state.cr0 & ~kMachineStatusWord) | (value & kMachineStatusWord) | sticky);
}

void ClearTaskSwitched(Cpu& cpu) {
  RequireRing0(cpu);
  cpu.state.cr0 &= ~cr0::kTs;
}

}  // namespace ring3
