#include "tests/instructions/operand_placement.h"

#include <algorithm>
#include <cstring>

#include "tests/instructions/fpu_noise.h"
#include "tests/instructions/segment_pool.h"

namespace ring3 {
namespace {

constexpr uint32_t kLow16 = 0xFFFF, kSseBytes = 16, kFxsaveBytes = 512, kRepeatedBytes = 0x1000, kPushedBytes = 32;

class Placement {
 public:
  Placement(SingleTrial& trial, Random& random) : t_(trial), p_(trial.program), insn_(trial.insn), random_(random) {}

  void Run() {
    Stack();
    Registers();
    for (unsigned i = 0; i < insn_.operand_count; ++i) {
      const ZydisDecodedOperand& op = t_.operands[i];
      if (op.type != ZYDIS_OPERAND_TYPE_MEMORY || op.mem.type == ZYDIS_MEMOP_TYPE_AGEN) continue;
      if (op.visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT || op.mem.base == ZYDIS_REGISTER_NONE) {
        Explicit(op);
      } else if (!IsStackPointer(op.mem.base)) {
        Implicit(op);
      }
    }
    FarPointer();
  }

 private:
  static bool IsStackPointer(ZydisRegister r) { return r == ZYDIS_REGISTER_ESP || r == ZYDIS_REGISTER_SP; }
  static unsigned Number(ZydisRegister r) { return static_cast<unsigned>(ZydisRegisterGetId(r)); }
  static Seg SegmentOf(ZydisRegister r) { return static_cast<Seg>(ZydisRegisterGetId(r)); }
  SegmentRegister Segment(Seg s) const {
    return p_.segmentation->Load(p_.segmentation->selectors[static_cast<unsigned>(s)], p_.cpl);
  }
  static bool CoversStack(const SegmentRegister& s) {
    return s.base >= guest::kStack - kLow16 - 1 && s.base < guest::kStack + guest::kStackBytes;
  }

  uint32_t Pick(uint32_t base, uint32_t bytes, uint32_t size, const SegmentRegister& segment) {
    const uint32_t back = random_.Below(size + 1), end = base + bytes;
    switch (random_.Below(16)) {
      case 0:
      case 1:
        return base + bytes / 4 + random_.Below(bytes / 2);  // unaligned
      case 2:
        return base + kPageSize - back;  // across two pages
      case 3:
        return end - back;  // out of the region, or just not
      case 4:
        return base - back;
      case 5:
        return random_.Word();
      case 6:
        return segment.base + segment.limit + 1 - back;  // across the limit
      case 7:
        return segment.base + (random_.OneIn(2) ? 0u : 0x1'0000u) - back;  // around the ends of 4 GiB and 64 KiB
      default:
        return base + bytes / 4 + random_.Below(bytes / 128) * 64;
    }
  }
  uint32_t Target(const SegmentRegister& segment, uint32_t size, bool stack) {
    return stack || CoversStack(segment) ? Pick(guest::kStack, guest::kStackBytes, size, segment)
                                         : Pick(guest::kData, guest::kDataBytes, size, segment);
  }
  uint32_t Middle(const SegmentRegister& segment) {
    return guest::kStack + guest::kStackBytes / 2 + random_.Below(64) * 4 - segment.base;
  }

  /// ESP and EBP: mostly in the middle of the stack.
  void Stack() {
    const SegmentRegister ss = Segment(Seg::kSs);
    for (Gpr gpr : {kEsp, kEbp}) {
      uint32_t offset = random_.OneIn(6) ? Target(ss, 8, true) - ss.base : Middle(ss);
      if (!ss.Big()) offset = (offset & kLow16) | (random_.Word() & ~kLow16);
      p_.gpr[gpr] = offset;
      NoteWrap(offset, kPushedBytes);
      NoteWrap(offset - kPushedBytes, kPushedBytes);
    }
    constexpr unsigned kWords = 16;
    Bytes words;
    for (unsigned i = 0; i < kWords; ++i) AppendWord(words, StackWord(i), insn_.operand_width == 16 ? 2 : 4);
    uint32_t offset = p_.gpr[kEsp];
    if (!ss.Big()) offset &= kLow16;
    Patch(ss.base + offset, words);
  }
  /// Return addresses, selectors and flags that make returns and pops succeed sometimes.
  uint32_t StackWord(unsigned index) {
    const bool far = insn_.mnemonic != ZYDIS_MNEMONIC_RET || insn_.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR;
    const bool pops_segment = insn_.mnemonic == ZYDIS_MNEMONIC_POP;
    if (index == 0 && pops_segment) return PickSelector(random_);
    if (index == 0) return random_.OneIn(4) ? random_.Value() : CodeTarget();
    if (index == 1 && far) return PickCodeSelector(random_);
    return random_.Value();
  }
  /// EIP of an INT3.
  uint32_t CodeTarget() { return guest::kCode - p_.CodeBase() + random_.Below(guest::kCodeBytes); }

  static void AppendWord(Bytes& bytes, uint32_t value, unsigned size) {
    const auto* from = reinterpret_cast<const uint8_t*>(&value);
    bytes.insert(bytes.end(), from, from + size);
  }
  void Patch(uint32_t address, Bytes bytes) { p_.patches.push_back({address, std::move(bytes)}); }

  /// Values of register operands that random numbers would hardly ever be.
  void Registers() {
    switch (insn_.mnemonic) {
      case ZYDIS_MNEMONIC_DIV:
      case ZYDIS_MNEMONIC_IDIV:
        if (random_.OneIn(2)) p_.gpr[kEdx] = p_.gpr[kEdx] & 0x80 ? ~random_.Below(4) : random_.Below(4);
        break;
      case ZYDIS_MNEMONIC_BT:
      case ZYDIS_MNEMONIC_BTS:
      case ZYDIS_MNEMONIC_BTR:
      case ZYDIS_MNEMONIC_BTC:
        if (t_.operands[1].type == ZYDIS_OPERAND_TYPE_REGISTER && !random_.OneIn(4)) {
          uint32_t& bit = p_.gpr[Number(t_.operands[1].reg.value)];
          bit = random_.Below(0x4000) - 0x2000;
        }
        break;
      default:
        break;
    }
    if (!LoadsSelector()) return;
    for (unsigned i = 0; i < insn_.operand_count_visible; ++i) {
      const ZydisDecodedOperand& op = t_.operands[i];
      const bool read = op.actions & ZYDIS_OPERAND_ACTION_MASK_READ;
      if (op.type != ZYDIS_OPERAND_TYPE_REGISTER || !read) continue;
      const ZydisRegisterClass kind = ZydisRegisterGetClass(op.reg.value);
      if (kind != ZYDIS_REGCLASS_GPR16 && kind != ZYDIS_REGCLASS_GPR32) continue;
      p_.gpr[Number(op.reg.value)] = PickSelector(random_) | (random_.Word() & ~kLow16);
    }
  }
  bool LoadsSelector() const {
    switch (insn_.mnemonic) {
      case ZYDIS_MNEMONIC_LAR:
      case ZYDIS_MNEMONIC_LSL:
      case ZYDIS_MNEMONIC_VERR:
      case ZYDIS_MNEMONIC_VERW:
        return true;
      case ZYDIS_MNEMONIC_MOV:
        return t_.operands[0].type == ZYDIS_OPERAND_TYPE_REGISTER &&
               ZydisRegisterGetClass(t_.operands[0].reg.value) == ZYDIS_REGCLASS_SEGMENT;
      default:
        return false;
    }
  }

  void Explicit(const ZydisDecodedOperand& op) {
    const SegmentRegister segment = Segment(SegmentOf(op.mem.segment));
    const uint32_t size = std::max<uint32_t>(op.size / 8, 1);
    const bool stack = IsStackPointer(op.mem.base) || op.mem.base == ZYDIS_REGISTER_EBP;
    uint32_t offset = Target(segment, size, stack && !CoversStack(segment)) - segment.base;
    if (insn_.address_width == 16) offset &= kLow16;
    offset = Solve(op, offset);
    const uint32_t target = segment.base + offset;
    t_.target = target;
    t_.operand_bytes = size;
    t_.misaligned = (size == kSseBytes || size == kFxsaveBytes) && target % kSseBytes != 0;
    NoteWrap(offset, size);
    Patch(target, Contents(size));
    if (insn_.mnemonic == ZYDIS_MNEMONIC_CMPXCHG && random_.OneIn(2)) {
      p_.gpr[kEax] = random_.Value();
      Bytes same;
      AppendWord(same, p_.gpr[kEax], 4);
      Patch(target, same);
    }
  }

  void NoteWrap(uint32_t offset, uint32_t size) { t_.wraps |= offset > 0u - size; }

  Bytes Contents(uint32_t size) {
    const bool branches = insn_.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE;
    const uint32_t width = insn_.operand_width == 16 ? 2 : 4;
    Bytes bytes;
    switch (insn_.mnemonic) {
      case ZYDIS_MNEMONIC_LDS:
      case ZYDIS_MNEMONIC_LES:
      case ZYDIS_MNEMONIC_LFS:
      case ZYDIS_MNEMONIC_LGS:
      case ZYDIS_MNEMONIC_LSS:
        AppendWord(bytes, random_.Value(), width);
        AppendWord(bytes, PickSelector(random_), 2);
        return bytes;
      default:
        break;
    }
    if (LoadsSelector()) {
      AppendWord(bytes, PickSelector(random_), 2);
      return bytes;
    }
    if (branches && !random_.OneIn(4)) {
      AppendWord(bytes, CodeTarget(), width);
      AppendWord(bytes, PickCodeSelector(random_), 2);
      return bytes;
    }
    return NoisyOperand(std::min<uint32_t>(size, 512), random_);
  }

  /// Sets the operand's registers, or its displacement, so that it names `offset`, or the next one below if it must be
  /// even. Returns what it names.
  uint32_t Solve(const ZydisDecodedOperand& op, uint32_t offset) {
    const auto displacement = static_cast<uint32_t>(op.mem.disp.value);
    const bool has_base = op.mem.base != ZYDIS_REGISTER_NONE, has_index = op.mem.index != ZYDIS_REGISTER_NONE;
    if (!has_base) {
      uint32_t indexed = 0;
      if (has_index) indexed = Index(op) * op.mem.scale;
      // 16-bit displacements in 16-bit addressing only; MOV's offset operands have the address size too.
      const unsigned bytes = insn_.raw.disp.size / 8;
      const uint32_t value = offset - indexed;
      if (insn_.raw.disp.offset + bytes <= p_.code.size()) std::memcpy(&p_.code[insn_.raw.disp.offset], &value, bytes);
      return offset;
    }
    const unsigned base = Number(op.mem.base);
    if (has_index && Number(op.mem.index) == base) {
      const uint32_t factor = op.mem.scale + 1u;
      const uint32_t wanted = offset - displacement;
      p_.gpr[base] = factor == 2 ? wanted / 2 : wanted * Inverse(factor);
      return factor == 2 ? offset - wanted % 2 : offset;
    }
    const uint32_t indexed = has_index ? Index(op) * op.mem.scale : 0;
    SetBase(base, offset - displacement - indexed);
    return offset;
  }
  uint32_t Index(const ZydisDecodedOperand& op) {
    uint32_t& index = p_.gpr[Number(op.mem.index)];
    if (!random_.OneIn(4)) index = random_.Below(64) - 16;
    return index;
  }
  void SetBase(unsigned base, uint32_t value) {
    // 16-bit addressing ignores the upper half.
    p_.gpr[base] = insn_.address_width == 16 ? (value & kLow16) | (random_.Word() & ~kLow16) : value;
  }
  /// Of an odd number modulo 2^32.
  static uint32_t Inverse(uint32_t odd) {
    uint32_t x = odd;
    for (int i = 0; i < 5; ++i) x *= 2 - odd * x;
    return x;
  }

  /// String operands, XLAT's table, MASKMOV's destination.
  void Implicit(const ZydisDecodedOperand& op) {
    const SegmentRegister segment = Segment(SegmentOf(op.mem.segment));
    const uint32_t size = std::max<uint32_t>(op.size / 8, 1);
    const uint32_t target = Target(segment, size, false);
    uint32_t offset = target - segment.base;
    if (insn_.mnemonic == ZYDIS_MNEMONIC_XLAT) offset -= p_.gpr[kEax] & 0xFF;
    SetBase(Number(op.mem.base), offset);
    NoteStringWrap(offset, size);
    Patch(target, NoisyOperand(std::max<uint32_t>(size, 16), random_));
    const bool copies = op.mem.base == ZYDIS_REGISTER_EDI || op.mem.base == ZYDIS_REGISTER_DI;
    if (copies && random_.OneIn(6)) {
      p_.gpr[kEdi] = p_.gpr[kEsi] + random_.Below(9) - 4;  // overlapping
      NoteStringWrap(p_.gpr[kEdi], size);
    }
  }
  /// Repeated, it may reach the end from anywhere, in either direction.
  void NoteStringWrap(uint32_t offset, uint32_t size) {
    const bool repeated = insn_.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE);
    const uint32_t reach = repeated ? kRepeatedBytes : size;
    NoteWrap(offset, reach);
    t_.wraps |= offset <= reach && (p_.eflags & eflags::kDf);
  }

  /// Far branches that name their target directly.
  void FarPointer() {
    if (t_.operands[0].type != ZYDIS_OPERAND_TYPE_POINTER || random_.OneIn(4)) return;
    const unsigned width = insn_.operand_width == 16 ? 2 : 4;
    const uint32_t target = CodeTarget();
    const uint16_t selector = PickCodeSelector(random_);
    const unsigned at = insn_.raw.imm[0].offset;
    if (at + width + sizeof selector > p_.code.size()) return;
    std::memcpy(&p_.code[at], &target, width);
    std::memcpy(&p_.code[at + width], &selector, sizeof selector);
  }

  SingleTrial& t_;
  Program& p_;
  const ZydisDecodedInstruction& insn_;
  Random& random_;
};

}  // namespace

void PlaceOperands(SingleTrial& trial, Random& random) { Placement(trial, random).Run(); }

}  // namespace ring3
