// Ports, interrupt flag, control, debug and model-specific registers, and the rest of the system instructions.
#include "monitor/cpu/interrupts.h"
#include "monitor/cpu/privileged.h"
#include "monitor/interpreter/handlers.h"
#include "monitor/interpreter/operands.h"

namespace ring3 {
namespace {

uint16_t PortOf(Step& s, const Operand& op) { return static_cast<uint16_t>(ReadOperand(s, op)); }

void SetEdxEax(CpuState& state, uint64_t value) {
  state.gpr[kEax] = static_cast<uint32_t>(value);
  state.gpr[kEdx] = static_cast<uint32_t>(value >> 32);
}

unsigned RegisterNumber(const Step& s) { return s.d.insn.raw.modrm.reg; }
uint32_t& GeneralRegister(Step& s) { return s.state().gpr[s.d.insn.raw.modrm.rm]; }

}  // namespace

void ExecuteIn(Step& s) {
  const uint16_t port = PortOf(s, s.d.Op(1));
  const unsigned bytes = s.d.Op(0).size / 8u;
  CheckPortAccess(s.cpu, port, bytes);
  WriteLow(s.state(), kEax, bytes, s.cpu.ports.Read(port, bytes));
  NotePortAccess(s.cpu, port, bytes);
}

void ExecuteOut(Step& s) {
  const uint16_t port = PortOf(s, s.d.Op(0));
  const unsigned bytes = s.d.Op(1).size / 8u;
  CheckPortAccess(s.cpu, port, bytes);
  s.cpu.ports.Write(port, bytes, ReadLow(s.state(), kEax, bytes));
  NotePortAccess(s.cpu, port, bytes);
}

void ExecuteHlt(Step& s) {
  RequireRing0(s.cpu);
  s.state().halted = true;
  s.result.halted = true;
}

void ExecuteCli(Step& s) { SetInterruptFlag(s.cpu, false); }
void ExecuteSti(Step& s) { SetInterruptFlag(s.cpu, true); }

void ExecuteMovFromControl(Step& s) { GeneralRegister(s) = ReadControl(s.cpu, RegisterNumber(s)); }
void ExecuteMovToControl(Step& s) { WriteControl(s.cpu, RegisterNumber(s), GeneralRegister(s)); }
void ExecuteMovFromDebug(Step& s) { GeneralRegister(s) = ReadDebug(s.cpu, RegisterNumber(s)); }
void ExecuteMovToDebug(Step& s) { WriteDebug(s.cpu, RegisterNumber(s), GeneralRegister(s)); }

void ExecuteRdmsr(Step& s) {
  RequireRing0(s.cpu);
  SetEdxEax(s.state(), ReadMsr(s.cpu, s.state().gpr[kEcx]));
}

void ExecuteWrmsr(Step& s) {
  RequireRing0(s.cpu);
  const CpuState& state = s.state();
  WriteMsr(s.cpu, state.gpr[kEcx], uint64_t{state.gpr[kEdx]} << 32 | state.gpr[kEax]);
}

void ExecuteRdtsc(Step& s) { SetEdxEax(s.state(), ReadTimeStampCounter(s.cpu)); }

void ExecuteRdpmc(Step&) {
  // There are no counters: any index is out of range, whatever CR4.PCE and CPL say.
  ThrowGp0();
}

void ExecuteCpuid(Step& s) {
  CpuState& state = s.state();
  const CpuidResult result = s.cpu.model.Cpuid(state.gpr[kEax], state.gpr[kEcx],
                                               {.osxsave = (state.cr4 & cr4::kOsxsave) != 0, .xcr0 = state.xcr0});
  state.gpr[kEax] = result.eax;
  state.gpr[kEbx] = result.ebx;
  state.gpr[kEcx] = result.ecx;
  state.gpr[kEdx] = result.edx;
}

void ExecuteInvlpg(Step& s) {
  RequireRing0(s.cpu);
  const Operand& op = s.d.Op(0);
  const GuestLinear address(s.state().Segment(SegOf(op.mem.segment)).base + EffectiveAddress(s, op));
  s.cpu.memory.InvalidatePage(address);
  s.cpu.mmu.InvalidatePage(address);
}

void ExecuteCacheInvalidate(Step& s) { RequireRing0(s.cpu); }

void ExecuteClts(Step& s) {
  RequireRing0(s.cpu);
  ClearTaskSwitched(s.cpu);
}

void ExecuteClflush(Step& s) {
  const Operand& op = s.d.Op(0);
  const Seg seg = SegOf(op.mem.segment);
  s.cpu.memory.Translate(CheckedLinear(s.cpu, seg, EffectiveAddress(s, op), 1, AccessType::kRead), s.cpu.Read());
}

void ExecuteUndefined(Step&) { ThrowFault(Vector::kInvalidOpcode); }

}  // namespace ring3
