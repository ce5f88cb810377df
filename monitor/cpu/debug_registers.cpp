// DR0-DR7 and their access rules (SDM 3B 17.2). What they watch is in breakpoints.h.
#include "monitor/cpu/descriptor.h"
#include "monitor/cpu/privileged.h"

namespace ring3 {
namespace {

/// The register that `number` means now, after the checks of MOV DR.
unsigned CheckedNumber(const Cpu& cpu, unsigned number) {
  const bool alias = number == 4 || number == 5;
  if (number > 7 || (alias && (cpu.state.cr4 & cr4::kDe))) ThrowFault(Vector::kInvalidOpcode);
  RequireRing0(cpu);
  if (cpu.state.dr[7] & dr7::kGd) throw GuestFault{Vector::kDebug, std::nullopt, 0, dr6::kBd};
  return alias ? number + 2 : number;
}

}  // namespace

uint32_t ReadDebug(const Cpu& cpu, unsigned number) { return cpu.state.dr[CheckedNumber(cpu, number)]; }

void WriteDebug(Cpu& cpu, unsigned number, uint32_t value) {
  const unsigned target = CheckedNumber(cpu, number);
  if (target == 6) value = (value & dr6::kWritable) | dr6::kFixedOnes;
  if (target == 7) value = (value & dr7::kWritable) | dr7::kFixedOnes;
  cpu.state.dr[target] = value;
  cpu.DebugRegistersChanged();
}

}  // namespace ring3
