// Where guest memory operands are: flat segments by addressing forms alone, the others by an offset in r9 that is added
// to the segment's base once it has passed the limit.
#include "translator/emitter.h"
#include "translator/host_registers.h"
#include "translator/vcpu.h"

namespace ring3 {

using namespace asmjit;

namespace {

constexpr uint8_t kOffset = 9, kBase = 10;  // r9, r10

bool IsGather(const ZydisDecodedOperand& memory) { return memory.mem.type == ZYDIS_MEMOP_TYPE_VSIB; }

bool Unlimited(SegmentShape shape) { return shape == SegmentShape::kFlat || shape == SegmentShape::kBased; }

}  // namespace

bool Emitter::Accessible(Seg segment, bool write) const {
  switch (mode_.Shape(segment)) {
    case SegmentShape::kOther:
      return false;
    case SegmentShape::kReadable:
      return !write;
    default:
      return true;
  }
}

bool Emitter::Addressable(const GuestInstruction& insn, const ZydisDecodedOperand& memory) const {
  if (memory.mem.type == ZYDIS_MEMOP_TYPE_AGEN) return true;
  const Seg segment = SegmentOf(memory);
  if (IsGather(memory)) return !insn.Is16BitAddress() && Unlimited(mode_.Shape(segment));
  const bool flat = mode_.Shape(segment) == SegmentShape::kFlat && !insn.Is16BitAddress();
  return Accessible(segment, memory.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) &&
         (flat || !insn.ReachesBeyondOperand());
}

HostOperand Emitter::EmitAddress(const GuestInstruction& insn, const ZydisDecodedOperand& memory,
                                 int32_t extra_displacement, bool avoid_rex) {
  GuestAddress address = AddressOf(memory);
  address.displacement += extra_displacement + (address.base == kEsp ? pending_ : 0);
  if (memory.mem.type == ZYDIS_MEMOP_TYPE_AGEN) return EncodeSum(address);
  const Seg segment = SegmentOf(memory);
  if (soft_) {
    return EmitSoftOperand(segment, address, memory.size / 8, memory.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE);
  }
  if (IsGather(memory)) return EmitGatherAddress(segment, address, memory);
  if (mode_.Shape(segment) == SegmentShape::kFlat && !insn.Is16BitAddress()) {
    return avoid_rex ? EncodeFlatThroughSegment(address) : EncodeFlat(address, plain_frame_);
  }
  const bool two_registers = address.base != kNoRegister && address.index != kNoRegister;
  if (mode_.Shape(segment) == SegmentShape::kBased && !insn.Is16BitAddress() && !two_registers) {
    return EmitBased(segment, address);
  }
  EmitOffset(address, insn.Is16BitAddress());
  return EmitSegmented(segment, memory.size / 8);
}

/// The usual access to thread-local and per-processor data: the base and a constant, or a register.
HostOperand Emitter::EmitBased(Seg segment, const GuestAddress& address) {
  as_.mov(x86::r9d, x86::dword_ptr(x86::r12, vcpu_offset::SegmentBase(segment)));
  if (address.base == kNoRegister && address.index == kNoRegister && StaysNear(address.displacement)) {
    return EncodeOperand(host::kWindow, kOffset, 1, address.displacement);
  }
  const uint8_t only = address.base != kNoRegister ? address.base : address.index;
  const uint8_t lea[] = {0x8D};
  const uint8_t index = only == kNoRegister ? kNoRegister : host::NumberOf(only);
  EmitMemoryOp(lea, kOffset, EncodeOperand(kOffset, index, address.scale, address.displacement));
  return EncodeOperand(host::kWindow, kOffset, 1, 0);
}

/// Each element has an address of its own; all are cut to 32 bits.
HostOperand Emitter::EmitGatherAddress(Seg segment, const GuestAddress& address, const ZydisDecodedOperand& memory) {
  if (mode_.Shape(segment) == SegmentShape::kFlat) {
    const uint8_t base = address.base == kNoRegister ? kNoRegister : host::NumberOf(address.base);
    return EncodeVectorIndex(base, memory, address.displacement);
  }
  EmitOffset(WithoutIndex(address), false);
  EmitSegmented(segment, 0);
  return EncodeVectorIndex(kOffset, memory, 0);
}

void Emitter::EmitOffset(const GuestAddress& address, bool address16) {
  if (address.base == kNoRegister && address.index == kNoRegister) {
    const uint32_t offset = static_cast<uint32_t>(address.displacement);
    as_.mov(x86::r9d, address16 ? offset & 0xFFFF : offset);
    return;
  }
  const uint8_t lea[] = {0x8D};
  EmitMemoryOp(lea, kOffset, EncodeSum(address));
  if (address16) as_.movzx(x86::r9d, x86::r9w);
}

HostOperand Emitter::EmitSegmented(Seg segment, unsigned bytes) {
  switch (mode_.Shape(segment)) {
    case SegmentShape::kFlat:
      return EncodeOperand(host::kWindow, kOffset, 1, 0);
    case SegmentShape::kBased:
      as_.mov(x86::r10d, x86::dword_ptr(x86::r12, vcpu_offset::SegmentBase(segment)));
      as_.lea(x86::r9d, x86::ptr(x86::r9, x86::r10));
      return EncodeOperand(host::kWindow, kOffset, 1, 0);
    default:
      break;
  }
  const auto field = [&](size_t offset) { return vcpu_offset::Access(segment, offset); };
  as_.mov(x86::r10, x86::qword_ptr(x86::r12, field(offsetof(SegmentAccess, negated_size))));
  as_.lea(x86::r10, x86::ptr(x86::r10, x86::r9, 0, static_cast<int32_t>(bytes) - 1));
  as_.rorx(x86::r10, x86::r10, 32);
  as_.movsxd(x86::r10, x86::r10d);
  as_.mov(x86::r10, x86::qword_ptr(x86::r12, x86::r10, 3, field(offsetof(SegmentAccess, outside))));
  return EncodeOperand(kBase, kOffset, 1, 0);
}

HostOperand Emitter::EmitStackSlot(int32_t delta, unsigned bytes) {
  delta += pending_;
  if (soft_) return EmitSoftOperand(Seg::kSs, {.base = kEsp, .displacement = delta}, bytes, delta < 0);
  if (FlatStack()) return EncodeOperand(host::kStack, kNoRegister, 1, delta);
  EmitOffset({.base = kEsp, .displacement = delta}, !mode_.Stack32());
  return EmitSegmented(Seg::kSs, bytes);
}

void Emitter::EmitTargetCheck(unsigned operand_width) {
  if (mode_.Code().limit >= (operand_width == 16 ? 0xFFFFu : 0xFFFF'FFFFu)) return;
  const auto field = [](size_t offset) { return vcpu_offset::BranchCheck(offset); };
  as_.mov(x86::r10, x86::qword_ptr(x86::r12, field(offsetof(SegmentAccess, negated_size))));
  as_.lea(x86::r10, x86::ptr(x86::r10, x86::r8));
  as_.rorx(x86::r10, x86::r10, 32);
  as_.movsxd(x86::r10, x86::r10d);
  as_.mov(x86::r10, x86::qword_ptr(x86::r12, x86::r10, 3, field(offsetof(SegmentAccess, outside))));
  as_.mov(x86::r10d, x86::dword_ptr(x86::r10));
}

}  // namespace ring3
