#include "monitor/interpreter/native_code.h"

#include <sys/mman.h>

#include <cassert>
#include <initializer_list>
#include <optional>

#include "monitor/cpu/vex.h"
#include "monitor/interpreter/operands.h"

namespace ring3 {
namespace {

constexpr unsigned kSlotBytes = 384;
constexpr uint8_t kOperandSizePrefix = 0x66, kRepnePrefix = 0xF2, kRepPrefix = 0xF3;

// Host registers that the generated code keeps for itself: r15 the frame, r14 the FXSAVE image. An instruction without
// REX, or with VEX fields as 32-bit code has them, cannot touch either.
constexpr uint8_t kFrameFcw = offsetof(NativeFrame, host_fcw), kFrameMxcsr = offsetof(NativeFrame, host_mxcsr),
                  kFrameFpu = offsetof(NativeFrame, fpu), kFrameMemory = offsetof(NativeFrame, memory),
                  kFrameYmmHigh = offsetof(NativeFrame, ymm_high), kFrameFlags = offsetof(NativeFrame, flags);
static_assert(sizeof(NativeFrame) < 0x80, "frame offsets are signed bytes");

/// Appends bytes to one slot.
class Emitter {
 public:
  explicit Emitter(uint8_t* begin) : begin_(begin), at_(begin) {}
  void Emit(std::initializer_list<uint8_t> bytes) {
    for (uint8_t b : bytes) *at_++ = b;
  }
  void Emit(uint8_t byte) { *at_++ = byte; }
  /// op [r15 + offset], with `reg` in ModRM.reg.
  void FrameAccess(uint8_t rex, uint8_t opcode, unsigned reg, uint8_t offset) {
    Emit({rex, opcode, static_cast<uint8_t>(0x47 | reg << 3), offset});
  }
  unsigned Size() const { return static_cast<unsigned>(at_ - begin_); }

 private:
  uint8_t *begin_, *at_;
};

/// Host registers standing in where the guest's own cannot be used: rsp is the host's stack pointer, and a buffer
/// address needs a register the instruction leaves alone. Both are legacy registers, as AH..BH exclude REX.
struct StandIns {
  std::optional<unsigned> memory, esp;
};

bool IsEsp(const Operand& op) {
  return op.type == ZYDIS_OPERAND_TYPE_REGISTER &&
         (op.reg.value == ZYDIS_REGISTER_ESP || op.reg.value == ZYDIS_REGISTER_SP);
}

StandIns ChooseStandIns(const Decoded& d) {
  unsigned used = 0;
  bool uses_esp = false;
  for (unsigned i = 0; i < d.insn.operand_count; ++i) {
    const Operand& op = d.operands[i];
    if (op.type != ZYDIS_OPERAND_TYPE_REGISTER) continue;
    uses_esp = uses_esp || IsEsp(op);
    if (const unsigned gpr = GprIndexOf(op.reg.value); gpr != kGprCount) used |= 1u << gpr;
  }
  StandIns chosen;
  // EBP is not among them: as a base without displacement it would mean RIP-relative.
  for (unsigned candidate : {kEsi, kEdi, kEbx, kEdx, kEcx, kEax}) {
    if (used & (1u << candidate)) continue;
    if (d.memory_operand >= 0 && !chosen.memory) {
      chosen.memory = candidate;
    } else if (uses_esp && !chosen.esp) {
      chosen.esp = candidate;
    }
  }
  return chosen;
}

/// ModRM and the register bits of the opcode, with ESP replaced and memory redirected.
struct Encoding {
  uint8_t opcode, modrm = 0;
  VexPrefix vex{};
};

Encoding Redirect(const Decoded& d, const StandIns& stand_ins) {
  Encoding e{.opcode = d.insn.opcode};
  if (IsVex(d.insn)) e.vex = VexOf(d.insn, d.operands.data());
  uint8_t mod = d.insn.raw.modrm.mod, reg = d.insn.raw.modrm.reg, rm = d.insn.raw.modrm.rm;
  if (stand_ins.memory) {
    mod = 0;
    rm = static_cast<uint8_t>(*stand_ins.memory);
  }
  for (unsigned i = 0; stand_ins.esp && i < d.insn.operand_count; ++i) {
    if (!IsEsp(d.operands[i])) continue;
    const auto stand_in = static_cast<uint8_t>(*stand_ins.esp);
    switch (d.operands[i].encoding) {
      case ZYDIS_OPERAND_ENCODING_MODRM_REG:
        reg = stand_in;
        break;
      case ZYDIS_OPERAND_ENCODING_MODRM_RM:
        rm = stand_in;
        break;
      case ZYDIS_OPERAND_ENCODING_NDSNDD:
        e.vex.vvvv = stand_in;
        break;
      case ZYDIS_OPERAND_ENCODING_OPCODE:
        e.opcode = static_cast<uint8_t>((e.opcode & ~7u) | stand_in);
        break;
      default:
        break;
    }
  }
  e.modrm = static_cast<uint8_t>(mod << 6 | reg << 3 | rm);
  return e;
}

bool HasMandatoryPrefix(const Decoded& d, uint8_t value) {
  for (unsigned i = 0; i < d.insn.raw.prefix_count; ++i) {
    if (d.insn.raw.prefixes[i].value == value && d.insn.raw.prefixes[i].type == ZYDIS_PREFIX_TYPE_MANDATORY)
      return true;
  }
  return false;
}

/// 64-bit mode defaults to 32-bit operands, the guest's code segment perhaps not.
bool NeedsOperandSizePrefix(const Decoded& d) {
  switch (d.insn.mnemonic) {
    case ZYDIS_MNEMONIC_FNSTENV:
    case ZYDIS_MNEMONIC_FLDENV:
    case ZYDIS_MNEMONIC_FNSAVE:
    case ZYDIS_MNEMONIC_FRSTOR:
      return !d.operand32;
    default:
      break;
  }
  const bool scalar = d.fpu == FpuUse::kNone && d.insn.mnemonic != ZYDIS_MNEMONIC_MOVNTI;
  return scalar && d.insn.operand_width == 16;
}

void EmitPrefixes(Emitter& out, const Decoded& d, const VexPrefix& vex) {
  if (IsVex(d.insn)) {
    uint8_t bytes[VexPrefix::kMaxBytes];
    const unsigned count = vex.Encode(bytes);
    for (unsigned i = 0; i < count; ++i) out.Emit(bytes[i]);
    return;
  }
  if (NeedsOperandSizePrefix(d) || HasMandatoryPrefix(d, kOperandSizePrefix)) out.Emit(kOperandSizePrefix);
  if (HasMandatoryPrefix(d, kRepnePrefix)) out.Emit(kRepnePrefix);
  if (HasMandatoryPrefix(d, kRepPrefix)) out.Emit(kRepPrefix);
}

void EmitOpcode(Emitter& out, const Decoded& d, uint8_t opcode) {
  if (IsVex(d.insn)) return out.Emit(opcode);
  switch (d.insn.opcode_map) {
    case ZYDIS_OPCODE_MAP_0F:
      out.Emit(0x0F);
      break;
    case ZYDIS_OPCODE_MAP_0F38:
      out.Emit({0x0F, 0x38});
      break;
    case ZYDIS_OPCODE_MAP_0F3A:
      out.Emit({0x0F, 0x3A});
      break;
    default:
      break;
  }
  out.Emit(opcode);
}

void EmitInstruction(Emitter& out, const Decoded& d, const StandIns& stand_ins) {
  constexpr uint8_t kGroup1Imm8 = 0x80, kGroup1Imm8Alias = 0x82, kIncDec = 0xFF;
  Encoding e = Redirect(d, stand_ins);
  EmitPrefixes(out, d, e.vex);
  const bool one_byte = d.insn.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT;
  if (one_byte && (e.opcode & 0xF0) == 0x40) {
    // INC and DEC of one byte are REX prefixes now; the ModRM forms remain.
    const auto modrm = static_cast<uint8_t>(0xC0 | (e.opcode & 0x0F));
    out.Emit({kIncDec, modrm});
    return;
  }
  if (one_byte && e.opcode == kGroup1Imm8Alias) e.opcode = kGroup1Imm8;
  EmitOpcode(out, d, e.opcode);
  if (d.HasModRm()) out.Emit(e.modrm);
  if (d.insn.raw.imm[0].size != 0) {
    const uint8_t mask = HasRegisterImmediate(d.insn, d.operands.data()) ? kRegisterImmediateMask : 0xFF;
    for (unsigned i = d.insn.raw.imm[0].offset; i < d.length; ++i) out.Emit(d.bytes[i] & mask);
  }
}

constexpr uint8_t kRexB = 0x41, kRexWb = 0x49;

void EmitLoadRegisters(Emitter& out, const StandIns& stand_ins) {
  for (unsigned r = 0; r < kGprCount; ++r) {
    if (r == stand_ins.memory) {
      out.FrameAccess(kRexWb, 0x8B, r, kFrameMemory);
    } else if (r != kEsp) {
      const unsigned guest = r == stand_ins.esp ? unsigned{kEsp} : r;
      out.FrameAccess(kRexB, 0x8B, r, static_cast<uint8_t>(4 * guest));
    }
  }
  out.FrameAccess(kRexB, 0xFF, 6, kFrameFlags);  // push [flags]
  out.Emit(0x9D);                                // popfq
}

void EmitStoreRegisters(Emitter& out, const StandIns& stand_ins) {
  out.Emit(0x9C);                                // pushfq
  out.FrameAccess(kRexB, 0x8F, 0, kFrameFlags);  // pop [flags]
  for (unsigned r = 0; r < kGprCount; ++r) {
    if (r == stand_ins.memory || r == kEsp) continue;
    const unsigned guest = r == stand_ins.esp ? unsigned{kEsp} : r;
    out.FrameAccess(kRexB, 0x89, r, static_cast<uint8_t>(4 * guest));
  }
}

void EmitLoadFpu(Emitter& out) {
  out.Emit({0x41, 0x0F, 0xAE, 0x5F, kFrameMxcsr});  // stmxcsr [r15 + ..]
  out.FrameAccess(kRexB, 0xD9, 7, kFrameFcw);       // fnstcw [r15 + ..]
  out.Emit({0x41, 0x0F, 0xAE, 0x0E});               // fxrstor [r14]
}

void EmitStoreFpu(Emitter& out) {
  out.Emit({0x41, 0x0F, 0xAE, 0x06});          // fxsave [r14]; doesn't wait, so a pending guest exception stays pending
  out.Emit({0xDB, 0xE3});                      // fninit
  out.FrameAccess(kRexB, 0xD9, 5, kFrameFcw);  // fldcw
  out.Emit({0x41, 0x0F, 0xAE, 0x57, kFrameMxcsr});  // ldmxcsr
}

/// One VINSERTF128 or VEXTRACTF128 of [rax + 16n] for each register; rax holds nothing of the guest's here.
void EmitHighHalves(Emitter& out, uint8_t opcode) {
  constexpr uint8_t kInsert = 0x18;
  out.FrameAccess(kRexWb, 0x8B, kEax, kFrameYmmHigh);
  for (uint8_t n = 0; n < kVectorCount; ++n) {
    const VexPrefix vex{.map = 3, .vvvv = opcode == kInsert ? n : uint8_t{0}, .pp = 1, .l = true};
    uint8_t bytes[VexPrefix::kMaxBytes];
    vex.Encode(bytes);
    out.Emit(
        {bytes[0], bytes[1], bytes[2], opcode, static_cast<uint8_t>(0x40 | n << 3), static_cast<uint8_t>(16 * n), 1});
  }
}

void EmitLoadAvx(Emitter& out) { EmitHighHalves(out, 0x18); }

void EmitStoreAvx(Emitter& out) {
  EmitHighHalves(out, 0x19);
  out.Emit({0xC5, 0xF8, 0x77});  // vzeroupper
}

}  // namespace

NativeCodeSlots::NativeCodeSlots(unsigned count) : count_(count) {
  void* memory =
      mmap(nullptr, size_t{count} * kSlotBytes, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw UsageError("the host gives no executable memory (mmap with PROT_EXEC failed)");
  base_ = static_cast<uint8_t*>(memory);
}

NativeCodeSlots::~NativeCodeSlots() { munmap(base_, size_t{count_} * kSlotBytes); }

NativeEntry NativeCodeSlots::Assemble(unsigned slot, const Decoded& d) {
  uint8_t* begin = base_ + size_t{slot} * kSlotBytes;
  Emitter out(begin);
  const StandIns stand_ins = ChooseStandIns(d);
  const bool fpu = d.fpu != FpuUse::kNone;
  out.Emit({0x53, 0x55, 0x41, 0x56, 0x41, 0x57});  // push rbx, rbp, r14, r15
  out.Emit({0x49, 0x89, 0xFF});                    // mov r15, rdi
  out.Emit({0x4D, 0x8B, 0x77, kFrameFpu});         // mov r14, [r15 + fpu]
  if (fpu) EmitLoadFpu(out);
  if (d.fpu == FpuUse::kAvx) EmitLoadAvx(out);
  EmitLoadRegisters(out, stand_ins);
  EmitInstruction(out, d, stand_ins);
  EmitStoreRegisters(out, stand_ins);
  if (d.fpu == FpuUse::kAvx) EmitStoreAvx(out);
  if (fpu) EmitStoreFpu(out);
  out.Emit({0x41, 0x5F, 0x41, 0x5E, 0x5D, 0x5B, 0xC3});  // pop r15, r14, rbp, rbx; ret
  assert(out.Size() <= kSlotBytes);
  return reinterpret_cast<NativeEntry>(begin);
}

}  // namespace ring3
