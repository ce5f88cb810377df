// Inline soft accesses: the page is looked up in the SoftTlb, and the instruction works on the flat view of guest RAM.
#include <cstring>

#include "translator/emitter.h"
#include "translator/host_registers.h"
#include "translator/soft_site.h"
#include "translator/vcpu.h"

namespace ring3 {

using namespace asmjit;

namespace {

constexpr uint8_t kLinear = 9, kToHost = 10;  // r9, r10

}  // namespace

/// For instructions as they stand; the block goes on behind them.
bool Emitter::EmitInlineSoftAccess(const GuestInstruction& insn, uint16_t soft_site) {
  if (!fast_paths_.Has(FastPath::kInlineSoftAccesses) || self_checking_ || shadow_) return false;
  if (!AllowsInlineAccess(insn) || UnitTraps(insn.row.unit)) return false;
  const ZydisDecodedOperand& memory = *insn.MemoryOperand();
  EmitSoftLookup(insn, memory, soft_site);
  soft_operand_ = EncodeOperand(kToHost, kLinear, 1, 0);
  emitted_class_ = insn.row.cls;
  EmitIdentical(insn);
  soft_operand_.reset();
  return true;
}

/// r9 := guest-linear, r10 := what to add. A block's first access pays for all. The only jump that leaves the flags
/// alone wants RCX, which is in r8 meanwhile.
void Emitter::EmitSoftLookup(const GuestInstruction& insn, const ZydisDecodedOperand& memory, uint16_t soft_site) {
  const bool user = mode_.User(), write = (memory.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
  const int32_t last = static_cast<int32_t>(memory.size / 8) - 1;
  EmitOffset(AddressOf(memory), false);
  as_.mov(x86::r8, x86::rcx);
  MarkBusy(insn.eip);
  const bool first = soft_misses_.empty();
  uint32_t spent = 0;
  if (first) {
    const int32_t budget = static_cast<int32_t>(sizeof(SoftBudget)) * soft_site;
    as_.mov(x86::r10, x86::qword_ptr(x86::r12, vcpu_offset::kSoftBudgets));
    as_.mov(x86::ecx, x86::dword_ptr(x86::r10, budget));
    as_.lea(x86::ecx, x86::ptr(x86::rcx, -1));
    as_.mov(x86::dword_ptr(x86::r10, budget), x86::ecx);
    spent = EmitShortForward(kJumpIfEcxZero);
  }
  as_.rorx(x86::rcx, x86::r9, kPageShift);
  as_.movzx(x86::r10d, x86::cl);
  static_assert(SoftTlb::kEntries == 256, "the index is a byte");
  as_.mov(x86::rcx, x86::qword_ptr(x86::r12, x86::r10, 3, vcpu_offset::SoftPages(user, write)));
  as_.lea(x86::rcx, x86::ptr(x86::rcx, x86::r9, 0, last));
  as_.rorx(x86::rcx, x86::rcx, kPageShift);
  const uint32_t hit = EmitShortForward(kJumpIfEcxZero);
  if (first) BindShortForward(spent);
  as_.mov(x86::rcx, x86::r8);
  Mark(insn.eip);
  const uint8_t jump[] = {kJump}, displacement[4] = {};
  EmitBytes(jump);
  soft_misses_.push_back({insn.eip, Offset(), {Callout::kSoftAccess, insn.length, soft_site}});
  EmitBytes(displacement);
  BindShortForward(hit);
  MarkBusy(insn.eip);
  as_.mov(x86::rcx, x86::r8);
  Mark(insn.eip);
  as_.mov(x86::r10, x86::qword_ptr(x86::r12, x86::r10, 3, vcpu_offset::SoftToHost(user)));
}

/// The address is in r9d.
void Emitter::EmitSoftMisses() {
  for (const PendingSoftMiss& miss : soft_misses_) {
    Mark(miss.eip);
    const int32_t distance = static_cast<int32_t>(Offset() - (miss.jump_offset + 4));
    std::memcpy(Buffer() + miss.jump_offset, &distance, sizeof distance);
    as_.mov(x86::r10d, x86::r9d);
    as_.mov(x86::r9d, miss.callout.Pack());
    EmitLeave(miss.eip, stubs_.CalloutTo(miss.callout.callout));
  }
}

}  // namespace ring3
