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

bool Emitter::AllowsInlineSoftAccess(const GuestInstruction& insn) const {
  return fast_paths_.Has(FastPath::kInlineSoftAccesses) && !self_checking_ && !shadow_ && !UnitTraps(insn.row.unit) &&
         AllowsInlineAccess(insn);
}

std::optional<SoftMove> Emitter::SoftMoveFor(const GuestInstruction& insn) const {
  if (!fast_paths_.Has(FastPath::kSoftAccesses) || !fast_paths_.Has(FastPath::kStepCallouts)) return std::nullopt;
  if (mode_.Paragraphs() || mode_.Code16() || !mode_.Stack32()) return std::nullopt;
  for (unsigned i = 0; i < insn.info.operand_count; ++i) {
    const ZydisDecodedOperand& op = insn.operands[i];
    if (op.type != ZYDIS_OPERAND_TYPE_MEMORY) continue;
    const SegmentShape shape = mode_.Shape(SegmentOf(op));
    const bool based = shape == SegmentShape::kBased && insn.row.cls != InstructionClass::kString;
    if (shape != SegmentShape::kFlat && !based) return std::nullopt;
  }
  return SoftMoveOf(insn, AllowsInlineSoftAccess(insn));
}

/// Not inline, it ends the block.
void Emitter::EmitSoftAccess(const GuestInstruction& insn, uint16_t soft_site) {
  if (AllowsInlineSoftAccess(insn)) return EmitInlineSoftAccess(insn, soft_site);
  if (insn.row.cls != InstructionClass::kString) {
    const ZydisDecodedOperand& memory = *insn.MemoryOperand();
    EmitLinear(SegmentOf(memory), AddressOf(memory));
    as_.mov(x86::r10d, x86::r9d);
  }
  EmitCallout(insn, Callout::kSoftAccess, SoftAccessOperand{soft_site, false}.Pack());
}

/// The instruction's usual expansion, with EmitSoftOperand for its operands in memory. Where it does not end the block,
/// this goes on behind it.
void Emitter::EmitInlineSoftAccess(const GuestInstruction& insn, uint16_t soft_site) {
  soft_ = SoftEmission{.insn = &insn, .site = soft_site};
  emitted_class_ = insn.row.cls;
  const bool emitted = TryEmit(insn);
  soft_.reset();
  if (emitted) return;
  emitted_class_ = InstructionClass::kInterpret;
  EmitStep(insn.eip, {.demoted = true});
}

/// r9d := guest-linear
void Emitter::EmitLinear(Seg segment, const GuestAddress& address) {
  EmitOffset(address, false);
  if (mode_.Shape(segment) == SegmentShape::kFlat) return;
  as_.mov(x86::r10d, x86::dword_ptr(x86::r12, vcpu_offset::SegmentBase(segment)));
  as_.lea(x86::r9d, x86::ptr(x86::r9, x86::r10));
}

/// Where the flat view has what is at the address. The only jump that leaves the flags alone wants RCX, which is in r8
/// meanwhile; what was read by then, or where to branch, waits in memory.
HostOperand Emitter::EmitSoftOperand(Seg segment, const GuestAddress& address, unsigned bytes, bool write) {
  const GuestInstruction& insn = *soft_->insn;
  const bool second = soft_->accesses++ != 0;
  const bool keeps_scratch = second || (insn.row.cls == InstructionClass::kCall && !insn.IsDirectBranch());
  const x86::Mem kept = x86::qword_ptr(x86::r12, vcpu_offset::kSoftScratch);
  if (keeps_scratch) as_.mov(kept, x86::r8);
  EmitLinear(segment, address);
  as_.mov(x86::r8, x86::rcx);
  MarkBusy(insn.eip);
  EmitSoftLookup(bytes, write, SoftAccessOperand{soft_->site, second});
  as_.mov(x86::rcx, x86::r8);
  Mark(insn.eip);
  as_.mov(x86::r10, x86::qword_ptr(x86::r12, x86::r10, 3, vcpu_offset::SoftToHost(mode_.User())));
  if (keeps_scratch) as_.mov(x86::r8, kept);
  return EncodeOperand(kToHost, kLinear, 1, 0);
}

/// r10 := the SoftTlb's entry for r9d, or off to the callout. A block's first access pays for all.
void Emitter::EmitSoftLookup(unsigned bytes, bool write, SoftAccessOperand access) {
  const uint32_t eip = soft_->insn->eip;
  const bool first = soft_misses_.empty();
  uint32_t spent = 0;
  if (first) {
    const int32_t budget = static_cast<int32_t>(sizeof(SoftBudget)) * access.site;
    as_.mov(x86::r10, x86::qword_ptr(x86::r12, vcpu_offset::kSoftBudgets));
    as_.mov(x86::ecx, x86::dword_ptr(x86::r10, budget));
    as_.lea(x86::ecx, x86::ptr(x86::rcx, -1));
    as_.mov(x86::dword_ptr(x86::r10, budget), x86::ecx);
    spent = EmitShortForward(kJumpIfEcxZero);
  }
  as_.rorx(x86::rcx, x86::r9, kPageShift);
  as_.movzx(x86::r10d, x86::cl);
  static_assert(SoftTlb::kEntries == 256, "the index is a byte");
  as_.mov(x86::rcx, x86::qword_ptr(x86::r12, x86::r10, 3, vcpu_offset::SoftPages(mode_.User(), write)));
  as_.lea(x86::rcx, x86::ptr(x86::rcx, x86::r9, 0, static_cast<int32_t>(bytes) - 1));
  as_.rorx(x86::rcx, x86::rcx, kPageShift);
  const uint32_t hit = EmitShortForward(kJumpIfEcxZero);
  if (first) BindShortForward(spent);
  as_.mov(x86::rcx, x86::r8);
  Mark(eip);
  const uint8_t jump[] = {kJump}, displacement[4] = {};
  EmitBytes(jump);
  soft_misses_.push_back({eip, Offset(), {Callout::kSoftAccess, soft_->insn->length, access.Pack()}});
  EmitBytes(displacement);
  BindShortForward(hit);
  MarkBusy(eip);
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
