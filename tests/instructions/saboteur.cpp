#include "tests/instructions/saboteur.h"

#include <Zydis/Zydis.h>

#include <algorithm>
#include <cstring>
#include <string_view>

namespace ring3 {
namespace {

struct HostInstruction {
  uint8_t* at;
  ZydisDecodedInstruction info;
  ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];

  bool HasBase(ZydisRegister base) const {
    for (unsigned i = 0; i < info.operand_count_visible; ++i) {
      if (operands[i].type == ZYDIS_OPERAND_TYPE_MEMORY && operands[i].mem.base == base) return true;
    }
    return false;
  }
  /// LEA that adds the window's base.
  bool Rebiases(ZydisRegister target) const {
    return info.mnemonic == ZYDIS_MNEMONIC_LEA && operands[0].reg.value == target &&
           (operands[1].mem.base == ZYDIS_REGISTER_R14 || operands[1].mem.index == ZYDIS_REGISTER_R14);
  }
};

/// A mutation of the first host instruction that `change` accepts.
Mutation OnInstruction(std::function<bool(HostInstruction&)> change) {
  return [change](const FreshBlock& fresh) {
    static const ZydisDecoder kDecoder = [] {
      ZydisDecoder d;
      ZydisDecoderInit(&d, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
      return d;
    }();
    for (size_t at = 0; at < fresh.code.size();) {
      HostInstruction insn{.at = &fresh.code[at]};
      if (ZYAN_FAILED(ZydisDecoderDecodeFull(&kDecoder, insn.at, fresh.code.size() - at, &insn.info, insn.operands))) {
        return false;
      }
      if (change(insn)) return true;
      at += insn.info.length;
    }
    return false;
  };
}

bool ChangeFlags(HostInstruction& insn) {
  // lea r15, [r15 + d8] and add r15, d8 are of one length.
  constexpr uint8_t kLea[] = {0x4D, 0x8D, 0x7F}, kAdd[] = {0x49, 0x83, 0xC7};
  if (insn.info.length != 4 || !std::equal(std::begin(kLea), std::end(kLea), insn.at)) return false;
  std::copy(std::begin(kAdd), std::end(kAdd), insn.at);
  return true;
}

bool ChangeDisplacement(HostInstruction& insn) {
  const bool operand = insn.HasBase(ZYDIS_REGISTER_R14) || insn.HasBase(ZYDIS_REGISTER_RBP);
  if (!operand || insn.info.mnemonic == ZYDIS_MNEMONIC_LEA || insn.info.raw.disp.size == 0) return false;
  insn.at[insn.info.raw.disp.offset] ^= 4;
  return true;
}

bool LeaveOutRebias(HostInstruction& insn) {
  constexpr uint8_t kNop = 0x90;
  const bool rebias = insn.Rebiases(ZYDIS_REGISTER_RBP) || insn.Rebiases(ZYDIS_REGISTER_R15);
  if (rebias) std::fill_n(insn.at, insn.info.length, kNop);
  return rebias;
}

/// The immediate of MOV to [r15 - 4]: a return address.
bool ChangeReturnAddress(HostInstruction& insn) {
  const bool store =
      insn.info.mnemonic == ZYDIS_MNEMONIC_MOV && insn.HasBase(ZYDIS_REGISTER_R15) && insn.info.raw.imm[0].size == 32;
  if (store) ++insn.at[insn.info.raw.imm[0].offset];
  return store;
}

/// The immediate of MOV to r8d: the EIP that an exit reports.
bool ChangeExitEip(HostInstruction& insn) {
  const bool exit = insn.info.mnemonic == ZYDIS_MNEMONIC_MOV && insn.operands[0].type == ZYDIS_OPERAND_TYPE_REGISTER &&
                    insn.operands[0].reg.value == ZYDIS_REGISTER_R8D && insn.info.raw.imm[0].size == 32;
  if (exit) ++insn.at[insn.info.raw.imm[0].offset];
  return exit;
}

bool TakeLowByte(HostInstruction& insn) {
  constexpr uint8_t kHighBit = 0x20;
  for (unsigned i = 0; i < insn.info.operand_count_visible; ++i) {
    const ZydisDecodedOperand& op = insn.operands[i];
    if (op.type != ZYDIS_OPERAND_TYPE_REGISTER || op.encoding != ZYDIS_OPERAND_ENCODING_MODRM_REG) continue;
    if (op.reg.value < ZYDIS_REGISTER_AH || op.reg.value > ZYDIS_REGISTER_BH) continue;
    insn.at[insn.info.raw.modrm.offset] &= static_cast<uint8_t>(~kHighBit);
    return true;
  }
  return false;
}

bool InvertCondition(HostInstruction& insn) {
  const bool near_jcc = insn.info.meta.category == ZYDIS_CATEGORY_COND_BR && insn.at[0] == 0x0F;
  if (near_jcc) insn.at[1] ^= 1;
  return near_jcc;
}

bool ChangeRecovery(const FreshBlock& fresh) {
  for (RecoveryEntry& entry : fresh.block.recovery) {
    if (entry.eip == fresh.block.key.eip) continue;
    ++entry.eip;
    return true;
  }
  return false;
}

bool ForgetWatch(const FreshBlock& fresh) {
  fresh.machine.Physical().SetWatched(fresh.block.key.physical, false);
  return true;
}

/// What the block would look like to a jump that still goes to its predecessor.
bool KeepLink(const FreshBlock& fresh) {
  constexpr uint8_t kJump = 0xE9;
  if (!fresh.earlier || fresh.code.size() < 5) return false;
  const auto distance = static_cast<int32_t>(fresh.earlier - (fresh.code.data() + 5));
  fresh.code[0] = kJump;
  std::memcpy(&fresh.code[1], &distance, sizeof distance);
  return true;
}

}  // namespace

const std::vector<NamedMutation>& AllMutations() {
  static const std::vector<NamedMutation> mutations = {
      {"a stack adjustment changes the flags", OnInstruction(ChangeFlags)},
      {"a wrong displacement", OnInstruction(ChangeDisplacement)},
      {"a rebias is left out", OnInstruction(LeaveOutRebias)},
      {"a return address is off by one", OnInstruction(ChangeReturnAddress)},
      {"the EIP of an exit is off by one", OnInstruction(ChangeExitEip)},
      {"a low byte register for a high one", OnInstruction(TakeLowByte)},
      {"an inverted condition", OnInstruction(InvertCondition)},
      {"a fault is reported for the wrong EIP", ChangeRecovery},
      {"a write to code is missed", ForgetWatch},
      {"a link to a block that is gone stays", KeepLink},
  };
  return mutations;
}

Saboteur::Saboteur(Mutation mutation) : mutation_(std::move(mutation)) {
  dump_ = fopencookie(this, "w", {.read = nullptr, .write = OnDump, .seek = nullptr, .close = nullptr});
  setvbuf(dump_, nullptr, _IONBF, 0);  // so that it is told before the block runs
}

Saboteur::~Saboteur() { std::fclose(dump_); }

ssize_t Saboteur::OnDump(void* self, const char* text, size_t bytes) {
  const std::string_view line(text, bytes);
  const size_t address = line.find(" host bytes at 0x");
  if (line.starts_with("block eip ") && address != line.npos) {
    constexpr size_t kTextBytes = sizeof " host bytes at " - 1;
    const std::string number(line.substr(address + kTextBytes));
    static_cast<Saboteur*>(self)->Spoil(std::stoull(number, nullptr, 16));
  }
  return static_cast<ssize_t>(bytes);
}

void Saboteur::Spoil(uint64_t host_address) {
  if (!machine_) return;
  CodeCache& cache = machine_->GetTranslator().Cache();
  Block& block = cache.Get(cache.FindByHost(host_address));
  const auto known = std::find_if(made_.begin(), made_.end(), [&](const auto& m) { return m.first == block.key; });
  uint8_t* const code = cache.At(block.host_offset);
  const FreshBlock fresh{*machine_, block, {code, block.host_bytes}, known == made_.end() ? nullptr : known->second};
  applied_ += mutation_(fresh);
  if (known == made_.end()) made_.emplace_back(block.key, code);
}

}  // namespace ring3
