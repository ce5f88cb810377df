// Model-specific registers and the time-stamp counter. What a model lacks is #GP(0), as on hardware.
#include <x86intrin.h>

#include "monitor/cpu/descriptor.h"
#include "monitor/cpu/memory_types.h"
#include "monitor/cpu/privileged.h"

namespace ring3 {
namespace {

enum MsrIndex : uint32_t {
  kP5MachineCheckAddress = 0x00,
  kP5MachineCheckType = 0x01,
  kTimeStampCounter = 0x10,
  kPlatformId = 0x17,
  kApicBase = 0x1B,
  kEblCrPowerOn = 0x2A,
  kBiosSignId = 0x8B,
  kSysenterCs = 0x174,
  kSysenterEsp = 0x175,
  kSysenterEip = 0x176,
  kMachineCheckCapability = 0x179,
  kMachineCheckStatus = 0x17A,
  kMiscEnable = 0x1A0,
  kDebugCtl = 0x1D9,
  kPat = 0x277,
  kEfer = 0xC000'0080,
};

constexpr unsigned kP6Family = 6;
constexpr uint64_t kApicBaseWritable = 0xF'FFFF'F800;  // base and global enable; BSP is read-only
/// IA32_MISC_ENABLE bits that software may flip: fast strings, prefetchers.
constexpr uint64_t kMiscEnableWritable = 1u << 0 | 1u << 9 | 1u << 19;

/// IA32_MCG_STATUS: RIPV, EIPV, MCIP.
constexpr uint64_t kMachineCheckStatusBits = 7;

/// The Pentium's APIC cannot be moved.
constexpr unsigned kFirstFamilyWithApicBase = 6;

bool Exists(const CpuModel& model, uint32_t index) {
  if (IsMtrr(index)) return model.Has(cpuid_edx::kMtrr);
  switch (index) {
    case kTimeStampCounter:
      return model.Has(cpuid_edx::kTsc);
    case kApicBase:
      return model.Has(cpuid_edx::kApic) && model.Family() >= kFirstFamilyWithApicBase;
    case kSysenterCs:
    case kSysenterEsp:
    case kSysenterEip:
      return model.Has(cpuid_edx::kSep);
    case kPat:
      return model.Has(cpuid_edx::kPat);
    case kP5MachineCheckAddress:
    case kP5MachineCheckType:
      return model.Has(cpuid_edx::kMce);
    case kMachineCheckCapability:
    case kMachineCheckStatus:
      return model.Has(cpuid_edx::kMca);
    case kEfer:
      return model.Nx();
    case kPlatformId:
    case kEblCrPowerOn:
    case kBiosSignId:
    case kDebugCtl:
    case kMiscEnable:
      return model.Family() >= kP6Family;
    default:
      return false;
  }
}

void RequireMsr(const Cpu& cpu, uint32_t index) {
  if (!cpu.model.Has(cpuid_edx::kMsr)) ThrowFault(Vector::kInvalidOpcode);
  RequireRing0(cpu);
  if (!Exists(cpu.model, index)) ThrowFault(Vector::kGeneralProtection, 0);
}

/// Throws unless `value` differs from `current` in `writable` bits only.
void CheckWritable(uint64_t value, uint64_t current, uint64_t writable) {
  if ((value ^ current) & ~writable) ThrowFault(Vector::kGeneralProtection, 0);
}

void WriteEfer(Cpu& cpu, uint64_t value) {
  CheckWritable(value, cpu.state.efer, efer::kNxe);
  const bool changed = value != cpu.state.efer;
  cpu.state.efer = value;
  if (changed) cpu.PagingChanged();
}

uint64_t HostTimeStamp(const Cpu& cpu) { return cpu.host_counter ? cpu.host_counter->ReadCounter() : __rdtsc(); }
uint64_t TimeStamp(const Cpu& cpu) { return HostTimeStamp(cpu) + cpu.state.tsc_offset; }

}  // namespace

uint64_t ReadMsr(const Cpu& cpu, uint32_t index) {
  RequireMsr(cpu, index);
  const CpuState& state = cpu.state;
  if (IsMtrr(index)) return ReadMtrr(state, index);
  switch (index) {
    case kTimeStampCounter:
      return TimeStamp(cpu);
    case kApicBase:
      return state.apic_base;
    case kBiosSignId:
      return uint64_t{cpu.model.microcode} << 32;
    case kSysenterCs:
      return state.sysenter_cs;
    case kSysenterEsp:
      return state.sysenter_esp;
    case kSysenterEip:
      return state.sysenter_eip;
    case kMiscEnable:
      return state.misc_enable;
    case kPat:
      return state.pat;
    case kEfer:
      return state.efer;
    case kDebugCtl:
      return state.debug_control;
    case kMachineCheckStatus:
      return state.machine_check_status;
    default:
      return 0;  // platform ID 0, default bus configuration, no machine check ever, no banks of errors
  }
}

void WriteMsr(Cpu& cpu, uint32_t index, uint64_t value) {
  RequireMsr(cpu, index);
  CpuState& state = cpu.state;
  if (IsMtrr(index)) return WriteMtrr(state, index, value);
  switch (index) {
    case kTimeStampCounter:
      state.tsc_offset = value - HostTimeStamp(cpu);
      return;
    case kApicBase:
      CheckWritable(value, state.apic_base, kApicBaseWritable);
      state.apic_base = value;
      return;
    case kBiosSignId:
      return;  // software writes 0 before CPUID reports the revision; the revision is fixed
    case kSysenterCs:
      state.sysenter_cs = static_cast<uint32_t>(value);
      return;
    case kSysenterEsp:
      state.sysenter_esp = static_cast<uint32_t>(value);
      return;
    case kSysenterEip:
      state.sysenter_eip = static_cast<uint32_t>(value);
      return;
    case kMiscEnable:
      CheckWritable(value, state.misc_enable, kMiscEnableWritable);
      state.misc_enable = value;
      return;
    case kPat:
      CheckPat(value);
      state.pat = value;
      return;
    case kEfer:
      return WriteEfer(cpu, value);
    case kDebugCtl:
      CheckWritable(value, state.debug_control, debugctl::kBtf);
      state.debug_control = value;
      return;
    case kMachineCheckStatus:
      CheckWritable(value, state.machine_check_status, kMachineCheckStatusBits);
      state.machine_check_status = value;
      return;
    case kEblCrPowerOn:
      CheckWritable(value, 0, 0);
      return;
    default:
      ThrowFault(Vector::kGeneralProtection, 0);  // read-only
  }
}

uint64_t ReadTimeStampCounter(const Cpu& cpu) {
  if (!cpu.model.Has(cpuid_edx::kTsc)) ThrowFault(Vector::kInvalidOpcode);
  if (cpu.state.cr4 & cr4::kTsd) RequireRing0(cpu);
  return TimeStamp(cpu);
}

}  // namespace ring3
