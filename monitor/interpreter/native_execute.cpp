// Instructions without privilege or control flow: the host executes them, on the guest's registers and a copy of the
// memory operand.
#include <cstring>

#include "monitor/interpreter/alu_flags.h"
#include "monitor/interpreter/fpu_state.h"
#include "monitor/interpreter/handlers.h"
#include "monitor/interpreter/native_code.h"
#include "monitor/interpreter/operands.h"

namespace ring3 {
namespace {

constexpr unsigned kBounceBytes = 128;  // the largest operand is FSAVE's image
constexpr unsigned kEnvironment16 = 14, kEnvironment32 = 28, kX87RegistersBytes = 80;

/// SSE instructions whose 128-bit memory operand need not be aligned (SDM 2A, table 2-21 and its notes).
bool AllowsMisaligned(ZydisMnemonic mnemonic) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_MOVUPS:
    case ZYDIS_MNEMONIC_MOVUPD:
    case ZYDIS_MNEMONIC_MOVDQU:
    case ZYDIS_MNEMONIC_LDDQU:
    case ZYDIS_MNEMONIC_PCMPESTRI:
    case ZYDIS_MNEMONIC_PCMPESTRM:
    case ZYDIS_MNEMONIC_PCMPISTRI:
    case ZYDIS_MNEMONIC_PCMPISTRM:
      return true;
    default:
      return false;
  }
}

/// VEX instructions whose operand must be aligned; all others may lie anywhere (SDM 2A 2.4, exception class 1).
bool RequiresAlignment(ZydisMnemonic mnemonic) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_VMOVAPS:
    case ZYDIS_MNEMONIC_VMOVAPD:
    case ZYDIS_MNEMONIC_VMOVDQA:
    case ZYDIS_MNEMONIC_VMOVNTPS:
    case ZYDIS_MNEMONIC_VMOVNTPD:
    case ZYDIS_MNEMONIC_VMOVNTDQ:
    case ZYDIS_MNEMONIC_VMOVNTDQA:
      return true;
    default:
      return false;
  }
}

/// AMD's processors take a misaligned operand of SHA instructions, Intel's do not.
bool ShaMayBeMisaligned(const Decoded& d) {
  return d.insn.meta.isa_set == ZYDIS_ISA_SET_SHA && __builtin_cpu_is("amd");
}

/// Bytes that the vector operand's address must be a multiple of.
unsigned VectorAlignment(const Decoded& d, unsigned bytes) {
  switch (d.fpu) {
    case FpuUse::kSse:
    case FpuUse::kSseAndMmx:
      return bytes == kXmmBytes && !AllowsMisaligned(d.insn.mnemonic) && !ShaMayBeMisaligned(d) ? kXmmBytes : 1;
    case FpuUse::kAvx:
      return RequiresAlignment(d.insn.mnemonic) ? bytes : 1;
    default:
      return 1;
  }
}

unsigned OperandBytes(const Step& s, const Operand& op) {
  const unsigned environment = s.d.operand32 ? kEnvironment32 : kEnvironment16;
  switch (s.d.insn.mnemonic) {
    case ZYDIS_MNEMONIC_FNSTENV:
    case ZYDIS_MNEMONIC_FLDENV:
      return environment;
    case ZYDIS_MNEMONIC_FNSAVE:
    case ZYDIS_MNEMONIC_FRSTOR:
      return environment + kX87RegistersBytes;
    default:
      return op.size / 8u;
  }
}

/// What #AC demands of the operand (SDM 3A table 6-7).
unsigned AlignmentOf(const Step& s, unsigned bytes) {
  constexpr unsigned kExtendedAlignment = 8;
  if (bytes <= kExtendedAlignment || bytes == kXmmBytes) return bytes;
  switch (s.d.insn.mnemonic) {
    case ZYDIS_MNEMONIC_FNSTENV:
    case ZYDIS_MNEMONIC_FLDENV:
    case ZYDIS_MNEMONIC_FNSAVE:
    case ZYDIS_MNEMONIC_FRSTOR:
      return s.Bytes();
    default:
      return kExtendedAlignment;
  }
}

/// The memory operand: checked, and copied in if it is read, before anything happens; copied out at the end.
class MemoryOperand {
 public:
  explicit MemoryOperand(Step& s) : s_(s) {
    if (s.d.memory_operand < 0) return;
    const Operand& op = s.d.Op(s.d.memory_operand);
    bytes_ = OperandBytes(s, op);
    written_ = op.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
    const bool read = op.actions & ZYDIS_OPERAND_ACTION_MASK_READ;
    offset_ = EffectiveAddress(s, op);
    segment_ = SegOf(op.mem.segment);
    const AccessType type = written_ ? AccessType::kWrite : AccessType::kRead;
    const unsigned required = VectorAlignment(s.d, bytes_);
    linear_ = DataLinear(s, segment_, offset_, bytes_, type, required > 1 ? 1 : AlignmentOf(s, bytes_));
    if (linear_.value % required) ThrowGp0();  // whether alignment checks are on or not
    if (written_) s.cpu.memory.CheckWritable(linear_, bytes_, s.cpu.User());
    if (read) s.cpu.memory.ReadBytes(linear_, {buffer_, bytes_}, s.cpu.Read());
  }

  bool Present() const { return bytes_ != 0; }
  uint8_t* Buffer() { return buffer_; }
  uint32_t Offset() const { return offset_; }
  Seg Segment() const { return segment_; }
  void WriteBack() {
    if (written_) s_.cpu.memory.WriteBytes(linear_, {buffer_, bytes_}, s_.cpu.Write());
  }

 private:
  Step& s_;
  alignas(64) uint8_t buffer_[kBounceBytes] = {};
  unsigned bytes_ = 0;
  bool written_ = false;
  uint32_t offset_ = 0;
  Seg segment_ = Seg::kDs;
  GuestLinear linear_;
};

NativeFrame MakeFrame(Step& s, MemoryOperand& memory) {
  NativeFrame frame{};
  std::memcpy(frame.gpr, s.state().gpr.data(), sizeof frame.gpr);
  frame.flags = (s.state().eflags & kArithmeticFlags) | eflags::kReserved1;
  frame.fpu = s.state().fxsave.data();
  frame.ymm_high = s.state().ymm_high.data();
  frame.memory = memory.Buffer();
  return frame;
}

void Run(Step& s, NativeFrame& frame) { NativeCodeOf(s.d)(&frame); }

/// Brings the exponents of all finite numbers in `bytes` to that of 1, denormals included unless they count as zero.
template <class Word, unsigned kFractionBits>
void NormalizeExponents(uint8_t* bytes, bool denormals_are_zero) {
  constexpr Word kHidden = Word{1} << kFractionBits, kSign = Word{1} << (8 * sizeof(Word) - 1);
  constexpr Word kExponent = kSign - kHidden, kOne = (kExponent >> 1) & kExponent;
  for (unsigned at = 0; at < kXmmBytes; at += sizeof(Word)) {
    Word value;
    std::memcpy(&value, bytes + at, sizeof value);
    const Word exponent = value & kExponent;
    Word fraction = value & (kHidden - 1);
    const bool denormal = exponent == 0;
    if (exponent == kExponent || (denormal && (fraction == 0 || denormals_are_zero))) continue;
    while (denormal && !(fraction & kHidden)) fraction <<= 1;
    value = (value & kSign) | kOne | (fraction & (kHidden - 1));
    std::memcpy(bytes + at, &value, sizeof value);
  }
}

/// How a probe differs from the real run.
struct SimdProbe {
  bool flush = false;      // as MXCSR.FZ
  unsigned normalize = 0;  // with exponents normalized in words of so many bytes
};

/// SIMD exceptions the instruction raises, masked or not, found by running it with all masked.
uint32_t ProbeSimdExceptions(Step& s, MemoryOperand& memory, SimdProbe probe) {
  alignas(64) std::array<uint8_t, sizeof s.state().fxsave> image = s.state().fxsave;
  auto ymm_high = s.state().ymm_high;
  uint8_t operand[kBounceBytes];
  std::memcpy(operand, memory.Buffer(), sizeof operand);
  if (probe.normalize != 0) {
    const auto& modrm = s.d.insn.raw.modrm;
    const bool daz = LoadFx<uint32_t>(s.state(), fxsave::kMxcsr) & mxcsr::kDenormalsAreZero;
    const auto normalize = probe.normalize == 4 ? NormalizeExponents<uint32_t, 23> : NormalizeExponents<uint64_t, 52>;
    normalize(&image[fxsave::kXmm0 + fxsave::kSlot * modrm.reg], daz);
    uint8_t* source = memory.Present() ? memory.Buffer() : &image[fxsave::kXmm0 + fxsave::kSlot * modrm.rm];
    if (memory.Present() || modrm.rm != modrm.reg) normalize(source, daz);
  }
  uint32_t control;
  std::memcpy(&control, &image[fxsave::kMxcsr], sizeof control);
  control = (control | mxcsr::kMasks) & ~(mxcsr::kFlags | mxcsr::kFlushToZero);
  if (probe.flush) control |= mxcsr::kFlushToZero;
  std::memcpy(&image[fxsave::kMxcsr], &control, sizeof control);
  NativeFrame frame = MakeFrame(s, memory);
  frame.fpu = image.data();
  frame.ymm_high = ymm_high.data();
  Run(s, frame);
  std::memcpy(&control, &image[fxsave::kMxcsr], sizeof control);
  std::memcpy(memory.Buffer(), operand, sizeof operand);
  return control & mxcsr::kFlags;
}

/// Size of the numbers whose exponents decide that a tiny result loses precision by becoming denormal; 0 where none
/// can. Tiny sums are exact.
unsigned NormalizableWord(ZydisMnemonic mnemonic) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_MULSS:
    case ZYDIS_MNEMONIC_MULPS:
    case ZYDIS_MNEMONIC_DIVSS:
    case ZYDIS_MNEMONIC_DIVPS:
      return 4;
    case ZYDIS_MNEMONIC_MULSD:
    case ZYDIS_MNEMONIC_MULPD:
    case ZYDIS_MNEMONIC_DIVSD:
    case ZYDIS_MNEMONIC_DIVPD:
    case ZYDIS_MNEMONIC_CVTSD2SS:
    case ZYDIS_MNEMONIC_CVTPD2PS:
      return 8;
    default:
      return 0;
  }
}

/// PE next to an unmasked underflow: the result with unbounded exponent is inexact (SDM 1 4.9.1.5). Its becoming
/// denormal, which the masked run shows, doesn't count; a masked overflow does.
uint32_t PrecisionOfUnderflow(Step& s, MemoryOperand& memory, uint32_t raised, uint32_t unmasked) {
  const unsigned word = NormalizableWord(s.d.insn.mnemonic);
  if (word == 0) return raised & mxcsr::kPrecision;
  const bool overflows = raised & ~unmasked & mxcsr::kOverflow;
  const uint32_t inexact = ProbeSimdExceptions(s, memory, {.normalize = word}) & mxcsr::kPrecision;
  return overflows ? mxcsr::kPrecision : inexact;
}

/// Throws #XM (or #UD without CR4.OSXMMEXCPT) when the instruction would raise an unmasked SIMD exception, with the
/// MXCSR flags set and everything else as before. So the real run cannot trap on the host.
void CheckSimdExceptions(Step& s, MemoryOperand& memory) {
  CpuState& state = s.state();
  const uint32_t control = LoadFx<uint32_t>(state, fxsave::kMxcsr);
  const uint32_t unmasked = ~(control >> mxcsr::kMaskShift) & mxcsr::kFlags;
  if (unmasked == 0) return;
  // FZ has no effect while underflow is unmasked.
  const bool flushes = (control & mxcsr::kFlushToZero) && !(unmasked & mxcsr::kUnderflow);
  uint32_t raised = ProbeSimdExceptions(s, memory, {.flush = flushes});
  if (unmasked & mxcsr::kUnderflow) {
    // It is raised for exact tiny results too; a masked one only with FZ set.
    const uint32_t underflow = ProbeSimdExceptions(s, memory, {.flush = true}) & mxcsr::kUnderflow;
    raised = (raised & ~mxcsr::kUnderflow) | underflow;
    if (underflow) raised = (raised & ~mxcsr::kPrecision) | PrecisionOfUnderflow(s, memory, raised, unmasked);
  }
  if (!(raised & unmasked)) return;
  if (raised & unmasked & mxcsr::kPreComputation) raised &= mxcsr::kPreComputation;
  StoreFx(state, fxsave::kMxcsr, control | raised);
  if (s.d.fpu == FpuUse::kSseAndMmx) EnterMmx(state);  // comes before the exception on hardware
  ThrowFault(state.cr4 & cr4::kOsxmmexcpt ? Vector::kSimdFloatingPoint : Vector::kInvalidOpcode);
}

/// Puts the guest's own instruction and data pointers into the image, where the host has left its own.
void SetX87Pointers(Step& s, MemoryOperand& memory, X87Pointers pointers) {
  switch (s.d.insn.mnemonic) {
    case ZYDIS_MNEMONIC_FNINIT:
      pointers = {};
      break;
    case ZYDIS_MNEMONIC_FNSAVE:
      WriteEnvironmentPointers(s, memory.Buffer(), pointers);
      pointers = {};
      break;
    case ZYDIS_MNEMONIC_FNSTENV:
      WriteEnvironmentPointers(s, memory.Buffer(), pointers);
      break;
    case ZYDIS_MNEMONIC_FLDENV:
    case ZYDIS_MNEMONIC_FRSTOR:
      pointers = ReadEnvironmentPointers(s, memory.Buffer());
      break;
    case ZYDIS_MNEMONIC_FNCLEX:
    case ZYDIS_MNEMONIC_FNSTSW:
    case ZYDIS_MNEMONIC_FNSTCW:
    case ZYDIS_MNEMONIC_FLDCW:
      break;
    default:
      if (s.d.fpu != FpuUse::kX87Waiting) break;
      if (!s.cpu.model.FopOnExceptionsOnly() || PendingX87(s.state())) {
        pointers.fop = static_cast<uint16_t>((s.d.insn.opcode & 7) << 8 | s.d.bytes[s.d.insn.raw.modrm.offset]);
      }
      pointers.fip = s.checkpoint.eip;
      pointers.fcs = s.state().Segment(Seg::kCs).selector;
      if (memory.Present()) {
        pointers.fdp = memory.Offset();
        pointers.fds = s.state().Segment(memory.Segment()).selector;
      }
      break;
  }
  StorePointers(s.state(), pointers);
}

/// An x87 store that raises an unmasked invalid, overflow or underflow exception leaves its destination alone.
bool X87StoreSuppressed(const Step& s) {
  const bool x87 = s.d.fpu == FpuUse::kX87Waiting;
  return x87 && (PendingX87(s.state()) & (x87::kInvalid | x87::kOverflow | x87::kUnderflow));
}

bool FitsSigned(int64_t value, unsigned bits) {
  const int64_t limit = int64_t{1} << (bits - 1);
  return value >= -limit && value < limit;
}

/// The quotient of DIV or IDIV doesn't exist or doesn't fit.
bool DivideError(const CpuState& state, uint32_t divisor, unsigned bytes, bool is_signed) {
  const unsigned bits = 8 * bytes;
  if (divisor == 0) return true;
  uint64_t dividend = bytes == 1 ? ReadLow(state, kEax, 2)
                                 : uint64_t{ReadLow(state, kEdx, bytes)} << bits | ReadLow(state, kEax, bytes);
  if (!is_signed) return dividend / divisor >> bits != 0;
  const unsigned spare = 64 - 2 * bits;
  const int64_t numerator = static_cast<int64_t>(dividend << spare) >> spare;
  const int64_t denominator = static_cast<int64_t>(uint64_t{divisor} << (64 - bits)) >> (64 - bits);
  if (denominator == -1) return numerator == INT64_MIN || !FitsSigned(-numerator, bits);
  return !FitsSigned(numerator / denominator, bits);
}

void ExecuteOn(Step& s, MemoryOperand& memory) {
  CpuState& state = s.state();
  const bool simd = s.d.fpu == FpuUse::kSse || s.d.fpu == FpuUse::kSseAndMmx || s.d.fpu == FpuUse::kAvx;
  const bool fpu = s.d.fpu != FpuUse::kNone;
  if (simd) CheckSimdExceptions(s, memory);
  const X87Pointers pointers = fpu ? LoadPointers(state) : X87Pointers{};
  // Instructions that don't wait see pending errors as they are.
  const bool waits = fpu && s.d.fpu != FpuUse::kX87NoWait;
  const uint16_t hidden = waits ? HideIgnoredErrors(s) : uint16_t{0};
  NativeFrame frame = MakeFrame(s, memory);
  Run(s, frame);
  if (fpu) SetX87Pointers(s, memory, pointers);
  if (!X87StoreSuppressed(s)) memory.WriteBack();
  RestoreIgnoredErrors(s, hidden);
  std::memcpy(state.gpr.data(), frame.gpr, sizeof frame.gpr);
  state.eflags = (state.eflags & ~kArithmeticFlags) | (static_cast<uint32_t>(frame.flags) & kArithmeticFlags);
}

}  // namespace

void ExecuteNative(Step& s) {
  MemoryOperand memory(s);
  ExecuteOn(s, memory);
}

void ExecuteDivide(Step& s) {
  MemoryOperand memory(s);
  const Operand& op = s.d.Op(0);
  const unsigned bytes = op.size / 8u;
  uint32_t divisor = 0;
  if (memory.Present()) {
    std::memcpy(&divisor, memory.Buffer(), bytes);
  } else {
    divisor = ReadGpr(s.state(), op.reg.value);
  }
  if (DivideError(s.state(), divisor, bytes, s.d.insn.mnemonic == ZYDIS_MNEMONIC_IDIV)) {
    s.raised = GuestFault{Vector::kDivideError, std::nullopt};
    return;
  }
  ExecuteOn(s, memory);
}

}  // namespace ring3
