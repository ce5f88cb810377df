#include "translator/translator.h"

#include <algorithm>
#include <cstring>

#include "translator/dump.h"

namespace ring3 {
namespace {

/// Bytes from the block's first on that lie in its page and in the code segment.
uint32_t RoomOf(const BlockKey& key) {
  const uint64_t before_limit = uint64_t{key.mode.Code().limit} - key.eip + 1;
  return static_cast<uint32_t>(std::min<uint64_t>(kPageSize - key.physical.PageOffset(), before_limit));
}

/// Where blocks end is what records and counts rest on, so there each ends at its first branch.
Flow FlowOf(const TranslatorOptions& options, const CodeCache& cache) {
  const FastPaths& paths = options.fast_paths;
  const bool whole = options.record_blocks || options.count_executions;
  return {.pairs_returns = paths.Has(FastPath::kPairedReturns) && cache.ReturnCheck() != 0,
          .goes_on_after_calls = paths.Has(FastPath::kLongBlocks) && !whole,
          .goes_on_after_branches = paths.Has(FastPath::kLongBlocks) && !whole,
          .inlines_thunks = paths.Has(FastPath::kPcThunks) && !whole && options.max_block_instructions > 1,
          .return_check = cache.ReturnCheck()};
}

}  // namespace

Translator::Translator(PhysicalMemory& memory, ShadowMmu& mmu, const CpuModel& model, TranslatorOptions options)
    : memory_(memory),
      mmu_(mmu),
      options_(options),
      cache_(options.cache_bytes, Stubs::kBytes, options.fast_paths.Has(FastPath::kPairedReturns)),
      stubs_(cache_.Base()),
      returns_(stubs_.ReturnSentinel()),
      tables_(options.fast_paths),
      pages_(memory, mmu, cache_, tables_, options.fast_paths),
      decoder16_(model, false),
      decoder32_(model, true),
      emitter_(stubs_, FlowOf(options, cache_), options.fast_paths) {
  mmu_.SetListener(this);
  memory_.AddKindListener(this);
}

Translator::~Translator() {
  memory_.RemoveKindListener(this);
  mmu_.SetListener(nullptr);
}

uint64_t Translator::EntryOf(BlockId block) const {
  return reinterpret_cast<uint64_t>(cache_.At(cache_.Get(block).host_offset));
}

uint32_t* Translator::SelectTable(BlockMode mode) { return tables_.Select(mmu_.Current(mode.User()), mode); }

CodeLookup Translator::Lookup(uint32_t eip, BlockMode mode) {
  const WindowId window = mmu_.Current(mode.User());
  if (eip > mode.Code().limit) return {FillOutcome::kEmulate};
  const GuestLinear linear = mode.Linear(eip);
  if (IsStop(linear)) return {FillOutcome::kEmulate};
  FillResult fetch = mmu_.PrepareFetch(window, linear, mode.User());
  if (fetch.outcome != FillOutcome::kMapped) {
    return {fetch.outcome, kNone, {Vector::kPageFault, fetch.error_code, linear.value}};
  }
  const BlockKey key{fetch.physical, eip, mode};
  BlockId block = cache_.Find(key);
  if (block != kNone && cache_.Get(block).crosses_page) {
    fetch = mmu_.PrepareFetch(window, linear.Page() + kPageSize, mode.User());
    if (fetch.outcome != FillOutcome::kMapped || fetch.physical != cache_.Get(block).second_page) {
      pages_.Kill(block);
      block = kNone;
    }
  }
  if (block != kNone && cache_.Get(block).provisional && SecondPage(key)) {
    pages_.Kill(block);
    block = kNone;
  }
  if (block == kNone) block = Translate(key);
  if (!cache_.Get(block).provisional) {
    const Block& b = cache_.Get(block);
    tables_.Insert(eip, b.host_offset);
    if (thunk_cells_ && b.thunk_register) thunk_cells_->Set(*b.thunk_register, eip, b.host_offset);
    ++stats_.branch_table_inserts;
  }
  if (!mode.User()) {
    supervisor_code_pages_[linear.PageNumber()] = key.physical.PageNumber();
    const Block& b = cache_.Get(block);
    if (b.crosses_page) supervisor_code_pages_[linear.PageNumber() + 1] = b.second_page.PageNumber();
  }
  return {FillOutcome::kMapped, block};
}

void Translator::LinkExit(LinkId link, BlockId target) {
  // A block that was invalidated while it ran keeps its exits to itself.
  if (!LinksBlocks() || !cache_.Get(cache_.GetLink(link).source).live) return;
  if (cache_.Get(target).provisional) return;
  cache_.Connect(link, target);
  ++stats_.links;
}

BlockId Translator::Translate(const BlockKey& key) {
  ReserveSpace();
  Block block;
  block.key = key;
  block.host_offset = cache_.PrepareSpace();
  BlockCounts& counts = counts_.emplace_back();
  TranslateInstructions(key, block, counts, pages_.SelfChecking(key.physical));
  if (!options_.count_executions) counts_.pop_back();
  InstallBlock(key, block);
  ++stats_.blocks;
  stats_.guest_instructions += block.guest_instructions;
  stats_.guest_bytes += block.guest_bytes;
  stats_.host_bytes += block.host_bytes;
  const BlockId id = cache_.AddBlock(std::move(block));
  pages_.Add(id);
  if (options_.dump) Dump(options_.dump, id);
  return id;
}

/// Room for one block; the oldest blocks leave the page lists and branch tables before their memory is reused.
void Translator::ReserveSpace() {
  std::vector<BlockId> leaving(cache_.EvictionCandidates().begin(), cache_.EvictionCandidates().end());
  for (BlockId id : leaving) {
    const Block& block = cache_.Get(id);
    if (block.thunk_register && thunk_cells_) {
      thunk_cells_->Clear(*block.thunk_register, block.key.eip, block.host_offset);
    }
    if (block.live) pages_.Kill(id);
  }
}

void Translator::TranslateInstructions(const BlockKey& key, Block& block, BlockCounts& counts, bool self_checking) {
  const uint32_t room = RoomOf(key);
  const uint8_t* source = memory_.Flat(key.physical);
  emitter_.Begin(key.mode, key.eip, reinterpret_cast<uint64_t>(cache_.At(block.host_offset)), self_checking);
  if (options_.count_executions) emitter_.EmitCounter(key.eip, &counts.executions);
  const uint32_t record = options_.record_blocks ? emitter_.EmitRecord(key.eip, block.host_offset) : 0;
  const uint32_t check = self_checking ? emitter_.EmitSelfCheckStart(key.eip) : 0;
  const Decoder& decoder = DecoderFor(key.mode);
  GuestInstruction insn;
  uint32_t at = 0;
  while (!emitter_.Ended()) {
    const bool stop = at > 0 && IsStop(key.mode.Linear(key.eip + at));
    if (stop || block.guest_instructions == options_.max_block_instructions) {
      emitter_.EmitFallThrough(key.eip + at);
      break;
    }
    const DecodeStatus status = decoder.Decode({source + at, room - at}, key.eip + at, insn);
    if (status != DecodeStatus::kOk) {
      if (at > 0) {
        emitter_.EmitFallThrough(key.eip + at);
        break;
      }
      TranslateFirstUndecodable(key, block, insn, status);
      ++counts.classes[static_cast<unsigned>(emitter_.EmittedClass())];
      at = insn.length;
      break;
    }
    if (options_.demote_all && emitter_.SoftMoveFor(insn)) sites_.Demote(key.physical + at);
    if (sites_.IsDemoted(key.physical + at)) {
      emitter_.EmitDemoted(insn, SoftSiteFor(key.physical + at, insn));
    } else if (const auto gpr = ThunkCalledBy(insn, key.mode)) {
      emitter_.EmitThunkCall(insn, *gpr);
    } else {
      emitter_.EmitInstruction(insn);
      if (options_.sabotage.At(insn.eip) && !emitter_.Ended())
        emitter_.EmitSabotage(options_.sabotage.kind, insn.NextEip());
    }
    at += insn.length;
    ++block.guest_instructions;
    ++counts.classes[static_cast<unsigned>(emitter_.EmittedClass())];
    const bool ends_here = at == room || (self_checking && insn.WritesMemory());
    if (ends_here && !emitter_.Ended()) emitter_.EmitFallThrough(key.eip + at);
  }
  block.guest_bytes = static_cast<uint16_t>(std::max(at, 1u));
  if (at == kThunkBytes && !self_checking && options_.sabotage.kind == Sabotage::Kind::kNone && key.mode.Stack32()) {
    block.thunk_register = ThunkRegister({source, kThunkBytes});
  }
  if (self_checking) emitter_.EmitSelfCheckEnd(check, {source, block.guest_bytes});
  if (options_.record_blocks) emitter_.FinishRecord(record, block.guest_instructions);
  emitter_.Finish();
  for (size_t i = 0; i < counts.classes.size(); ++i) stats_.translated[i] += counts.classes[i];
}

/// The register that the called code loads with the return address, if it is a PC thunk now.
std::optional<unsigned> Translator::ThunkCalledBy(const GuestInstruction& insn, BlockMode mode) {
  if (!thunk_cells_ || !emitter_.AllowsThunkCall(insn)) return std::nullopt;
  const GuestLinear target = mode.Linear(insn.BranchTarget());
  const WalkResult walk = Peek(memory_, mmu_.Paging(), target);
  if (!walk.ok || target.PageOffset() > kPageSize - kThunkBytes) return std::nullopt;
  const GuestPhysical page = walk.translation.page;
  if (memory_.KindOf(page) == PageKind::kMmio) return std::nullopt;
  return ThunkRegister({memory_.Flat(page + target.PageOffset()), kThunkBytes});
}

/// The SoftSite that stands for a demoted instruction, if there may be one.
std::optional<uint16_t> Translator::SoftSiteFor(GuestPhysical site, const GuestInstruction& insn) {
  const auto move = emitter_.SoftMoveFor(insn);
  return move ? sites_.SoftSiteFor(site, *move, mmu_.Stats().cr3_loads) : std::nullopt;
}

/// Not an instruction, or one that reaches into the next page. The latter makes a block of its own; the former is the
/// monitor's to fault on.
void Translator::TranslateFirstUndecodable(const BlockKey& key, Block& block, GuestInstruction& insn,
                                           DecodeStatus status) {
  block.guest_instructions = 1;
  insn.length = 1;
  const size_t room = kPageSize - key.physical.PageOffset();
  const uint64_t before_limit = uint64_t{key.mode.Code().limit} - key.eip + 1;
  const bool goes_on = status == DecodeStatus::kTruncated && before_limit > room;
  const auto second = goes_on ? SecondPage(key) : std::nullopt;
  block.provisional = goes_on && !second;
  if (second) {
    std::array<uint8_t, ZYDIS_MAX_INSTRUCTION_LENGTH> bytes;
    const size_t count = std::min<uint64_t>(bytes.size(), before_limit);
    std::memcpy(bytes.data(), memory_.Flat(key.physical), room);
    std::memcpy(bytes.data() + room, memory_.Flat(*second), count - room);
    if (DecoderFor(key.mode).Decode({bytes.data(), count}, key.eip, insn) == DecodeStatus::kOk) {
      block.crosses_page = true;
      block.second_page = *second;
      emitter_.EmitInstruction(insn);
      if (!emitter_.Ended()) emitter_.EmitFallThrough(insn.NextEip());
      return;
    }
  }
  emitter_.EmitInterpret(key.eip);
}

/// Where an instruction that crosses a page goes on. Nothing when that cannot be fetched from, or a page checks
/// itself.
std::optional<GuestPhysical> Translator::SecondPage(const BlockKey& key) {
  const WindowId window = mmu_.Current(key.mode.User());
  const FillResult fetch = mmu_.PrepareFetch(window, key.Linear().Page() + kPageSize, key.mode.User());
  if (fetch.outcome != FillOutcome::kMapped) return std::nullopt;
  if (pages_.SelfChecking(key.physical) || pages_.SelfChecking(fetch.physical)) return std::nullopt;
  return fetch.physical;
}

/// Copies the emitter's result into the cache and makes its links.
void Translator::InstallBlock(const BlockKey& key, Block& block) {
  const auto code = emitter_.Code();
  uint8_t* host = cache_.At(block.host_offset);
  std::memcpy(host, code.data(), code.size());
  block.host_bytes = static_cast<uint32_t>(code.size());
  block.recovery.assign(emitter_.Recovery().begin(), emitter_.Recovery().end());
  if (ReturnSites returns = emitter_.TakeReturns(); !returns.offsets.empty())
    block.returns = std::make_unique<ReturnSites>(std::move(returns));
  block.links.reserve(emitter_.Exits().size());
  for (const PendingExit& exit : emitter_.Exits()) {
    const LinkId link = cache_.AddLink({.jump_offset = block.host_offset + exit.jump_offset,
                                        .stub_offset = block.host_offset + exit.stub_offset,
                                        .target_eip = exit.target_eip,
                                        .same_page = key.mode.Linear(exit.target_eip).Page() == key.Linear().Page()});
    block.links.push_back(link);
  }
}

void Translator::DisconnectPage(uint32_t linear_page) {
  auto found = supervisor_code_pages_.find(linear_page);
  if (found == supervisor_code_pages_.end()) return;
  ++disconnected_pages_;
  for (BlockId id : pages_.BlocksOf(found->second)) {
    const Block& block = cache_.Get(id);
    if (block.crosses_page) {
      cache_.DisconnectAll(id);
    } else if (block.key.Linear().PageNumber() == linear_page) {
      cache_.DisconnectCrossPage(id);
    }
  }
  supervisor_code_pages_.erase(found);
}

ReturnResolution Translator::ResolveReturn(uint64_t host_pc, uint64_t rsp, uint32_t eip) {
  constexpr unsigned kMostFrames = 32, kMostMismatches = 4;
  const BlockId id = cache_.FindByHost(host_pc);
  ++stats_.return_mismatches;
  // Frames were left at once (longjmp): the return may belong to a call further up.
  const uint64_t end = returns_.Empty();
  for (unsigned i = 0; i < kMostFrames && rsp + i * sizeof(uint64_t) < end; ++i) {
    const uint64_t frame = rsp + i * sizeof(uint64_t);
    uint64_t site;
    std::memcpy(&site, reinterpret_cast<const void*>(frame), sizeof site);
    if (ReturnSite::ExpectedAt(site) == eip) return {site, frame + sizeof site};
  }
  ReturnSites& returns = *cache_.Get(id).returns;
  if (++returns.mismatches == kMostMismatches) cache_.RetireReturns(id);
  return {reinterpret_cast<uint64_t>(cache_.At(cache_.Get(id).host_offset)) + returns.lookup, rsp};
}

void Translator::PagesDropped(WindowId window, GuestLinear page, uint32_t pages) {
  tables_.ClearPages(window, page, pages);
  if (window != mmu_.Current(false) || supervisor_code_pages_.empty()) return;
  for (uint32_t i = 0; i < pages; ++i) DisconnectPage(page.PageNumber() + i);
}

void Translator::WindowEmptied(WindowId window) {
  tables_.ClearWindow(window);
  if (window != mmu_.Current(false)) return;
  while (!supervisor_code_pages_.empty()) DisconnectPage(supervisor_code_pages_.begin()->first);
}

void Translator::SetStops(std::span<const GuestLinear> addresses) {
  std::vector<uint32_t> stops;
  for (GuestLinear address : addresses) stops.push_back(address.value);
  std::sort(stops.begin(), stops.end());
  stops.erase(std::unique(stops.begin(), stops.end()), stops.end());
  stops_.swap(stops);
  // What ends at an address that stops nothing any more is linked again when it next leaves.
  for (uint32_t address : stops_) {
    if (std::binary_search(stops.begin(), stops.end(), address)) continue;
    for (BlockId id : cache_.LiveBlocksOver(GuestLinear(address))) pages_.Kill(id);
  }
}

void Translator::KindChanged(GuestPhysical first, uint64_t) {
  if (memory_.KindOf(memory_.Resolve(first)) != PageKind::kMmio) sites_.MemoryAppeared();
}

void Translator::NoteEmulatedAccess(GuestPhysical instruction) {
  if (Paths().Has(FastPath::kMmioSites) && sites_.NoteEmulation(instruction)) pages_.KillOverlapping(instruction, 1);
}

void Translator::NoteDemotedExecution(GuestPhysical instruction) {
  if (sites_.NoteExecution(instruction, mmu_.Stats().cr3_loads)) pages_.KillOverlapping(instruction, 1);
}

std::optional<uint32_t> Translator::GuestEipOf(uint64_t host_pc) const {
  const BlockId id = cache_.FindByHost(host_pc);
  if (id == kNone) return std::nullopt;
  return cache_.RecoveryAt(id, host_pc).eip;
}

Seg Translator::OperandSegmentOf(uint64_t host_pc) const {
  const auto site = DecodeSiteOf(host_pc);
  const ZydisDecodedOperand* memory = site ? site->insn.MemoryOperand() : nullptr;
  return memory ? SegmentOf(*memory) : Seg::kDs;
}

/// The guest instruction that a host address in the cache was translated from, unless its block crosses a page.
std::optional<GuestPhysical> Translator::SiteOf(uint64_t host_pc) const {
  const BlockId id = cache_.FindByHost(host_pc);
  if (id == kNone || cache_.Get(id).crosses_page) return std::nullopt;
  const BlockKey& key = cache_.Get(id).key;
  const GuestPhysical site = key.physical + (cache_.RecoveryAt(id, host_pc).eip - key.eip);
  if (site.PageNumber() != key.physical.PageNumber()) return std::nullopt;
  return site;
}

void Translator::NoteFault(uint64_t host_pc) {
  if (!Paths().Has(FastPath::kFaultingSites)) return;
  if (const auto site = SiteOf(host_pc); site && sites_.NoteFault(*site)) pages_.KillOverlapping(*site, 1);
}

/// The same, decoded. Code that changed since may be no instruction any more.
std::optional<Translator::Site> Translator::DecodeSiteOf(uint64_t host_pc) const {
  const auto physical = SiteOf(host_pc);
  if (!physical) return std::nullopt;
  Site site{*physical, cache_.Get(cache_.FindByHost(host_pc)).key.mode, {}};
  const size_t room = kPageSize - physical->PageOffset();
  const DecodeStatus status = DecoderFor(site.mode).Decode({memory_.Flat(*physical), room}, 0, site.insn);
  if (status != DecodeStatus::kOk) return std::nullopt;
  return site;
}

void Translator::NotePageFault(uint64_t host_pc) {
  if (!Paths().Has(FastPath::kFaultingSites) || !Paths().Has(FastPath::kSoftAccesses)) return;
  const auto site = DecodeSiteOf(host_pc);
  if (!site || site->mode.Code16()) return;
  const auto move = SoftMoveOf(site->insn, Paths().Has(FastPath::kInlineSoftAccesses));
  if (move && !move->IsString() && sites_.NoteFault(site->physical)) pages_.KillOverlapping(site->physical, 1);
}

void Translator::NoteUserAccess(uint64_t host_pc) {
  if (!Paths().Has(FastPath::kUserCopySites)) return;
  const auto counted = SiteOf(host_pc);
  if (!counted || !sites_.NoteUserAccess(*counted)) return;
  const auto site = DecodeSiteOf(host_pc);
  if (!site) return;
  // A string instruction moves whole runs on the slow path, so it never runs too often there.
  const bool revocable = site->insn.row.cls != InstructionClass::kString;
  sites_.DemoteForUserAccess(site->physical, revocable, mmu_.Stats().cr3_loads);
  pages_.KillOverlapping(site->physical, 1);
}

TranslatorStats Translator::Stats() const {
  TranslatorStats stats = stats_;
  stats.invalidation = pages_.Stats();
  stats.sites = sites_.Stats();
  for (const BlockCounts& counts : counts_) {
    for (size_t i = 0; i < counts.classes.size(); ++i) stats.executed[i] += counts.classes[i] * counts.executions;
  }
  return stats;
}

void Translator::Dump(FILE* out, BlockId id) const {
  DumpBlock(out, DecoderFor(cache_.Get(id).key.mode), cache_, cache_.Get(id), memory_);
}

}  // namespace ring3
