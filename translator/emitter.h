// The emitter: host code for one block, with the recovery map and the links that go with it. The files emit_*.cpp hold
// the expansions, one family each; every method here that is named Emit... writes host code.
#pragma once

#include <asmjit/x86.h>

#include <optional>
#include <span>
#include <vector>

#include "translator/block_mode.h"
#include "translator/code_cache.h"
#include "translator/decode.h"
#include "translator/fast_paths.h"
#include "translator/memory_operand.h"
#include "translator/soft_site.h"
#include "translator/stubs.h"

namespace ring3 {

/// A direct exit whose link record is made when the block enters the cache. Offsets are from the block's start.
struct PendingExit {
  uint32_t target_eip;
  uint32_t jump_offset;  // of the rel32 field
  uint32_t stub_offset = 0;
};

/// An inline soft access whose page the SoftTlb does not have: the block's cold part makes the callout.
struct PendingSoftMiss {
  uint32_t eip;
  uint32_t jump_offset;  // of the rel32 field
  CalloutArguments callout;
};

/// An instruction that is being translated with inline soft accesses.
struct SoftEmission {
  const GuestInstruction* insn;
  uint16_t site;
  unsigned accesses = 0;  // so far
};

/// A call of a thunk that is not known: the block's cold part makes the call.
struct PendingThunkCall {
  uint32_t eip, target_eip, next_eip;
  uint32_t jump_offset;  // of the rel32 field
  int32_t stack_move;    // from r15 to the return address
};

/// A translation made wrong on purpose: behind the instruction at `eip` comes what it does not say.
struct Sabotage {
  enum class Kind : uint8_t { kNone, kRegister, kMemory };  // EAX grows by 1; 4 bytes far below the stack are written
  Kind kind = Kind::kNone;
  uint32_t eip = 0;
  bool At(uint32_t instruction) const { return kind != Kind::kNone && eip == instruction; }
};

/// How blocks follow the guest's branches.
struct Flow {
  bool pairs_returns = false;           // guest calls and returns are the host's
  bool goes_on_after_calls = false;     // the return site's code belongs to the block that calls
  bool goes_on_after_branches = false;  // what a conditional branch falls through to belongs to its block
  bool inlines_thunks = false;          // calls of PC thunks are what these do
  uint32_t return_check = 0;            // CodeCache::ReturnCheck
};

class Emitter {
 public:
  Emitter(const Stubs& stubs, Flow flow, FastPaths fast_paths);

  /// Starts a block that will be copied to `host_base`.
  /// A block that checks its source ends at its first branch.
  void Begin(BlockMode mode, uint32_t start_eip, uint64_t host_base, bool self_checking);

  /// Code that counts executions of the block into `*counter`.
  void EmitCounter(uint32_t eip, uint64_t* counter);
  /// Code that writes a BlockRecord of the block that will lie at `host_offset` of the cache. What it returns says
  /// where FinishRecord fills in how many instructions the block came to have.
  uint32_t EmitRecord(uint32_t eip, uint32_t host_offset);
  void FinishRecord(uint32_t record, uint32_t instructions);
  /// Code that does what no guest asked for, behind the instruction that was emitted last.
  void EmitSabotage(Sabotage::Kind kind, uint32_t next_eip);
  /// Code that compares the block's source with what was translated and leaves when it changed. The start goes before
  /// the first instruction; the end, which says how many bytes there are, behind the last.
  uint32_t EmitSelfCheckStart(uint32_t eip);
  void EmitSelfCheckEnd(uint32_t body, std::span<const uint8_t> source);
  /// Translates one instruction. Afterwards Ended() says whether it ended the block.
  void EmitInstruction(const GuestInstruction& insn);
  bool Ended() const { return ended_; }
  /// Whether a call may be translated as what the PC thunk it calls does; and that, for a thunk that loads `gpr`.
  bool AllowsThunkCall(const GuestInstruction& insn) const;
  void EmitThunkCall(const GuestInstruction& insn, unsigned gpr);
  /// Ends the block by going on at `eip`.
  void EmitFallThrough(uint32_t eip);
  /// Ends the block by leaving to the monitor at `eip`.
  void EmitInterpret(uint32_t eip);
  /// The same for an instruction at a demoted site, in whose place a SoftSite may stand.
  void EmitDemoted(const GuestInstruction& insn, std::optional<uint16_t> soft_site);
  /// What soft access may stand in its place in this block.
  std::optional<SoftMove> SoftMoveFor(const GuestInstruction& insn) const;

  /// Writes the cold parts and hands everything over.
  void Finish();
  std::span<const uint8_t> Code() const;
  std::span<const RecoveryEntry> Recovery() const { return recovery_; }
  ReturnSites TakeReturns() { return std::move(returns_); }
  const std::vector<PendingExit>& Exits() const { return exits_; }
  /// Class that the last instruction was really translated as: kInterpret when its row's class could not be met here.
  InstructionClass EmittedClass() const { return emitted_class_; }

 private:
  // emitter.cpp: bytes, recovery marks, exits
  uint32_t Offset() const { return static_cast<uint32_t>(as_.offset()); }
  void Mark(RecoveryEntry entry);  // holds from here on; its host_offset and esp_delta are filled in
  void Mark(uint32_t eip) { Mark(RecoveryEntry{.eip = eip}); }
  void MarkBusy(uint32_t eip) { Mark(RecoveryEntry{.busy = true, .eip = eip}); }
  void EmitLeave(uint32_t eip, uint64_t stub);
  void EmitStep(uint32_t eip, StepOperand step);  // the monitor interprets the instruction, and the block ends
  void EmitBytes(std::span<const uint8_t> bytes);
  static constexpr uint8_t kCall = 0xE8, kJump = 0xE9;  // with a rel32
  static constexpr uint8_t kJumpIfEcxZero[] = {0x67, 0xE3};
  void EmitBranchTo(uint8_t opcode, uint64_t host_address);
  /// A direct jump may be linked within a page, and between pages in ring 0; other pages may be mapped elsewhere in
  /// another address space, so such jumps go through this one's branch table.
  bool Linkable(uint32_t target_eip) const;
  void EmitLinkedJump(std::span<const uint8_t> opcode, uint32_t target_eip);
  void EmitDirectExit(uint32_t target_eip);
  uint32_t EmitShortForward(std::span<const uint8_t> opcode);  // returns what BindShortForward needs
  void BindShortForward(uint32_t displacement_offset);
  uint8_t* Buffer() { return code_.textSection()->buffer().data(); }
  void EmitIndirectExit();  // EIP in r8d
  void EmitLoadSlot();      // r9 := host address to go on at for EIP in r8d
  /// The host call of a guest call, whose return address is stored already. The return site follows.
  void EmitDirectCall(uint32_t target_eip);
  void EmitIndirectCall();  // EIP in r8d
  void EmitReturnSite(uint32_t eip);
  void EmitReturnCheck(uint32_t eip);
  void EmitThunkCalls();  // emit_thunk.cpp
  /// A branch that was not taken is behind us.
  void EmitNextEip(bool goes_on, uint32_t eip);
  void EmitRebias(unsigned guest_gpr);
  void EndBlock() { ended_ = true; }

  // emit_address.cpp: memory operands. r9 and r10 are used to compute addresses, r8 for the value accessed.
  /// Whether translated code can make this access at all; if not, the monitor executes the instruction.
  bool Addressable(const GuestInstruction& insn, const ZydisDecodedOperand& memory) const;
  bool Accessible(Seg segment, bool write) const;
  HostOperand EmitAddress(const GuestInstruction& insn, const ZydisDecodedOperand& memory,
                          int32_t extra_displacement = 0, bool avoid_rex = false);
  void EmitOffset(const GuestAddress& address, bool address16);  // r9d := offset in the segment
  HostOperand EmitBased(Seg segment, const GuestAddress& address);
  HostOperand EmitGatherAddress(Seg segment, const GuestAddress& address, const ZydisDecodedOperand& memory);
  HostOperand EmitSegmented(Seg segment, unsigned bytes);  // for `bytes` at offset r9d
  bool FlatStack() const { return mode_.Stack32() && mode_.Shape(Seg::kSs) == SegmentShape::kFlat; }
  HostOperand EmitStackSlot(int32_t delta, unsigned bytes);  // `delta` bytes from the stack pointer

  // emit_stack_pointer.cpp: ESP is r15d + pending_. Moves are put off until something needs the register itself.
  /// The instruction's memory accesses have been emitted, and ESP moves by `delta`: the instruction's last effect.
  void MoveStack(const GuestInstruction& insn, int32_t delta);
  void SettleStack(const RecoveryEntry& here);  // ESP is r15d afterwards
  void EmitStackMove(int32_t delta);            // now, and what was pending with it
  /// Whether the instruction's expansion knows of pending_.
  bool KnowsPending(const GuestInstruction& insn) const;
  /// ADD, SUB and LEA of ESP and a constant: what is pending then, unless that is too much.
  std::optional<int32_t> PendingAfter(const GuestInstruction& insn) const;
  bool EmitStackAdjust(const GuestInstruction& insn);

  // emit_frame_pointer.cpp: RBP is window + EBP at each way out. Between two of them it may be plain EBP.
  void EmitFrameWritten();                 // EBP was written as 32 bits, zero-extended
  void SettleFrame();                      // RBP is biased afterwards
  void Settle(const RecoveryEntry& here);  // both, as every way out wants them
  /// Whether the instruction's expansion takes RBP either way.
  bool KnowsPlainFrame(const GuestInstruction& insn) const;

  /// Whether a direct near branch may go there; if not it faults, which is the monitor's to do.
  bool Reachable(uint32_t target_eip) const { return target_eip <= mode_.Code().limit; }
  /// The same for indirect branches of this operand size, which EmitTargetCheck may have to check (EIP in r8d).
  bool IndirectAllowed(unsigned operand_width) const { return operand_width == 16 || !mode_.Code16(); }
  void EmitTargetCheck(unsigned operand_width);

  void EmitEncoding(const HostEncoding& encoding);
  /// [prefixes] opcode ModRM over `operand`; for the expansions' own loads and stores of guest memory.
  void EmitMemoryOp(std::span<const uint8_t> opcode, uint8_t reg, const HostOperand& operand, bool wide16 = false);
  void EmitLoadScratch(const HostOperand& operand, unsigned bytes);   // r8d := memory
  void EmitStoreScratch(const HostOperand& operand, unsigned bytes);  // memory := r8d
  void EmitStoreImmediate(const HostOperand& operand, unsigned bytes, uint32_t value);
  void EmitSetRegister(unsigned guest_gpr, unsigned bytes, const asmjit::x86::Gp& from);  // rebiased

  /// Instructions of this unit fault, or are the monitor's for another reason.
  bool UnitTraps(Unit unit) const;
  bool TryEmit(const GuestInstruction& insn);
  bool EmitIdentical(const GuestInstruction& insn);  // emit_identical.cpp
  bool EmitLoadAddress16(const GuestInstruction& insn);
  void EmitWithoutRex(const GuestInstruction& insn, HostEncoding encoding);
  bool EmitFrameMove(const GuestInstruction& insn);
  bool EmitJump(const GuestInstruction& insn);  // emit_control.cpp
  bool EmitConditional(const GuestInstruction& insn);
  bool EmitCounted(const GuestInstruction& insn);
  void EmitCounted16(const GuestInstruction& insn);
  bool EmitCall(const GuestInstruction& insn);
  void EmitCallCommit(const GuestInstruction& insn, int32_t delta, bool direct);
  bool EmitReturn(const GuestInstruction& insn);
  bool Paired(unsigned operand_width) const;
  bool EmitLoadBranchTarget(const GuestInstruction& insn);
  bool EmitStack(const GuestInstruction& insn);  // emit_stack.cpp
  bool EmitPush(const GuestInstruction& insn);
  bool EmitPop(const GuestInstruction& insn);
  bool EmitLeave(const GuestInstruction& insn);
  bool EmitString(const GuestInstruction& insn);  // emit_string.cpp
  bool EmitFlatString(const GuestInstruction& insn);
  bool EmitOneElement(const GuestInstruction& insn);
  void EmitStringStep(unsigned bytes);
  bool EmitSegmentMove(const GuestInstruction& insn);  // emit_sensitive.cpp
  bool EmitSegmentLoad(const GuestInstruction& insn);
  bool EmitLoadSelector(const GuestInstruction& insn);
  bool EmitParagraphLoad(const GuestInstruction& insn, Seg segment);
  bool EmitLoadFarPointer(const GuestInstruction& insn);
  void EmitCommitParagraph(Seg segment);
  void EmitUnlessUnchanged(const GuestInstruction& insn, Seg segment);
  void EmitOtherSegment(const GuestInstruction& insn, Seg segment);
  bool EmitCallout(const GuestInstruction& insn);  // emit_callout.cpp
  void EmitCallout(const GuestInstruction& insn, Callout callout, uint16_t operand);
  bool AllowsInlineSoftAccess(const GuestInstruction& insn) const;  // emit_soft_access.cpp
  void EmitSoftAccess(const GuestInstruction& insn, uint16_t soft_site);
  void EmitInlineSoftAccess(const GuestInstruction& insn, uint16_t soft_site);
  void EmitLinear(Seg segment, const GuestAddress& address);
  HostOperand EmitSoftOperand(Seg segment, const GuestAddress& address, unsigned bytes, bool write);
  void EmitSoftLookup(unsigned bytes, bool write, SoftAccessOperand access);
  void EmitSoftMisses();
  bool EmitEvent(const GuestInstruction& insn, Callout callout, uint16_t operand);
  bool EmitPortAccess(const GuestInstruction& insn, Callout callout, const ZydisDecodedOperand& port, unsigned bits);
  bool EmitInvalidatePage(const GuestInstruction& insn);
  bool EmitControlMove(const GuestInstruction& insn);
  bool EmitReadControl(const GuestInstruction& insn, int control, int gpr);
  bool EmitFlags(const GuestInstruction& insn);
  bool EmitTimeStamp(const GuestInstruction& insn);
  bool EmitPushFlags(const GuestInstruction& insn);
  bool EmitPopFlags(const GuestInstruction& insn);
  bool EmitSetInterruptFlag(const GuestInstruction& insn);

  const Stubs& stubs_;
  const Flow flow_;
  const FastPaths fast_paths_;
  asmjit::CodeHolder code_;
  asmjit::x86::Assembler as_;
  BlockMode mode_;
  uint32_t start_eip_ = 0;
  uint64_t host_base_ = 0;
  bool ended_ = false;
  bool self_checking_ = false;
  bool shadow_ = false;       // the instruction just translated was STI, or loaded SS
  int32_t pending_ = 0;       // bytes that ESP is ahead of r15d
  bool plain_frame_ = false;  // RBP is EBP, without the window's base
  InstructionClass emitted_class_ = InstructionClass::kInterpret;
  std::vector<RecoveryEntry> recovery_;
  std::vector<PendingExit> exits_;
  std::vector<PendingSoftMiss> soft_misses_;
  std::vector<PendingThunkCall> thunk_calls_;
  std::optional<SoftEmission> soft_;  // while an instruction's accesses are soft
  ReturnSites returns_;
};

}  // namespace ring3
