// Makes the random programs of sequence.h.
#include <cstring>

#include "monitor/cpu/guest_decoder.h"
#include "tests/instructions/fpu_noise.h"
#include "tests/instructions/segment_pool.h"
#include "tests/instructions/sequence.h"
#include "tests/instructions/trial_builder.h"

namespace ring3 {
namespace {

using Kind = SequenceItem::Reference::Kind;

constexpr uint32_t kLow16 = 0xFFFF;
constexpr unsigned kMiddle = guest::kDataBytes / 2;

class Writer {
 public:
  explicit Writer(uint64_t seed) : random_(seed), p_(sequence_.program) { p_.seed = static_cast<uint32_t>(seed); }

  Sequence Write() {
    State();
    const unsigned constructs = 4 + random_.Below(40);
    for (unsigned i = 0; i < constructs; ++i) Construct();
    Bind();
    return std::move(sequence_);
  }

 private:
  /// EBX, ESI and EDI in the data, EBP and ESP in the stack: most accesses relative to them succeed.
  void State() {
    p_.cpl = random_.OneIn(2) ? 0 : 3;
    switch (random_.Below(4)) {
      case 0:
        p_.segmentation = SequenceSegments(CodeKind::kSegmented32, random_);
        break;
      case 1:
        p_.segmentation = SequenceSegments(CodeKind::kSegmented16, random_);
        break;
      default:
        p_.segmentation = SequenceSegments(CodeKind::kFlat, random_);
    }
    code32_ = p_.Code32();
    p_.offset = random_.OneIn(4) ? kPageSize - random_.Below(128) : 64 + random_.Below(1024);
    p_.writable_code = random_.OneIn(4);
    for (uint32_t& r : p_.gpr) r = random_.Value();
    const uint32_t data = guest::kData - Base(Seg::kDs), stack = guest::kStack - Base(Seg::kSs);
    for (Gpr gpr : {kEbx, kEsi, kEdi}) p_.gpr[gpr] = data + kMiddle + random_.Below(64) * 16;
    for (Gpr gpr : {kEsp, kEbp}) p_.gpr[gpr] = stack + guest::kStackBytes / 2 + random_.Below(16) * 16;
    if (!code32_) {
      for (Gpr gpr : {kEsi, kEdi}) p_.gpr[gpr] &= 0x0FFF;
    }
    p_.eflags |= random_.Word() & (eflags::kCf | eflags::kPf | eflags::kAf | eflags::kZf | eflags::kSf | eflags::kOf);
    if (random_.OneIn(8)) p_.eflags |= eflags::kDf;
    p_.fxsave = NoisyFpu(random_);
  }
  uint32_t Base(Seg s) const {
    return p_.segmentation->Load(p_.segmentation->selectors[static_cast<unsigned>(s)], p_.cpl).base;
  }

  void Construct() {
    switch (random_.Below(16)) {
      case 0:
      case 1:
        return Branch();
      case 2:
        return Loop();
      case 3:
        return Call();
      case 4:
        return Indirect();
      case 5:
        return String();
      case 6:
        return Frame();
      case 7:
        return p_.writable_code ? Modify() : FlagConsumer();
      case 8:
        return Bind();
      default:
        return Any();
    }
  }

  size_t Here() const { return sequence_.items.size(); }
  SequenceItem& Add(Bytes bytes) {
    sequence_.items.push_back({.bytes = std::move(bytes), .references = {}});
    return sequence_.items.back();
  }
  unsigned Width() const { return code32_ ? 4 : 2; }
  /// An opcode with a field of the code's size for an address.
  SequenceItem& AddReferring(Bytes opcode, Kind kind, size_t target, uint32_t addend = 0) {
    const auto at = static_cast<uint8_t>(opcode.size());
    opcode.resize(opcode.size() + Width());
    SequenceItem& item = Add(std::move(opcode));
    item.references.push_back({kind, at, static_cast<uint8_t>(Width()), target, addend});
    return item;
  }
  static uint8_t Byte(unsigned value) { return static_cast<uint8_t>(value); }

  void Branch() {
    pending_.push_back(Here());
    if (random_.OneIn(5)) {
      AddReferring({0xE9}, Kind::kRelative, Here());
    } else {
      AddReferring({0x0F, Byte(0x80 | random_.Below(16))}, Kind::kRelative, Here());
    }
  }
  /// Branches that wait for their target get it here.
  void Bind() {
    for (size_t item : pending_) sequence_.items[item].references.front().target = Here();
    pending_.clear();
  }

  /// mov byte [counter], n; ...; dec byte [counter]; jnz
  void Loop() {
    constexpr uint32_t kCounter = 0x3F00;
    const Bytes counter = DataAddress(kCounter);
    Bytes set = {0xC6, code32_ ? Byte(0x05) : Byte(0x06)}, decrement = {0xFE, code32_ ? Byte(0x0D) : Byte(0x0E)};
    set.insert(set.end(), counter.begin(), counter.end());
    set.push_back(Byte(1 + (random_.OneIn(8) ? 60 : random_.Below(4))));
    decrement.insert(decrement.end(), counter.begin(), counter.end());
    Add(set);
    const size_t top = Here();
    const unsigned body = 1 + random_.Below(4);
    const bool modifies = p_.writable_code && random_.OneIn(2);
    if (modifies) Modified();
    for (unsigned i = 0; i < body; ++i) random_.OneIn(5) && p_.writable_code ? Modify() : Any();
    if (modifies) Store(top, 2, random_.OneIn(2));  // the next round runs other code than this one
    Add(decrement);
    AddReferring({0x0F, 0x85}, Kind::kRelative, top);
  }
  Bytes DataAddress(uint32_t offset) const {
    const uint32_t address = guest::kData - Base(Seg::kDs) + offset;
    Bytes bytes(Width());
    std::memcpy(bytes.data(), &address, bytes.size());
    return bytes;
  }

  /// call f; jmp over; f: ...; ret
  void Call() {
    const size_t call = Here();
    AddReferring({0xE8}, Kind::kRelative, 0);
    const size_t over = Here();
    AddReferring({0xE9}, Kind::kRelative, 0);
    sequence_.items[call].references.front().target = Here();
    Balanced();
    random_.OneIn(4) ? Add({0xC2, 0x04, 0x00}) : Add({0xC3});
    sequence_.items[over].references.front().target = Here();
  }

  /// By a register, memory or a return address.
  void Indirect() {
    const size_t load = Here();
    switch (random_.Below(3)) {
      case 0:
        AddReferring({0xB9}, Kind::kOffset, 0);  // mov ecx, target
        Add({0xFF, Byte(random_.OneIn(3) ? 0xD1 : 0xE1)});
        break;
      case 1:
        AddReferring({0x68}, Kind::kOffset, 0);  // push target
        Add({0xC3});
        break;
      default:
        AddReferring({0xC7, 0x07}, Kind::kOffset, 0);  // mov [edi] or [bx], target
        if (!code32_) sequence_.items.back().bytes[1] = 0x07;
        Add({0xFF, Byte(random_.OneIn(3) ? 0x17 : 0x27)});
    }
    Any();
    sequence_.items[load].references.front().target = Here();
  }

  void String() {
    constexpr uint8_t kOpcodes[] = {0xA4, 0xA5, 0xA6, 0xA7, 0xAA, 0xAB, 0xAC, 0xAD, 0xAE, 0xAF};
    Bytes count = {0xB9};
    const uint32_t n = random_.OneIn(16) ? random_.Value() : random_.Below(40);
    count.resize(1 + Width());
    std::memcpy(&count[1], &n, Width());
    const bool repeated = !random_.OneIn(3);
    if (repeated) Add(count);
    if (random_.OneIn(4)) Add({Byte(random_.OneIn(2) ? 0xFC : 0xFD)});
    Bytes bytes;
    if (random_.OneIn(4)) bytes.push_back(0x66);
    if (random_.OneIn(8)) bytes.push_back(0x67);
    if (repeated) bytes.push_back(random_.OneIn(2) ? 0xF2 : 0xF3);
    bytes.push_back(random_.From(kOpcodes));
    Add(bytes);
    for (unsigned gpr : {kEsi, kEdi}) {  // back to where most accesses succeed
      Bytes restore = {Byte(0xB8 + gpr)};
      const Bytes address = DataAddress(code32_ ? kMiddle + 64 : 0x800);
      restore.insert(restore.end(), address.begin(), address.end());
      if (!random_.OneIn(8)) Add(restore);
    }
  }

  void Frame() {
    if (random_.OneIn(2)) {
      Add({0xC8, Byte(random_.Below(64)), 0, Byte(random_.OneIn(4) ? random_.Below(4) : 0)});  // enter
      Any();
      Any();
      Add({0xC9});  // leave
      return;
    }
    Add({0x55});                                                           // push ebp
    Add({0x89, 0xE5});                                                     // mov ebp, esp
    if (random_.OneIn(2)) Add({0x83, 0xEC, Byte(random_.Below(16) * 4)});  // sub esp
    if (random_.OneIn(4)) Add({0x83, 0xE4, 0xF0});                         // and esp, -16
    Any();
    Any();
    if (random_.OneIn(2)) {
      Add({0xC9});
    } else {
      Add({0x89, 0xEC});  // mov esp, ebp
      Add({0x5D});        // pop ebp
    }
  }

  /// Instructions that leave the stack as it was.
  void Balanced() {
    keep_stack_ = true;
    for (unsigned i = 1 + random_.Below(3); i > 0; --i) Any();
    keep_stack_ = false;
  }

  void FlagConsumer() {
    switch (random_.Below(5)) {
      case 0:
        Add({0x9C});  // pushf
        Add({0x58});  // pop eax
        break;
      case 1:
        Add({0x0F, Byte(0x90 | random_.Below(16)), Byte(0xC0 | random_.Below(3))});
        break;
      case 2:
        Add({0x9F});  // lahf
        break;
      case 3:
        Add({0x0F, Byte(0x40 | random_.Below(16)), Byte(0xC0 | random_.Below(3) << 3 | random_.Below(8))});
        break;
      default:
        Add({0x15, 0x11, 0x22});  // adc eax, ...
        sequence_.items.back().bytes.resize(1 + Width(), 0x33);
    }
  }

  /// A store into an instruction that follows at once or later, and perhaps comes again in a loop.
  void Modify() {
    const size_t store = Here();
    const bool opcode = random_.OneIn(2);
    Store(0, opcode ? 0 : 2, !opcode && random_.OneIn(2));
    if (opcode) sequence_.items[store].bytes.back() = random_.From(kIncrements);
    const unsigned between = random_.Below(3);
    for (unsigned i = 0; i < between; ++i) random_.OneIn(4) ? Branch() : Any();
    sequence_.items[store].references.front().target = Here();
    opcode ? void(Add({random_.From(kIncrements)})) : Modified();
  }
  /// An instruction whose last byte may be anything: add eax, imm8.
  void Modified() { Add({0x83, 0xC0, Byte(random_.Word())}); }
  /// Of a constant or of AL, into a byte of an item. CS is not writable and BX does not reach: through FS, which is
  /// flat.
  void Store(size_t target, uint32_t addend, bool from_register) {
    Bytes bytes = code32_ ? Bytes{0x64} : Bytes{0x67, 0x64};
    if (from_register) {
      bytes.push_back(0xA2);
    } else {
      bytes.insert(bytes.end(), {0xC6, 0x05});
    }
    const auto at = static_cast<uint8_t>(bytes.size());
    bytes.resize(bytes.size() + 4);
    if (!from_register) bytes.push_back(Byte(random_.Word()));
    Add(bytes).references.push_back({Kind::kLinear, at, 4, target, addend});
  }

  /// Any instruction that leaves the pointers alone, mostly.
  void Any() {
    constexpr unsigned kTries = 40;
    if (random_.OneIn(6)) return FlagConsumer();
    for (unsigned i = 0; i < kTries; ++i) {
      const EncodingRow& row = random_.From(AllRows());
      if (row.mnemonic == ZYDIS_MNEMONIC_INVALID || !row.offered) continue;
      if (row.opcode.size() > 1 && !random_.OneIn(4)) continue;  // mostly the one-byte map
      if (AddRow(row)) return;
    }
    Add({0x90});
  }

  bool AddRow(const EncodingRow& row) {
    constexpr unsigned kLongest = 15;
    SingleTrial trial;
    Program& one = trial.program;
    one.cpl = p_.cpl;
    one.segmentation = Segmentation{.ldt = {}, .selectors = p_.segmentation->selectors};
    Bytes code;
    if (random_.OneIn(16)) code.push_back(0xF0);
    code.insert(code.end(), row.opcode.begin(), row.opcode.end());
    const uint8_t modrm = random_.From(row.modrm);
    if (row.form == OperandForm::kRegister) code.push_back(modrm);
    if (row.form == OperandForm::kMemory) AppendMemory(modrm, code);
    while (code.size() < kLongest) code.push_back(Byte(random_.OneIn(2) ? random_.Below(8) : random_.Word()));
    static const ZydisDecoder kDecoder32 = MakeGuestDecoder(DecoderKind::Of(FindCpuModel("max"), true)),
                              kDecoder16 = MakeGuestDecoder(DecoderKind::Of(FindCpuModel("max"), false));
    trial.decoded = ZYAN_SUCCESS(ZydisDecoderDecodeFull(code32_ ? &kDecoder32 : &kDecoder16, code.data(), code.size(),
                                                        &trial.insn, trial.operands));
    if (!trial.decoded || Incomparable(trial) || Unwanted(trial)) return false;
    code.resize(trial.insn.length);
    Add(code);
    return true;
  }

  void AppendMemory(uint8_t modrm, Bytes& code) {
    constexpr uint8_t kBases32[] = {3, 3, 6, 5, 4}, kBases16[] = {7, 7, 4, 6, 5}, kDisplacement8 = 0x40;
    const uint8_t rm = code32_ ? random_.From(kBases32) : random_.From(kBases16);
    code.push_back(Byte(modrm | kDisplacement8 | rm));
    if (code32_ && rm == 4) code.push_back(random_.OneIn(8) ? Byte(random_.Word()) : Byte(0x24));
    code.push_back(Byte(random_.OneIn(2) ? random_.Below(8) * 16 : random_.Word()));
  }

  bool Unwanted(const SingleTrial& t) {
    switch (t.insn.mnemonic) {
      // Computed in C++, with flags that the SDM leaves undefined.
      case ZYDIS_MNEMONIC_AAA:
      case ZYDIS_MNEMONIC_AAS:
      case ZYDIS_MNEMONIC_AAD:
      case ZYDIS_MNEMONIC_AAM:
      case ZYDIS_MNEMONIC_DAA:
      case ZYDIS_MNEMONIC_DAS:
      // Noise as state: TF, reserved bits; images with the host's pointers.
      case ZYDIS_MNEMONIC_POPF:
      case ZYDIS_MNEMONIC_POPFD:
      case ZYDIS_MNEMONIC_LDMXCSR:
      case ZYDIS_MNEMONIC_FXRSTOR:
      case ZYDIS_MNEMONIC_FXSAVE:
      case ZYDIS_MNEMONIC_FLDENV:
      case ZYDIS_MNEMONIC_FNSTENV:
      case ZYDIS_MNEMONIC_FRSTOR:
      case ZYDIS_MNEMONIC_FNSAVE:
      // Selectors of noise: the host's descriptor table is not the guest's.
      case ZYDIS_MNEMONIC_LAR:
      case ZYDIS_MNEMONIC_LSL:
      case ZYDIS_MNEMONIC_VERR:
      case ZYDIS_MNEMONIC_VERW:
      // See Unspecified in sweep_runner.cpp.
      case ZYDIS_MNEMONIC_MASKMOVQ:
      case ZYDIS_MNEMONIC_MASKMOVDQU:
      case ZYDIS_MNEMONIC_CVTSD2SS:
      case ZYDIS_MNEMONIC_CVTPD2PS:
        return true;
      default:
        break;
    }
    const bool stops = t.insn.attributes & ZYDIS_ATTRIB_IS_PRIVILEGED ||
                       t.insn.meta.category == ZYDIS_CATEGORY_INTERRUPT || t.insn.meta.category == ZYDIS_CATEGORY_IO ||
                       t.insn.meta.category == ZYDIS_CATEGORY_IOSTRINGOP;
    if (stops) return !random_.OneIn(64);
    if (t.insn.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE) return true;  // made elsewhere, with targets
    for (unsigned i = 0; i < t.insn.operand_count; ++i) {
      const ZydisDecodedOperand& op = t.operands[i];
      if (op.type != ZYDIS_OPERAND_TYPE_REGISTER || !(op.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)) continue;
      const ZydisRegisterClass kind = ZydisRegisterGetClass(op.reg.value);
      if (kind == ZYDIS_REGCLASS_SEGMENT) return true;
      if (kind != ZYDIS_REGCLASS_GPR8 && kind != ZYDIS_REGCLASS_GPR16 && kind != ZYDIS_REGCLASS_GPR32) continue;
      const auto number = static_cast<unsigned>(ZydisRegisterGetId(op.reg.value));
      const bool high = kind == ZYDIS_REGCLASS_GPR8 && number > 3;
      const bool pointer = !high && number >= kEbx && kind != ZYDIS_REGCLASS_GPR8;
      const bool bl =
          kind == ZYDIS_REGCLASS_GPR8 && (op.reg.value == ZYDIS_REGISTER_BL || op.reg.value == ZYDIS_REGISTER_BH);
      const bool moves_stack = op.visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN && number == kEsp;
      if (moves_stack && keep_stack_) return true;
      if ((pointer || bl) && !moves_stack && !random_.OneIn(100)) return true;
    }
    return false;
  }

  // INC and DEC of EAX, ECX and EDX.
  static constexpr uint8_t kIncrements[] = {0x40, 0x41, 0x42, 0x48, 0x49, 0x4A, 0x90};

  Random random_;
  Sequence sequence_;
  Program& p_;
  bool code32_ = true, keep_stack_ = false;
  std::vector<size_t> pending_;
};

}  // namespace

Sequence MakeSequence(uint64_t seed) { return Writer(seed).Write(); }

}  // namespace ring3
