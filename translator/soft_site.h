// Soft accesses: a demoted instruction that only moves data is done by a light callout, through the monitor's own TLB
// over the flat view of guest RAM.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>

#include "translator/decode.h"

namespace ring3 {

enum class SoftKind : uint8_t {
  kLoad,            // MOV, MOVZX and MOVSX from memory
  kStore,           // MOV of a register to memory
  kStoreImmediate,  // MOV of a constant to memory
  kMoveString,      // MOVS, with or without REP
  kStoreString,     // STOS, with or without REP
  kInline,          // any other whose accesses translated code may make through the SoftTlb
};

/// What there is to do. The callout is given the address, but for strings.
struct SoftMove {
  SoftKind kind;
  uint8_t bytes = 4;         // of the access, or of an element
  bool modifies = false;     // of kInline: the first access is a write as well
  bool faults_first = true;  // a page fault comes before any other exception, and for the first byte
  uint8_t gpr = 0;           // of kLoad and kStore
  uint8_t shift = 0;         // 8 for AH, CH, DH and BH
  uint8_t result_bytes = 4;  // kLoad: how much of the register is written
  bool is_signed = false;    // kLoad
  bool repeated = false;     // strings
  uint32_t immediate = 0;

  auto operator<=>(const SoftMove&) const = default;
  /// Whether the access, which is no string's, needs a writable page. A second one always does: what stores there has
  /// read elsewhere.
  bool Writes(bool second) const {
    return second || modifies || kind == SoftKind::kStore || kind == SoftKind::kStoreImmediate;
  }
  bool IsString() const { return kind == SoftKind::kMoveString || kind == SoftKind::kStoreString; }
};

/// Nothing for other instructions. kInline only where `inline_accesses`. Strings' segments must be flat, and the stack.
std::optional<SoftMove> SoftMoveOf(const GuestInstruction& insn, bool inline_accesses);
/// Whether translated code may make the instruction's accesses elsewhere than in a window: each of its operands in
/// memory may stand for any address.
bool AllowsInlineAccess(const GuestInstruction& insn);

/// What a soft site has spared, less what it has cost, in accesses that made no callout: a nanosecond or two each. The
/// monitor takes sites without a budget back.
struct SoftBudget {
  /// A page is met by several sites, and mapped for all of them.
  static constexpr int32_t kFault = 3000, kNewPage = 800, kCallout = 60, kMost = 4 * kFault;
  int32_t value = 0;

  void Earn(int32_t accesses) { value = value + accesses < kMost ? value + accesses : kMost; }
  bool Spend(int32_t accesses) { return (value -= accesses) > 0; }
};

/// A site as its callout sees it. The monitor is asked whether mappings serve the site better when there are more
/// accesses than the limit, or the budget is spent.
struct SoftSite {
  SoftMove move{};
  uint64_t accesses = 0, limit = 0;
  bool budgeted = false;  // instead of a limit
};

/// Which soft sites have met which pages lately: the first access to a page spares a mapping, a later one costs a
/// callout. A page that the guest's handler was asked for is a new one to everybody.
class SoftNews {
 public:
  bool Meets(uint32_t site, uint32_t page, uint64_t switches) {
    if (switches - since_ > kSwitches || faults_ > kFaults) Forget(switches);
    const uint32_t hash = Hash(page ^ uint32_t{ages_[page % kPages]} << 20, site);
    uint64_t& word = met_[hash / 64];
    const uint64_t bit = uint64_t{1} << hash % 64;
    const bool news = !(word & bit);
    word |= bit;
    return news;
  }
  void NoteFault(uint32_t page) {
    ++ages_[page % kPages];
    ++faults_;
  }

 private:
  // Address spaces come and go, and bits run out.
  static constexpr uint64_t kSwitches = 64, kFaults = 1u << 14;
  static constexpr unsigned kPages = 1u << 16;
  /// Sites meet pages in the same order, so that what they hash to must not be.
  static uint32_t Hash(uint32_t page, uint32_t site) {
    uint32_t mixed = page * 0x9E37'79B1u ^ site * 0x85EB'CA6Bu;
    mixed = (mixed ^ mixed >> 15) * 0x2C1B'3C6Du;
    return (mixed ^ mixed >> 12) * 0x297A'2D39u >> 16;
  }
  void Forget(uint64_t switches) {
    since_ = switches;
    faults_ = 0;
    met_ = {};
  }

  std::array<uint64_t, (1u << 16) / 64> met_{};
  std::array<uint8_t, kPages> ages_{};
  uint64_t since_ = 0, faults_ = 0;
};

}  // namespace ring3
