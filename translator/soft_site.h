// Soft accesses: a demoted instruction that only moves data is done by a light callout, through the monitor's own TLB
// over the flat view of guest RAM.
#pragma once

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
};

/// What there is to do. The callout is given the address, but for strings.
struct SoftMove {
  SoftKind kind;
  uint8_t bytes = 4;         // of the access, or of an element
  uint8_t gpr = 0;           // of kLoad and kStore
  uint8_t shift = 0;         // 8 for AH, CH, DH and BH
  uint8_t result_bytes = 4;  // kLoad: how much of the register is written
  bool is_signed = false;    // kLoad
  bool repeated = false;     // strings
  uint32_t immediate = 0;

  auto operator<=>(const SoftMove&) const = default;
  bool IsString() const { return kind == SoftKind::kMoveString || kind == SoftKind::kStoreString; }
};

/// The memory operands' segments must be flat. Nothing for other instructions.
std::optional<SoftMove> SoftMoveOf(const GuestInstruction& insn);

/// A site as its callout sees it.
struct SoftSite {
  SoftMove move{};
  uint64_t accesses = 0, limit = 0;  // above the limit the monitor is asked whether mappings serve the site better
};

}  // namespace ring3
