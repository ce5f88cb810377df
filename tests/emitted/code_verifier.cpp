#include "tests/emitted/code_verifier.h"

#include <fmt/core.h>

#include <algorithm>
#include <set>
#include <vector>

#include "tests/emitted/host_effects.h"
#include "tests/emitted/host_rules.h"
#include "translator/dump.h"

namespace ring3 {
namespace {

constexpr unsigned kEipScratch = 8;

class Verifier {
 public:
  explicit Verifier(const CodeUnderTest& block) : block_(block) {}

  std::string Run() {
    if (!Decode() || !CheckRecovery()) return report_;
    states_.assign(code_.size(), std::nullopt);
    Reach(0, HostState::Contract());
    while (!pending_.empty()) {
      const size_t index = *pending_.begin();
      pending_.erase(pending_.begin());
      Step(index);
    }
    return report_;
  }

 private:
  void Complain(const HostInstruction& insn, const std::string& why) {
    if (!complained_.insert({insn.offset, why}).second) return;
    unsigned length = 0;
    const std::string text = Disassemble(block_.code.subspan(insn.offset), insn.address, CodeSize::kHost, length);
    report_ += fmt::format("  {:4x}  {}: {}\n", insn.offset, text, why);
  }

  bool Decode() {
    ZydisDecoder decoder;
    ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    for (uint32_t at = 0; at < block_.code.size(); at += code_.back().info.length) {
      HostInstruction insn{.offset = at, .address = block_.host_address + at};
      const auto rest = block_.code.subspan(at);
      if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, rest.data(), rest.size(), &insn.info, insn.operands))) {
        report_ += fmt::format("  {:4x}  is no host instruction\n", at);
        return false;
      }
      starts_[at] = code_.size();
      code_.push_back(insn);
    }
    if (code_.empty()) report_ += "  there is no code\n";
    return !code_.empty();
  }

  /// False when there is no map to look things up in.
  bool CheckRecovery() {
    if (block_.recovery.empty() || block_.recovery.front().host_offset != 0) {
      report_ += "  the recovery map does not begin with the block\n";
      return false;
    }
    uint32_t last = 0;
    for (const RecoveryEntry& entry : block_.recovery) {
      const bool at_start = starts_.contains(entry.host_offset) || entry.host_offset == block_.code.size();
      if (!at_start) report_ += fmt::format("  {:4x}  has a recovery entry inside an instruction\n", entry.host_offset);
      if (entry.host_offset < last) report_ += "  the recovery map is not sorted\n";
      if (!entry.eip_in_scratch && !block_.may_resume_at(entry.eip)) {
        report_ += fmt::format("  {:4x}  resumes at {:08x}, which is not in the block\n", entry.host_offset, entry.eip);
      }
      last = entry.host_offset;
    }
    return true;
  }

  void Reach(size_t index, const HostState& state) {
    std::optional<HostState>& known = states_[index];
    if (!known) {
      known = state;
      pending_.insert(index);
      return;
    }
    if (known->pushed != state.pushed) Complain(code_[index], "is reached with and without a word on the host's stack");
    HostState joined = *known;
    for (size_t i = 0; i < joined.registers.size(); ++i) {
      joined.registers[i] = known->registers[i].Join(state.registers[i]);
    }
    joined.word = known->word.Join(state.word);
    if (joined == *known) return;
    known = joined;
    pending_.insert(index);
  }

  void Step(size_t index) {
    const HostInstruction& insn = code_[index];
    HostState state = *states_[index];
    if (const auto why = Forbidden(insn)) return Complain(insn, *why);
    CheckMemory(insn, state);
    CheckGuestRegisters(insn, state);
    if (insn.IsBranch()) {
      if (!Branch(insn, state)) return;
    } else {
      Execute(insn, state);
    }
    if (index + 1 == code_.size()) return Complain(insn, "runs off the block's end");
    Reach(index + 1, state);
  }

  void CheckMemory(const HostInstruction& insn, const HostState& state) {
    const bool busy = FindRecovery(block_.recovery, insn.offset).busy;
    for (unsigned i = 0; i < insn.info.operand_count; ++i) {
      const ZydisDecodedOperand& op = insn.operands[i];
      if (op.type != ZYDIS_OPERAND_TYPE_MEMORY || IsReturnCheck(op, state)) continue;
      const MemoryVerdict verdict = JudgeMemory(insn, op, state);
      if (!verdict.problem.empty()) Complain(insn, "the operand " + verdict.problem);
      if (verdict.reaches == Reaches::kGuestMemory && busy) Complain(insn, "may fault in a busy region");
      if (verdict.reaches == Reaches::kAbsolute) CheckAbsolute(insn, op, verdict.address);
      if (verdict.reaches == Reaches::kGuestMemory && insn.IsString() &&
          insn.info.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE) &&
          !state.registers[kEcx].Is32Bits()) {
        Complain(insn, "repeats more than 2^32 times");
      }
    }
  }

  /// The cache's last word, or a fault in what is reserved behind it.
  bool IsReturnCheck(const ZydisDecodedOperand& op, const HostState& state) const {
    const unsigned base = GeneralNumber(op.mem.base), index = GeneralNumber(op.mem.index);
    if (op.mem.type == ZYDIS_MEMOP_TYPE_AGEN || base == kNotGeneral || index == kNotGeneral) return false;
    return state.registers[base].holds == Holds::kCacheBase && state.registers[index].Is32Bits() &&
           op.mem.scale == 1 && block_.return_check != 0 && op.mem.disp.value == block_.return_check &&
           op.actions == ZYDIS_OPERAND_ACTION_READ && op.size == 32;
  }

  void CheckAbsolute(const HostInstruction& insn, const ZydisDecodedOperand& op, uint64_t address) {
    constexpr uint32_t kCounterCode = 32;
    const bool write = op.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
    const bool counter = block_.counts && insn.offset < kCounterCode && op.size == 64;
    const bool source = !write && block_.source.Holds(address, op.size / 8);
    if (!counter && !source) Complain(insn, "the operand is a host address that is not the block's");
  }

  /// Outside of busy regions a signal takes the guest's registers from the low halves.
  void CheckGuestRegisters(const HostInstruction& insn, const HostState& state) {
    const RecoveryEntry& entry = FindRecovery(block_.recovery, insn.offset);
    if (entry.busy) return;
    constexpr unsigned kScratch = 8;
    for (const unsigned number : {0, 1, 2, 3, 5, 6, 7, 15}) {
      const HostValue& value = state.registers[number == kEbp && entry.ebp_in_scratch ? kScratch : number];
      if (!value.LowHalfIsGuest()) {
        Complain(insn,
                 fmt::format("register {} may hold more than a guest's value, and the region is not busy", number));
      }
    }
  }

  void CheckWayOut(const HostInstruction& insn, const HostState& state) {
    const HostState contract = HostState::Contract();
    for (unsigned i = 0; i < state.registers.size(); ++i) {
      const Holds expected = contract.registers[i].holds;
      const HostValue& value = state.registers[i];
      const bool kept =
          expected == Holds::kAnything || (expected == Holds::kGuest ? value.Is32Bits() : value.holds == expected);
      if (!kept) Complain(insn, fmt::format("leaves without register {} holding what the contract says", i));
    }
    if (state.pushed) Complain(insn, "leaves a word on the host's stack");
  }

  /// Whether execution may go on behind the branch. What lies on the host's stack are the addresses behind calls, so a
  /// return may come to any of them, from any block: it must leave EIP in r8, as what follows a call relies on.
  bool Branch(const HostInstruction& insn, HostState& state) {
    if (insn.Returns()) {
      if (insn.operands[0].visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT) Complain(insn, "moves the host's stack");
      if (!state.registers[kEipScratch].Is32Bits()) Complain(insn, "returns without an EIP");
      CheckWayOut(insn, state);
      return false;
    }
    const bool goes_on = Leave(insn, state);
    if (!insn.Calls() || TargetOf(insn) == block_.link_miss) return goes_on;
    state = HostState::Contract();
    state.registers[kEipScratch] = {Holds::kGuest};
    return true;
  }

  /// JECXZ that is taken: the access lies in the page that was looked up, of which r9 is the address.
  static void PassSoftCheck(const HostInstruction& insn, HostState& state) {
    constexpr unsigned kLinear = 9;
    const HostValue& check = state.registers[kEcx];
    if (insn.info.mnemonic != ZYDIS_MNEMONIC_JECXZ || check.holds != Holds::kSoftCheck) return;
    if (state.registers[kLinear].Is32Bits()) state.registers[kLinear] = {Holds::kSoftLinear, check.constant};
  }

  /// Of a direct jump or call; else 0.
  static uint64_t TargetOf(const HostInstruction& insn) {
    const ZydisDecodedOperand& to = insn.operands[0];
    ZyanU64 target = 0;
    const bool direct = to.type == ZYDIS_OPERAND_TYPE_IMMEDIATE &&
                        ZYAN_SUCCESS(ZydisCalcAbsoluteAddress(&insn.info, &to, insn.address, &target));
    return direct ? target : 0;
  }

  /// A jump or a call; true for a conditional jump.
  bool Leave(const HostInstruction& insn, const HostState& state) {
    const bool conditional = insn.info.meta.category == ZYDIS_CATEGORY_COND_BR;
    const ZydisDecodedOperand& to = insn.operands[0];
    HostState after = state;
    if (!insn.Calls()) Execute(insn, after);  // LOOP counts
    if (to.type == ZYDIS_OPERAND_TYPE_REGISTER) {
      const unsigned number = GeneralNumber(to.reg.value);
      if (number == kNotGeneral || state.registers[number].holds != Holds::kCode) Complain(insn, "jumps anywhere");
      CheckWayOut(insn, state);
      return false;
    }
    const uint64_t target = TargetOf(insn);
    if (target == 0) {
      Complain(insn, "jumps through memory");
      return false;
    }
    if (target - block_.host_address < block_.code.size()) {
      const auto found = starts_.find(static_cast<uint32_t>(target - block_.host_address));
      if (found == starts_.end()) {
        Complain(insn, "jumps into an instruction");
      } else {
        if (found->second == 0) CheckWayOut(insn, after);
        PassSoftCheck(insn, after);
        Reach(found->second, after);
      }
    } else {
      if (!block_.may_jump_to(target)) Complain(insn, "jumps to what is neither a stub nor a block");
      CheckWayOut(insn, after);
    }
    return conditional;
  }

  void Execute(const HostInstruction& insn, HostState& state) {
    if (insn.Pushes()) return Push(insn, state);
    if (insn.Pops()) return Pop(insn, state);
    if (insn.IsString()) return CheckString(insn);  // its pointers stay in the window, or fault
    const HostState before = state;
    for (unsigned i = 0; i < insn.info.operand_count; ++i) {
      const ZydisDecodedOperand& op = insn.operands[i];
      if (op.type != ZYDIS_OPERAND_TYPE_REGISTER || !(op.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)) continue;
      const unsigned number = GeneralNumber(op.reg.value);
      if (number == kNotGeneral) continue;
      HostValue& value = state.registers[number];
      if (number == kEsp || (number >= 11 && number <= 14)) Complain(insn, "changes a register that is not its own");
      value = Result(insn, op, before);
    }
  }

  void Push(const HostInstruction& insn, HostState& state) {
    if (state.pushed) Complain(insn, "pushes a second word");
    const ZydisDecodedOperand& op = insn.operands[0];
    const bool flags = insn.info.mnemonic == ZYDIS_MNEMONIC_PUSHFQ;
    const bool reg =
        insn.info.mnemonic == ZYDIS_MNEMONIC_PUSH && op.type == ZYDIS_OPERAND_TYPE_REGISTER && op.size == 64;
    if (!flags && !reg) Complain(insn, "pushes something else than a register or the flags");
    state.pushed = true;
    state.word = flags ? HostValue{Holds::kFlagImage} : Moved(op, state);
  }

  void Pop(const HostInstruction& insn, HostState& state) {
    if (!state.pushed) Complain(insn, "pops what it has not pushed");
    const ZydisDecodedOperand& op = insn.operands[0];
    if (insn.info.mnemonic == ZYDIS_MNEMONIC_POPFQ) {
      if (state.word.holds != Holds::kFlagImage) Complain(insn, "loads flags that may hold anything");
    } else if (op.type == ZYDIS_OPERAND_TYPE_REGISTER && op.size == 64 && GeneralNumber(op.reg.value) >= 8 &&
               GeneralNumber(op.reg.value) <= 10) {
      state.registers[GeneralNumber(op.reg.value)] = state.word;
    } else {
      Complain(insn, "pops to something else than a scratch register or the flags");
    }
    state.pushed = false;
    state.word = {};
  }

  void CheckString(const HostInstruction& insn) {
    if (insn.info.operand_width == 64) Complain(insn, "moves 64 bits at a time");
  }

  const CodeUnderTest& block_;
  std::vector<HostInstruction> code_;
  std::map<uint32_t, size_t> starts_;  // offset -> index
  std::vector<std::optional<HostState>> states_;
  std::set<size_t> pending_;
  std::set<std::pair<uint32_t, std::string>> complained_;
  std::string report_;
};

}  // namespace

std::string VerifyCode(const CodeUnderTest& block) { return Verifier(block).Run(); }

}  // namespace ring3
