// One instruction on its way through the slow path: what was decoded, and what happened so far.
#pragma once

#include <Zydis/Zydis.h>

#include <array>
#include <cstdint>

#include "monitor/cpu/cpu.h"
#include "monitor/cpu/guest_decoder.h"
#include "monitor/cpu/instruction_features.h"
#include "monitor/cpu/raise.h"
#include "monitor/cpu/segments.h"
#include "monitor/interpreter/interpreter.h"

namespace ring3 {

struct Step;
struct NativeFrame;
using Handler = void (*)(Step&);
using NativeEntry = void (*)(NativeFrame*);

inline constexpr unsigned kMaxInstructionBytes = 15;

/// Which part of the FPU/SSE state an instruction needs (SDM 3A 2.5, tables 2-2 and 23-1): decides #NM, #UD and #MF.
enum class FpuUse : uint8_t { kNone, kX87Waiting, kX87NoWait, kMmx, kSse, kSseAndMmx, kAvx, kXsave };

/// A decoded instruction. Depends only on its bytes and on the decoder's kind, so it can be cached by them.
struct Decoded {
  ZydisDecodedInstruction insn;
  std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> operands;
  std::array<uint8_t, kMaxInstructionBytes> bytes;
  uint8_t length = 0;  // 0: empty
  DecoderKind kind;
  bool illegal = false;                       // always #UD
  bool operand32 = false, address32 = false;  // after prefixes
  bool rep = false, repne = false;            // the last of F3/F2 wins
  FpuUse fpu = FpuUse::kNone;
  FeatureNeed need;
  Handler handler = nullptr;
  int8_t memory_operand = -1;    // index of the operand that is really accessed, if any
  NativeEntry native = nullptr;  // assembled on first use

  const ZydisDecodedOperand& Op(unsigned index) const { return operands[index]; }
  bool HasModRm() const { return insn.attributes & ZYDIS_ATTRIB_HAS_MODRM; }
};

/// What is put back when the instruction faults.
struct Checkpoint {
  std::array<uint32_t, kGprCount> gpr;
  uint32_t eip, eflags;
};

struct Step {
  Cpu& cpu;
  Decoded& d;
  uint32_t next_eip;
  Checkpoint checkpoint;
  StepResult result;
  bool follows_shadow = false;  // the previous instruction was MOV SS or POP SS
  bool eip_set = false;         // the handler has set EIP itself
  bool roll_back = true;        // cleared when a callee keeps (or has deliberately replaced) the state on a fault
  bool inhibit_trap = false;    // no single-step trap after this instruction
  std::optional<GuestFault> raised = std::nullopt;  // instead of being thrown; the handler returns at once

  CpuState& state() const { return cpu.state; }
  OperandSize Size() const { return d.operand32 ? OperandSize::k32 : OperandSize::k16; }
  unsigned Bytes() const { return d.operand32 ? 4 : 2; }
  uint32_t AddressMask() const { return d.address32 ? 0xFFFF'FFFFu : 0xFFFFu; }
  uint32_t StackMask() const { return cpu.state.Stack32() ? 0xFFFF'FFFFu : 0xFFFFu; }
  /// Real-address mode or V86: selectors are paragraphs.
  bool RealOrV86() const { return !cpu.state.ProtectedMode() || cpu.state.V86(); }
  /// MOV SS and POP SS: nothing comes between this instruction and the next. A second one in a row has no such effect.
  void ShadowNext() {
    if (follows_shadow) return;
    cpu.state.interrupt_shadow = cpu.state.debug_shadow = inhibit_trap = true;
  }
  /// Makes the registers as they stand the state that a later fault leaves (REP: after each iteration). EFLAGS stay
  /// as at the start, as the SDM says for faulting repeated CMPS and SCAS.
  void CommitIteration() { checkpoint.gpr = cpu.state.gpr; }
};

/// #GP(0)
[[noreturn]] inline void ThrowGp0() { ThrowFault(Vector::kGeneralProtection, 0); }

}  // namespace ring3
