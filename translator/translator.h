// The translator as the monitor sees it: which code to enter for a guest EIP, and what to forget when memory changes.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "shadowmmu/physical_memory.h"
#include "shadowmmu/shadow_mmu.h"
#include "translator/branch_tables.h"
#include "translator/code_cache.h"
#include "translator/code_pages.h"
#include "translator/decode.h"
#include "translator/emitter.h"
#include "translator/fast_paths.h"
#include "translator/return_stack.h"
#include "translator/site_policy.h"
#include "translator/stubs.h"
#include "translator/vcpu.h"

namespace ring3 {

struct TranslatorOptions {
  uint64_t cache_bytes = 32u << 20;
  unsigned max_block_instructions = 64;  // 1: one-instruction blocks, for lockstep debugging
  FastPaths fast_paths;
  bool count_executions = false;  // blocks count how often they run (for --stats)
  FILE* dump = nullptr;           // every block, guest and host code side by side
  bool demote_all = false;        // all memory is accessed as at demoted sites, to test soft accesses
  bool record_blocks = false;     // blocks write a BlockRecord when they are entered
  Sabotage sabotage;              // a wrong translation, to test whoever claims to find such
};

using ClassCounts = std::array<uint64_t, static_cast<unsigned>(InstructionClass::kCount)>;

struct TranslatorStats {
  uint64_t blocks = 0, guest_instructions = 0, guest_bytes = 0, host_bytes = 0;
  uint64_t links = 0, branch_table_inserts = 0, return_mismatches = 0;
  InvalidationStats invalidation;
  SiteStats sites;
  ClassCounts translated{};  // instructions by the class they were translated as
  ClassCounts executed{};    // with count_executions: the same, weighted by how often their blocks ran
};

/// Where to go on with a return.
struct ReturnResolution {
  uint64_t pc, rsp;
};

/// What to do at an EIP.
struct CodeLookup {
  FillOutcome outcome;  // kMapped: `block` is to be entered; kGuestFault: deliver; kEmulate: interpret this one
  BlockId block = kNone;
  GuestFault fault{};  // kGuestFault
};

class Translator : public MappingListener, public KindListener {
 public:
  Translator(PhysicalMemory& memory, ShadowMmu& mmu, const CpuModel& model, TranslatorOptions options);
  ~Translator() override;

  /// Finds or makes the translation of the code at `eip` in `mode` (which is translatable) and puts it into the current
  /// branch table.
  CodeLookup Lookup(uint32_t eip, BlockMode mode);
  /// Host address to enter for a block.
  uint64_t EntryOf(BlockId block) const;
  /// Links a direct exit to the block that was looked up for it.
  void LinkExit(LinkId link, BlockId target);
  /// Branch table for code of this mode in the current window.
  uint32_t* SelectTable(BlockMode mode);
  /// What code looks its targets up in while `table` is selected: the same, or without linking one without entries.
  const uint32_t* TableOfCode(const uint32_t* table) { return LinksBlocks() ? table : tables_.Nowhere(); }

  const Stubs& GetStubs() const { return stubs_; }
  BranchTables& Tables() { return tables_; }
  /// By the number that Callout::kSoftAccess is given.
  SoftSite* SoftSites() { return sites_.SoftSites(); }
  SoftBudget* SoftBudgets() { return sites_.SoftBudgets(); }
  /// The cells that translated code looks at; without them calls of thunks are calls.
  void SetThunkCells(ThunkCells* cells) { thunk_cells_ = cells; }
  SoftNews& News() { return sites_.News(); }
  const ReturnStack& Returns() const { return returns_; }
  /// Changes when return sites may no longer stand for their EIP: what is on the return stack must be forgotten.
  uint64_t ReturnGeneration() const { return cache_.Evictions() + tables_.Changes() + disconnected_pages_; }
  /// A return, with the stack pointer behind it, came to the check of a site that stands for another EIP: where and
  /// with which stack pointer to go on.
  ReturnResolution ResolveReturn(uint64_t host_pc, uint64_t rsp, uint32_t eip);
  CodeCache& Cache() { return cache_; }
  const CodeCache& Cache() const { return cache_; }

  void PagesDropped(WindowId window, GuestLinear page, uint32_t pages) override;
  void WindowEmptied(WindowId window) override;
  void KindChanged(GuestPhysical first, uint64_t bytes) override;

  /// The access of the instruction at this physical address had to be emulated; where that happens often it is left to
  /// the monitor from the start.
  void NoteEmulatedAccess(GuestPhysical instruction);
  /// A demoted site was executed. One that runs often between two address-space switches was better off with mappings,
  /// and gets them back for good.
  void NoteDemotedExecution(GuestPhysical instruction);
  /// Ring 0 code at this host address had a user page mapped for it; string instructions that need that often are
  /// demoted.
  void NoteUserAccess(uint64_t host_pc);
  /// The instruction at this host address raised an exception; where that happens often it is demoted.
  void NoteFault(uint64_t host_pc);
  /// The same for a page fault of the guest's, which counts where soft accesses are possible.
  void NotePageFault(uint64_t host_pc);
  /// A demoted site raised an exception.
  void NoteDemotedFault(GuestPhysical instruction) { sites_.NoteDemotedFault(instruction); }
  /// A self-checking block found its source changed.
  void DropStale(BlockId block) { pages_.DropStale(block); }

  /// From now on code at exactly these linear addresses is not translated, in any mode and address space: whatever runs
  /// comes to the monitor there.
  void SetStops(std::span<const GuestLinear> addresses);
  bool IsStop(GuestLinear address) const {
    return !stops_.empty() && std::binary_search(stops_.begin(), stops_.end(), address.value);
  }

  /// Called a few times a second: pages that have been quiet since the last call climb down from self-checking blocks
  /// to write protection (a kernel patches its code in bursts, at boot above all).
  void Relax() { pages_.Relax(); }
  /// The guest instruction that a host address in the cache was translated from.
  std::optional<uint32_t> GuestEipOf(uint64_t host_pc) const;
  /// The segment of that instruction's memory operand; DS where it has none.
  Seg OperandSegmentOf(uint64_t host_pc) const;

  TranslatorStats Stats() const;
  /// Guest and host code of a block, side by side.
  void Dump(FILE* out, BlockId block) const;
  bool LinksBlocks() const { return options_.fast_paths.Has(FastPath::kBlockLinks); }
  FastPaths Paths() const { return options_.fast_paths; }
  void CheckInvariants() const {
    cache_.CheckInvariants();
    tables_.CheckInvariants();
  }

 private:
  struct BlockCounts {
    ClassCounts classes{};
    uint64_t executions = 0;
  };

  const Decoder& DecoderFor(BlockMode mode) const { return mode.Code16() ? decoder16_ : decoder32_; }
  BlockId Translate(const BlockKey& key);
  void ReserveSpace();
  void TranslateInstructions(const BlockKey& key, Block& block, BlockCounts& counts, bool self_checking);
  void TranslateFirstUndecodable(const BlockKey& key, Block& block, GuestInstruction& insn, DecodeStatus status);
  void InstallBlock(const BlockKey& key, Block& block);
  struct Site {
    GuestPhysical physical;
    BlockMode mode;
    GuestInstruction insn;
  };
  std::optional<GuestPhysical> SiteOf(uint64_t host_pc) const;
  std::optional<Site> DecodeSiteOf(uint64_t host_pc) const;
  std::optional<GuestPhysical> SecondPage(const BlockKey& key);
  std::optional<uint16_t> SoftSiteFor(GuestPhysical site, const GuestInstruction& insn);
  void DisconnectPage(uint32_t linear_page);
  std::optional<unsigned> ThunkCalledBy(const GuestInstruction& insn, BlockMode mode);

  PhysicalMemory& memory_;
  ShadowMmu& mmu_;
  TranslatorOptions options_;
  CodeCache cache_;
  Stubs stubs_;
  ReturnStack returns_;
  BranchTables tables_;
  CodePages pages_;
  SitePolicy sites_;
  ThunkCells* thunk_cells_ = nullptr;
  Decoder decoder16_, decoder32_;
  Emitter emitter_;
  std::unordered_map<uint32_t, uint64_t> supervisor_code_pages_;  // linear page -> physical page that code ran from
  std::deque<BlockCounts> counts_;                                // stable addresses: blocks count into them
  std::vector<uint32_t> stops_;                                   // ascending linear addresses
  uint64_t disconnected_pages_ = 0;                               // of the supervisor's, ever
  TranslatorStats stats_;
};

}  // namespace ring3
