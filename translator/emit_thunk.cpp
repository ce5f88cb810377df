// Calls of PC thunks (translator/thunks.h).
#include <cstring>

#include "translator/emitter.h"
#include "translator/host_registers.h"
#include "translator/thunks.h"
#include "translator/vcpu.h"

namespace ring3 {

using namespace asmjit;

bool Emitter::AllowsThunkCall(const GuestInstruction& insn) const {
  const bool direct = insn.row.cls == InstructionClass::kCall && insn.info.operand_width == 32 && insn.IsNearBranch() &&
                      insn.IsDirectBranch();
  return flow_.inlines_thunks && direct && !mode_.Code16() && mode_.Stack32() && FlatStack() &&
         mode_.Code().limit == UINT32_MAX && !self_checking_ && !shadow_;
}

/// The only jump that leaves the flags alone wants RCX, which is in r8 meanwhile.
void Emitter::EmitThunkCall(const GuestInstruction& insn, unsigned gpr) {
  Mark(insn.eip);
  SettleFrame();
  emitted_class_ = insn.row.cls;
  const uint32_t thunk = insn.BranchTarget();
  constexpr int32_t kSlot = -4;
  EmitStoreImmediate(EmitStackSlot(kSlot, sizeof(uint32_t)), sizeof(uint32_t), insn.NextEip());
  as_.mov(x86::r8d, thunk);
  as_.mov(x86::r9d, x86::dword_ptr(x86::r13, x86::r8, 2));
  as_.mov(x86::r8, x86::rcx);
  MarkBusy(insn.eip);
  as_.mov(x86::ecx, x86::dword_ptr(x86::r12, vcpu_offset::ThunkCell(ThunkCells::Index(gpr, thunk))));
  as_.lea(x86::ecx, x86::ptr(x86::rcx, x86::r9));
  const uint32_t known = EmitShortForward(kJumpIfEcxZero);
  as_.mov(x86::rcx, x86::r8);
  Mark(insn.eip);
  const uint8_t jump[] = {kJump}, displacement[4] = {};
  EmitBytes(jump);
  thunk_calls_.push_back({insn.eip, thunk, insn.NextEip(), Offset(), pending_ + kSlot});
  EmitBytes(displacement);
  BindShortForward(known);
  MarkBusy(insn.eip);
  as_.mov(x86::rcx, x86::r8);
  Mark(insn.eip);
  as_.mov(host::Low32(gpr), insn.NextEip());
  Mark(insn.NextEip());
  if (gpr == kEbp) EmitFrameWritten();
}

/// The return address is on the guest's stack; what is left is to call.
void Emitter::EmitThunkCalls() {
  plain_frame_ = false;
  for (const PendingThunkCall& call : thunk_calls_) {
    pending_ = 0;
    Mark(call.eip);
    const int32_t distance = static_cast<int32_t>(Offset() - (call.jump_offset + 4));
    std::memcpy(Buffer() + call.jump_offset, &distance, sizeof distance);
    as_.lea(x86::r15, x86::ptr(x86::r15, call.stack_move));
    if (Paired(32)) {
      EmitDirectCall(call.target_eip);
      EmitReturnCheck(call.next_eip);
      EmitDirectExit(call.next_eip);
    } else {
      EmitDirectExit(call.target_eip);
    }
  }
}

}  // namespace ring3
