#include "tests/instructions/trial_builder.h"

#include <cstring>

#include "monitor/cpu/guest_decoder.h"
#include "tests/instructions/fpu_noise.h"
#include "tests/instructions/operand_placement.h"
#include "tests/instructions/segment_pool.h"

namespace ring3 {
namespace {

constexpr uint8_t kOperandSize = 0x66, kAddressSize = 0x67, kLock = 0xF0, kRepne = 0xF2, kRep = 0xF3;
constexpr unsigned kLongest = 15;

bool IsOperandPrefix(uint8_t byte) { return byte == kOperandSize || byte == kRep || byte == kRepne; }

bool Decode(const Bytes& code, bool code32, SingleTrial& trial) {
  static const ZydisDecoder kDecoder32 = MakeGuestDecoder(DecoderKind::Of(FindCpuModel("max"), true)),
                            kDecoder16 = MakeGuestDecoder(DecoderKind::Of(FindCpuModel("max"), false));
  trial.decoded = ZYAN_SUCCESS(ZydisDecoderDecodeFull(code32 ? &kDecoder32 : &kDecoder16, code.data(), code.size(),
                                                      &trial.insn, trial.operands));
  return trial.decoded;
}

class Builder {
 public:
  Builder(const EncodingRow& row, const AddressForm& form, uint64_t seed)
      : row_(row), form_(form), random_(seed), p_(trial_.program) {
    p_.seed = static_cast<uint32_t>(seed);
  }

  std::optional<SingleTrial> Build() {
    constexpr uint32_t kModes = 8;
    const uint32_t mode = random_.Below(kModes);
    p_.cpl = random_.OneIn(3) ? 0 : 3;
    p_.segmentation = PickSegments(mode < 3   ? CodeKind::kFlat
                                   : mode < 5 ? CodeKind::kSegmented32
                                              : CodeKind::kSegmented16,
                                   random_);
    Encode();
    if (!Decode(p_.code, p_.Code32(), trial_) && row_.mnemonic != ZYDIS_MNEMONIC_INVALID && !HasLock()) return {};
    if (trial_.decoded) p_.code.resize(trial_.insn.length);
    PlaceCode();
    State();
    if (trial_.decoded) {
      PlaceOperands(trial_, random_);
    }
    if (Incomparable(trial_)) {
      if (p_.cpl == 3) return {};
      p_.cpl = 3;
      if (Incomparable(trial_)) return {};
    }
    return std::move(trial_);
  }

 private:
  void Encode() {
    const bool code32 = p_.Code32();
    if (row_.form == OperandForm::kMemory && form_.address16 == code32) Add(kAddressSize);
    if (row_.form != OperandForm::kMemory && random_.OneIn(8)) Add(kAddressSize);
    if (random_.OneIn(4)) Add(random_.From(kSegmentPrefixes));
    if (random_.OneIn(16)) Add(kOperandSize);
    if (random_.OneIn(12)) Add(kLock);
    if (random_.OneIn(12) || (row_.form == OperandForm::kNone && random_.OneIn(3))) {
      Add(random_.OneIn(2) ? kRep : kRepne);
    }
    if (random_.OneIn(64)) Add(random_.From(kSegmentPrefixes));
    trial_.prefixes = static_cast<unsigned>(p_.code.size());
    p_.code.insert(p_.code.end(), row_.opcode.begin(), row_.opcode.end());
    while (IsOperandPrefix(p_.code[trial_.prefixes])) ++trial_.prefixes;
    trial_.system = p_.code[trial_.prefixes] == 0x0F && p_.code[trial_.prefixes + 1] <= 1;
    const uint8_t modrm = random_.From(row_.modrm);
    switch (row_.form) {
      case OperandForm::kNone:
        break;
      case OperandForm::kRegister:
        Add(modrm);
        break;
      case OperandForm::kMemory:
        Add(static_cast<uint8_t>(modrm | form_.mod << 6 | form_.rm));
        if (form_.HasSib()) Add(form_.sib);
        break;
    }
    // Displacement and immediates. Small numbers keep relative branches in the code.
    constexpr unsigned kTail = 16;
    const bool small = random_.OneIn(2);
    for (unsigned i = 0; i < kTail; ++i) {
      const bool high = i % 4 != 0;
      Add(static_cast<uint8_t>(small && high ? (random_.OneIn(8) ? 0xFF : 0) : random_.Value()));
    }
    if (p_.code.size() > kLongest) p_.code.resize(kLongest);
  }

  void PlaceCode() {
    const auto length = static_cast<uint32_t>(p_.code.size());
    p_.offset = guest::kCodeBytes / 4 + random_.Below(64);
    if (random_.OneIn(16)) p_.offset = kPageSize - random_.Below(length + 1);              // across pages
    if (random_.OneIn(24)) p_.offset = guest::kCodeBytes - 1 - random_.Below(length + 1);  // into nothing, or a limit
    if (p_.offset + length > guest::kCodeBytes) p_.code.resize(guest::kCodeBytes - p_.offset);
  }

  void State() {
    for (uint32_t& r : p_.gpr) r = random_.Value();
    if (!random_.OneIn(4)) p_.gpr[kEcx] = random_.Below(70);
    constexpr uint32_t kArithmetic = eflags::kCf | eflags::kPf | eflags::kAf | eflags::kZf | eflags::kSf | eflags::kOf;
    p_.eflags |= random_.Word() & kArithmetic;
    if (random_.OneIn(4)) p_.eflags |= eflags::kDf;
    if (random_.OneIn(8)) p_.eflags |= eflags::kId;
    if (random_.OneIn(48)) p_.eflags |= eflags::kTf;
    p_.fxsave = NoisyFpu(random_);
  }

  bool HasLock() const {
    for (uint8_t byte : p_.code) {
      if (byte == kLock) return true;
      if (byte == row_.opcode.back()) break;
    }
    return false;
  }
  void Add(uint8_t byte) { p_.code.push_back(byte); }

  static constexpr uint8_t kSegmentPrefixes[] = {0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65};

  const EncodingRow& row_;
  const AddressForm& form_;
  Random random_;
  SingleTrial trial_;
  Program& p_;
};

}  // namespace

std::optional<SingleTrial> BuildTrial(const EncodingRow& row, const AddressForm& form, uint64_t seed) {
  return Builder(row, form, seed).Build();
}

bool NeverComparable(const EncodingRow& row) {
  SingleTrial trial;
  trial.program.segmentation.emplace();
  trial.program.segmentation->selectors.fill(guest::kCode3);
  trial.program.code = row.opcode;
  trial.program.code.push_back(row.modrm.front());
  trial.program.code.resize(kLongest);
  Decode(trial.program.code, true, trial);
  return Incomparable(trial);
}

}  // namespace ring3
