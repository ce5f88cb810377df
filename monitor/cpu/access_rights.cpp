// LAR, LSL, VERR and VERW: what a program may learn about a selector without a fault.
#include <algorithm>

#include "monitor/cpu/descriptor.h"
#include "monitor/cpu/segments.h"

namespace ring3 {
namespace {

/// System descriptor types that LAR and LSL accept, one bit per type (SDM 2A, LAR and LSL type tables).
constexpr uint32_t kLslTypes = 1u << systype::kTss16 | 1u << systype::kLdt | 1u << systype::kTss16Busy |
                               1u << systype::kTss32 | 1u << systype::kTss32Busy;
constexpr uint32_t kLarTypes =
    kLslTypes | 1u << systype::kCallGate16 | 1u << systype::kTaskGate | 1u << systype::kCallGate32;
/// The part of the high dword that LAR gives: all but the base.
constexpr uint32_t kLarMask = 0x00FF'FF00;

/// The descriptor if the selector is in its table and visible at this privilege.
std::optional<Descriptor> VisibleDescriptor(const Cpu& cpu, uint16_t selector) {
  if (!UsesDescriptors(cpu.state)) ThrowFault(Vector::kInvalidOpcode);
  if (IsNull(selector)) return std::nullopt;
  const auto descriptor = FindDescriptor(cpu, selector);
  const unsigned privilege = std::max<unsigned>(cpu.state.cpl, Rpl(selector));
  if (!descriptor || (!descriptor->IsConforming() && privilege > descriptor->Dpl())) return std::nullopt;
  return descriptor;
}

bool HasType(const Descriptor& descriptor, uint32_t system_types) {
  return !descriptor.IsSystem() || (system_types >> descriptor.Type() & 1);
}

}  // namespace

std::optional<uint32_t> LoadAccessRights(Cpu& cpu, uint16_t selector) {
  const auto descriptor = VisibleDescriptor(cpu, selector);
  if (!descriptor || !HasType(*descriptor, kLarTypes)) return std::nullopt;
  return descriptor->High() & kLarMask;
}

std::optional<uint32_t> LoadSegmentLimit(Cpu& cpu, uint16_t selector) {
  const auto descriptor = VisibleDescriptor(cpu, selector);
  if (!descriptor || !HasType(*descriptor, kLslTypes)) return std::nullopt;
  return descriptor->Limit();
}

bool VerifyRead(Cpu& cpu, uint16_t selector) {
  const auto descriptor = VisibleDescriptor(cpu, selector);
  return descriptor && descriptor->IsReadable();
}

bool VerifyWrite(Cpu& cpu, uint16_t selector) {
  const auto descriptor = VisibleDescriptor(cpu, selector);
  return descriptor && descriptor->IsWritable();
}

}  // namespace ring3
