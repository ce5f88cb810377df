#include "translator/emitter.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "translator/branch_tables.h"
#include "translator/host_registers.h"
#include "translator/vcpu.h"

namespace ring3 {

using namespace asmjit;

Emitter::Emitter(const Stubs& stubs, Flow flow, FastPaths fast_paths)
    : stubs_(stubs), flow_(flow), fast_paths_(fast_paths) {}

void Emitter::Begin(BlockMode mode, uint32_t start_eip, uint64_t host_base, bool self_checking) {
  code_.reset();
  code_.init(Environment::host(), host_base);
  code_.attach(&as_);
  mode_ = mode;
  start_eip_ = start_eip;
  self_checking_ = self_checking;
  returns_ = {};
  host_base_ = host_base;
  ended_ = shadow_ = false;
  pending_ = 0;
  plain_frame_ = false;
  recovery_.clear();
  Mark(start_eip);  // whatever comes, every host address of the block has an entry
  exits_.clear();
  soft_misses_.clear();
  thunk_calls_.clear();
}

void Emitter::EmitInstruction(const GuestInstruction& insn) {
  const RecoveryEntry here{.shadow = shadow_, .eip = insn.eip};
  Mark(here);
  if (!KnowsPending(insn)) SettleStack(here);
  if (!KnowsPlainFrame(insn)) SettleFrame();
  shadow_ = false;
  emitted_class_ = insn.row.cls;
  if (TryEmit(insn)) return;
  emitted_class_ = InstructionClass::kInterpret;
  EmitInterpret(insn.eip);
}

bool Emitter::UnitTraps(Unit unit) const {
  switch (unit) {
    case Unit::kNone:
      return false;
    case Unit::kSse:
      return mode_.SseTraps();
    case Unit::kAvx:
      return mode_.AvxTraps();
    default:
      return mode_.X87Traps();
  }
}

bool Emitter::TryEmit(const GuestInstruction& insn) {
  if (UnitTraps(insn.row.unit)) return false;
  switch (insn.row.cls) {
    case InstructionClass::kIdentical:
      return EmitIdentical(insn);
    case InstructionClass::kJump:
      return EmitJump(insn);
    case InstructionClass::kCall:
      return EmitCall(insn);
    case InstructionClass::kReturn:
      return EmitReturn(insn);
    case InstructionClass::kStack:
      return EmitStack(insn);
    case InstructionClass::kString:
      return EmitString(insn);
    case InstructionClass::kTimeStamp:
      return EmitTimeStamp(insn);
    case InstructionClass::kFlags:
      return EmitFlags(insn);
    case InstructionClass::kCallout:
      return EmitCallout(insn);
    case InstructionClass::kSegment:
      return EmitLoadFarPointer(insn);
    default:
      return false;
  }
}

void Emitter::Mark(RecoveryEntry entry) {
  entry.host_offset = static_cast<uint16_t>(Offset());
  entry.esp_delta = static_cast<int16_t>(pending_);
  if (!recovery_.empty() && recovery_.back().host_offset == entry.host_offset) {
    recovery_.back() = entry;
  } else if (recovery_.empty() || !recovery_.back().SameState(entry)) {
    recovery_.push_back(entry);
  }
}

void Emitter::EmitBytes(std::span<const uint8_t> bytes) { as_.embed(bytes.data(), bytes.size()); }

void Emitter::EmitBranchTo(uint8_t opcode, uint64_t host_address) {
  uint8_t bytes[5] = {opcode};
  int32_t relative = static_cast<int32_t>(host_address - (host_base_ + Offset() + sizeof bytes));
  std::memcpy(bytes + 1, &relative, sizeof relative);
  EmitBytes(bytes);
}

bool Emitter::Linkable(uint32_t target_eip) const {
  // An instruction that crosses into the next page depends on that page's mapping, too.
  constexpr uint32_t kMayCross = kPageSize - ZYDIS_MAX_INSTRUCTION_LENGTH;
  const GuestLinear target = mode_.Linear(target_eip);
  return mode_.Ring0() || (target.Page() == mode_.Linear(start_eip_).Page() && target.PageOffset() <= kMayCross);
}

void Emitter::EmitLinkedJump(std::span<const uint8_t> opcode, uint32_t target_eip) {
  EmitBytes(opcode);
  exits_.push_back({.target_eip = target_eip, .jump_offset = Offset()});
  const uint8_t displacement[4] = {};
  EmitBytes(displacement);
}

void Emitter::EmitDirectExit(uint32_t target_eip) {
  Mark(target_eip);
  Settle({.eip = target_eip});
  if (Linkable(target_eip)) {
    const uint8_t jump[] = {kJump};
    EmitLinkedJump(jump, target_eip);
  } else if (target_eip < BranchTables::SlotsOf(mode_)) {
    as_.mov(x86::r8d, target_eip);
    EmitIndirectExit();
  } else {
    EmitLeave(target_eip, stubs_.IndirectMiss());
  }
}

uint32_t Emitter::EmitShortForward(std::span<const uint8_t> opcode) {
  EmitBytes(opcode);
  const uint8_t displacement[1] = {};
  EmitBytes(displacement);
  return Offset() - 1;
}

void Emitter::BindShortForward(uint32_t displacement_offset) {
  uint32_t distance = Offset() - (displacement_offset + 1);
  if (distance > INT8_MAX) throw std::logic_error("a short jump is too long");
  Buffer()[displacement_offset] = static_cast<uint8_t>(distance);
}

void Emitter::EmitIndirectExit() {
  Mark(RecoveryEntry{.eip_in_scratch = true});
  EmitLoadSlot();
  as_.jmp(x86::r9);
}

void Emitter::EmitLoadSlot() {
  as_.mov(x86::r9d, x86::dword_ptr(x86::r13, x86::r8, 2));
  as_.lea(x86::r9, x86::ptr(x86::r9, x86::r11));
}

void Emitter::EmitDirectCall(uint32_t target_eip) {
  Mark(target_eip);
  if (Linkable(target_eip)) {
    const uint8_t call[] = {kCall};
    EmitLinkedJump(call, target_eip);
  } else {
    as_.mov(x86::r8d, target_eip);
    EmitIndirectCall();
  }
}

void Emitter::EmitIndirectCall() {
  Mark(RecoveryEntry{.eip_in_scratch = true});
  EmitLoadSlot();
  as_.call(x86::r9);
}

void Emitter::EmitReturnSite(uint32_t eip) {
  EmitReturnCheck(eip);
  EmitNextEip(flow_.goes_on_after_calls, eip);
}

void Emitter::EmitReturnCheck(uint32_t eip) {
  Mark(RecoveryEntry{.eip_in_scratch = true});
  returns_.offsets.push_back(static_cast<uint16_t>(Offset()));
  const uint32_t negated = -eip;
  EmitBytes(ReturnSite::kLea);
  EmitBytes({reinterpret_cast<const uint8_t*>(&negated), sizeof negated});
  as_.mov(x86::r9d, x86::dword_ptr(x86::r11, x86::r9, 0, static_cast<int32_t>(flow_.return_check)));
}

void Emitter::EmitNextEip(bool goes_on, uint32_t eip) {
  if (goes_on && !self_checking_) {
    Mark(eip);
    return;
  }
  EmitDirectExit(eip);
  EndBlock();
}

void Emitter::EmitFallThrough(uint32_t eip) {
  if (shadow_) {  // the monitor honours it
    Mark(RecoveryEntry{.shadow = true, .eip = eip});
    return EmitInterpret(eip);
  }
  EmitDirectExit(eip);
  EndBlock();
}

void Emitter::EmitLeave(uint32_t eip, uint64_t stub) {
  as_.mov(x86::r8d, eip);
  EmitBranchTo(kJump, stub);
}

void Emitter::EmitInterpret(uint32_t eip) { EmitStep(eip, {}); }

void Emitter::EmitStep(uint32_t eip, StepOperand step) {
  Settle({.eip = eip});
  const uint64_t leave = step.demoted ? stubs_.LeaveDemoted() : stubs_.LeaveToInterpret();
  EmitLeave(eip, fast_paths_.Has(FastPath::kStepCallouts) ? stubs_.Step(step) : leave);
  EndBlock();
}

void Emitter::Finish() {
  EmitThunkCalls();
  if (!returns_.offsets.empty()) {
    returns_.lookup = static_cast<uint16_t>(Offset());
    EmitIndirectExit();
  }
  EmitSoftMisses();
  for (PendingExit& exit : exits_) {
    Mark(exit.target_eip);
    exit.stub_offset = Offset();
    int32_t to_stub = static_cast<int32_t>(exit.stub_offset - (exit.jump_offset + 4));
    std::memcpy(Buffer() + exit.jump_offset, &to_stub, sizeof to_stub);
    EmitBranchTo(kCall, stubs_.LinkMiss());
  }
  code_.flatten();
  code_.resolveUnresolvedLinks();
  if (code_.codeSize() > CodeCache::kMaxBlockBytes) throw std::logic_error("a block outgrew its space");
}

std::span<const uint8_t> Emitter::Code() const {
  const CodeBuffer& buffer = code_.textSection()->buffer();
  return {buffer.data(), buffer.size()};
}

void Emitter::EmitRebias(unsigned guest_gpr) {
  x86::Gp reg = host::Full(guest_gpr);
  as_.lea(reg, x86::ptr(reg, x86::r14));
}

void Emitter::EmitEncoding(const HostEncoding& e) {
  uint8_t bytes[32];
  size_t n = 0;
  const auto append = [&](std::span<const uint8_t> from) {
    std::copy(from.begin(), from.end(), bytes + n);  // empty ones have no address
    n += from.size();
  };
  append(e.prefixes);
  if (e.operand.gs) bytes[n++] = 0x65;
  if (e.operand.address32) bytes[n++] = 0x67;
  if (e.vex) {
    VexPrefix vex = *e.vex;
    vex.r = e.reg >= 8;
    vex.x = e.operand.rex_x;
    vex.b = e.operand.rex_b;
    n += vex.Encode(bytes + n);
  } else if (const uint8_t rex = e.Rex()) {
    bytes[n++] = 0x40 | rex;
  }
  append(e.opcode);
  if (e.has_modrm) {
    bytes[n++] = static_cast<uint8_t>(e.operand.mod << 6 | (e.reg & 7) << 3 | e.operand.rm);
    if (e.operand.has_sib) bytes[n++] = e.operand.sib;
    append({reinterpret_cast<const uint8_t*>(&e.operand.displacement), e.operand.displacement_bytes});
  }
  append(e.immediate);
  EmitBytes({bytes, n});
}

void Emitter::EmitMemoryOp(std::span<const uint8_t> opcode, uint8_t reg, const HostOperand& operand, bool wide16) {
  const uint8_t operand_size[] = {0x66};
  HostEncoding e{.opcode = opcode, .reg = reg, .operand = operand};
  if (wide16) e.prefixes = operand_size;
  EmitEncoding(e);
}

void Emitter::EmitLoadScratch(const HostOperand& operand, unsigned bytes) {
  const uint8_t mov[] = {0x8B}, movzx[] = {0x0F, 0xB7};
  if (bytes == 2) {
    EmitMemoryOp(movzx, host::kScratch, operand);
  } else {
    EmitMemoryOp(mov, host::kScratch, operand);
  }
}

void Emitter::EmitStoreScratch(const HostOperand& operand, unsigned bytes) {
  const uint8_t mov[] = {0x89};
  EmitMemoryOp(mov, host::kScratch, operand, bytes == 2);
}

void Emitter::EmitStoreImmediate(const HostOperand& operand, unsigned bytes, uint32_t value) {
  const uint8_t opcode[] = {0xC7}, operand_size[] = {0x66};
  HostEncoding e{.opcode = opcode, .operand = operand};
  if (bytes == 2) e.prefixes = operand_size;
  e.immediate = {reinterpret_cast<const uint8_t*>(&value), bytes};
  EmitEncoding(e);
}

void Emitter::EmitSetRegister(unsigned guest_gpr, unsigned bytes, const x86::Gp& from) {
  const bool biased = guest_gpr == kEsp || guest_gpr == kEbp;
  if (bytes == 2) {
    as_.mov(host::Low16(guest_gpr), from.r16());
  } else if (biased) {
    as_.lea(host::Full(guest_gpr), x86::ptr(from.r64(), x86::r14));
  } else {
    as_.mov(host::Low32(guest_gpr), from.r32());
  }
}

}  // namespace ring3
