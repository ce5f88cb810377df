// EBP as a register for data: RBP goes without the window's base until something needs it there.
#include "translator/emitter.h"
#include "translator/host_registers.h"

namespace ring3 {

void Emitter::EmitFrameWritten() {
  plain_frame_ = true;
  if (!fast_paths_.Has(FastPath::kPlainFrame)) SettleFrame();
}

void Emitter::SettleFrame() {
  if (!plain_frame_) return;
  EmitRebias(kEbp);
  plain_frame_ = false;
}

void Emitter::Settle(const RecoveryEntry& here) {
  SettleStack(here);
  SettleFrame();
}

bool Emitter::KnowsPlainFrame(const GuestInstruction& insn) const {
  switch (insn.row.cls) {
    case InstructionClass::kIdentical:
      // A comparison is fused with the branch behind it by the processor: nothing may come between.
      return insn.info.mnemonic != ZYDIS_MNEMONIC_CMP && insn.info.mnemonic != ZYDIS_MNEMONIC_TEST;
    case InstructionClass::kStack:
      return insn.info.mnemonic != ZYDIS_MNEMONIC_LEAVE && !insn.StacksSegment();
    default:
      return false;
  }
}

}  // namespace ring3
