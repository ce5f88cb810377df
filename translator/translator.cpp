#include "translator/translator.h"

#include <algorithm>
#include <cstring>
#include <iterator>

#include "translator/dump.h"

namespace ring3 {
namespace {

// A page whose translations were overwritten this often is left writable and its blocks check themselves.
constexpr uint32_t kWritesBeforeSelfChecking = 24;
// A ring 0 instruction that had user pages mapped for it this often is left to the monitor...
constexpr uint32_t kUserAccessesBeforeDemotion = 8;
// ...and taken back when it runs more often than this between two address-space switches: a mapping costs some 25 times
// an execution on the slow path.
constexpr uint64_t kExecutionsPerSwitch = 24;

}  // namespace

Translator::Translator(PhysicalMemory& memory, ShadowMmu& mmu, TranslatorOptions options)
    : memory_(memory),
      mmu_(mmu),
      options_(options),
      cache_(options.cache_bytes, Stubs::kBytes),
      stubs_(cache_.Base()),
      emitter_(stubs_) {
  memory_.SetWriteListener(this);
  mmu_.SetListener(this);
}

Translator::~Translator() {
  memory_.SetWriteListener(nullptr);
  mmu_.SetListener(nullptr);
}

uint64_t Translator::EntryOf(BlockId block) const {
  return reinterpret_cast<uint64_t>(cache_.At(cache_.Get(block).host_offset));
}

uint32_t* Translator::SelectTable(BlockMode mode) { return tables_.Select(mmu_.Current(mode.User()), mode); }

CodeLookup Translator::Lookup(uint32_t eip, BlockMode mode) {
  const WindowId window = mmu_.Current(mode.User());
  FillResult fetch = mmu_.PrepareFetch(window, GuestLinear(eip), mode.User());
  if (fetch.outcome != FillOutcome::kMapped) return {fetch.outcome, kNone, fetch.error_code};
  const BlockKey key{fetch.physical, eip, mode};
  BlockId block = cache_.Find(key);
  if (block != kNone && cache_.Get(block).crosses_page) {
    fetch = mmu_.PrepareFetch(window, GuestLinear(eip).Page() + kPageSize, mode.User());
    if (fetch.outcome != FillOutcome::kMapped || fetch.physical != cache_.Get(block).second_page) {
      RemoveFromPages(block);
      KillBlock(block);
      block = kNone;
    }
  }
  if (block == kNone) block = Translate(key);
  if (options_.link_blocks) {
    tables_.Insert(eip, cache_.Get(block).host_offset);
    ++stats_.branch_table_inserts;
  }
  if (!mode.User()) {
    supervisor_code_pages_[eip >> kPageShift] = key.physical.PageNumber();
    const Block& b = cache_.Get(block);
    if (b.crosses_page) supervisor_code_pages_[(eip >> kPageShift) + 1] = b.second_page.PageNumber();
  }
  return {FillOutcome::kMapped, block, 0};
}

void Translator::LinkExit(LinkId link, BlockId target) {
  // A block that was invalidated while it ran keeps its exits to itself.
  if (!options_.link_blocks || !cache_.Get(cache_.GetLink(link).source).live) return;
  cache_.Connect(link, target);
  ++stats_.links;
}

BlockId Translator::Translate(const BlockKey& key) {
  ReserveSpace();
  Block block;
  block.key = key;
  block.host_offset = cache_.PrepareSpace();
  CodePage& page = code_pages_[key.physical.PageNumber()];
  BlockCounts& counts = counts_.emplace_back();
  TranslateInstructions(key, block, counts, page.self_checking);
  if (!options_.count_executions) {
    counts_.pop_back();
  }
  InstallBlock(key, block);
  ++stats_.blocks;
  stats_.guest_instructions += block.guest_instructions;
  stats_.guest_bytes += block.guest_bytes;
  stats_.host_bytes += block.host_bytes;
  const bool crosses = block.crosses_page;
  const GuestPhysical second_page = block.second_page;
  BlockId id = cache_.AddBlock(std::move(block));
  WatchPage(key.physical.Page(), id);
  if (crosses && second_page.Page() != key.physical.Page()) WatchPage(second_page, id);
  if (options_.dump) Dump(options_.dump, id);
  return id;
}

void Translator::WatchPage(GuestPhysical page, BlockId block) {
  CodePage& record = code_pages_[page.PageNumber()];
  if (record.blocks.empty() && !record.self_checking) {
    memory_.SetWatched(page, true);
    mmu_.ProtectPage(page);
  }
  record.blocks.push_back(block);
}

/// Room for one block; the oldest blocks leave the page lists and branch tables before their memory is reused.
void Translator::ReserveSpace() {
  std::vector<BlockId> leaving(cache_.EvictionCandidates().begin(), cache_.EvictionCandidates().end());
  for (BlockId id : leaving) {
    if (!cache_.Get(id).live) continue;
    RemoveFromPages(id);
    KillBlock(id);
  }
}

void Translator::TranslateInstructions(const BlockKey& key, Block& block, BlockCounts& counts, bool self_checking) {
  const uint32_t room = kPageSize - key.physical.PageOffset();
  const uint8_t* source = memory_.Flat(key.physical);
  emitter_.Begin(key.mode, key.eip, reinterpret_cast<uint64_t>(cache_.At(block.host_offset)));
  if (options_.count_executions) emitter_.EmitCounter(key.eip, &counts.executions);
  const uint32_t check = self_checking ? emitter_.EmitSelfCheckStart(key.eip) : 0;
  GuestInstruction insn;
  uint32_t at = 0;
  while (!emitter_.Ended()) {
    if (block.guest_instructions == options_.max_block_instructions) {
      emitter_.EmitFallThrough(key.eip + at);
      break;
    }
    if (decoder_.Decode({source + at, room - at}, key.eip + at, insn) != DecodeStatus::kOk) {
      if (at > 0) {
        emitter_.EmitFallThrough(key.eip + at);
        break;
      }
      TranslateFirstUndecodable(key, block, insn);
      ++counts.classes[static_cast<unsigned>(emitter_.EmittedClass())];
      at = insn.length;
      break;
    }
    if (demoted_sites_.contains(key.physical.value + at)) {
      emitter_.EmitDemoted(insn);
    } else {
      emitter_.EmitInstruction(insn);
    }
    at += insn.length;
    ++block.guest_instructions;
    ++counts.classes[static_cast<unsigned>(emitter_.EmittedClass())];
    const bool ends_here = at == room || (self_checking && insn.WritesMemory());
    if (ends_here && !emitter_.Ended()) emitter_.EmitFallThrough(key.eip + at);
  }
  block.guest_bytes = static_cast<uint16_t>(std::max(at, 1u));
  if (self_checking) emitter_.EmitSelfCheckEnd(check, {source, block.guest_bytes});
  emitter_.Finish();
  for (size_t i = 0; i < counts.classes.size(); ++i) stats_.translated[i] += counts.classes[i];
}

/// Not an instruction, or one that reaches into the next page. The latter makes a block of its own; the former is the
/// monitor's to fault on.
void Translator::TranslateFirstUndecodable(const BlockKey& key, Block& block, GuestInstruction& insn) {
  std::array<uint8_t, 16> bytes;
  size_t count = 0;
  block.guest_instructions = 1;
  insn.length = 1;
  if (FetchSecondPage(key, block, bytes, count) &&
      decoder_.Decode({bytes.data(), count}, key.eip, insn) == DecodeStatus::kOk) {
    emitter_.EmitInstruction(insn);
    if (!emitter_.Ended()) emitter_.EmitFallThrough(insn.NextEip());
    return;
  }
  block.crosses_page = false;
  emitter_.EmitInterpret(key.eip);
}

/// The instruction's bytes from both pages. False when the second one cannot be fetched from, or checks itself.
bool Translator::FetchSecondPage(const BlockKey& key, Block& block, std::array<uint8_t, 16>& bytes, size_t& count) {
  const size_t room = kPageSize - key.physical.PageOffset();
  if (room >= ZYDIS_MAX_INSTRUCTION_LENGTH) return false;
  const WindowId window = mmu_.Current(key.mode.User());
  const FillResult fetch = mmu_.PrepareFetch(window, GuestLinear(key.eip).Page() + kPageSize, key.mode.User());
  if (fetch.outcome != FillOutcome::kMapped) return false;
  if (code_pages_[key.physical.PageNumber()].self_checking || code_pages_[fetch.physical.PageNumber()].self_checking) {
    return false;
  }
  count = ZYDIS_MAX_INSTRUCTION_LENGTH;
  std::memcpy(bytes.data(), memory_.Flat(key.physical), room);
  std::memcpy(bytes.data() + room, memory_.Flat(fetch.physical), count - room);
  block.crosses_page = true;
  block.second_page = fetch.physical;
  return true;
}

/// Copies the emitter's result into the cache and makes its links.
void Translator::InstallBlock(const BlockKey& key, Block& block) {
  const auto code = emitter_.Code();
  uint8_t* host = cache_.At(block.host_offset);
  std::memcpy(host, code.data(), code.size());
  block.host_bytes = static_cast<uint32_t>(code.size());
  block.recovery = emitter_.TakeRecovery();
  for (const PendingExit& exit : emitter_.Exits()) {
    LinkId link = cache_.AddLink({.jump_offset = block.host_offset + exit.jump_offset,
                                  .stub_offset = block.host_offset + exit.stub_offset,
                                  .target_eip = exit.target_eip,
                                  .same_page = exit.target_eip >> kPageShift == key.eip >> kPageShift});
    std::memcpy(host + exit.link_field, &link, sizeof link);
    block.links.push_back(link);
  }
}

void Translator::KillBlock(BlockId id) {
  const Block& block = cache_.Get(id);
  tables_.Remove(block.key.eip, block.host_offset);
  cache_.Kill(id);
}

void Translator::RemoveFromPages(BlockId id) {
  const Block& block = cache_.Get(id);
  const auto remove = [&](GuestPhysical page) {
    std::vector<BlockId>& blocks = code_pages_[page.PageNumber()].blocks;
    std::erase(blocks, id);
    if (blocks.empty()) ForgetCodePage(page.PageNumber());
  };
  remove(block.key.physical);
  if (block.crosses_page) remove(block.second_page);
}

void Translator::ForgetCodePage(uint64_t page_number) {
  const GuestPhysical page(page_number << kPageShift);
  if (memory_.IsWatched(page)) {
    memory_.SetWatched(page, false);
    mmu_.UnprotectPage(page);
  }
}

/// Kills the blocks of a page that were made from any of these bytes; data beside code costs no translation.
size_t Translator::KillOverlapping(CodePage& page, GuestPhysical address, uint32_t size) {
  const uint64_t first = address.value, end = first + size;
  auto overlaps = [&](BlockId id) {
    const Block& b = cache_.Get(id);
    const uint64_t begin = b.key.physical.value;
    if (!b.crosses_page) return begin < end && first < begin + b.guest_bytes;
    const uint64_t in_first = kPageSize - b.key.physical.PageOffset(), second = b.second_page.value;
    return (begin < end && first < begin + in_first) || (second < end && first < second + b.guest_bytes - in_first);
  };
  std::vector<BlockId> hit;
  std::copy_if(page.blocks.begin(), page.blocks.end(), std::back_inserter(hit), overlaps);
  for (BlockId id : hit) {
    RemoveFromPages(id);
    KillBlock(id);
  }
  return hit.size();
}

void Translator::WatchedPageWritten(GuestPhysical address, uint32_t size) {
  auto found = code_pages_.find(address.PageNumber());
  if (found == code_pages_.end() || found->second.blocks.empty()) return;
  CodePage& page = found->second;
  const size_t dropped = KillOverlapping(page, address, size);
  if (dropped == 0) {
    ++stats_.harmless_code_page_writes;
  } else {
    stats_.blocks_invalidated += dropped;
    ++stats_.pages_invalidated;
  }
  NoteWrite(address.PageNumber(), page);
}

void Translator::NoteWrite(uint64_t page_number, CodePage& page) {
  busy_pages_.insert(page_number);
  if (++page.writes < kWritesBeforeSelfChecking || page.self_checking) return;
  page.self_checking = true;
  KillPage(page);
}

void Translator::KillPage(CodePage& page) {
  const std::vector<BlockId> all = page.blocks;
  for (BlockId id : all) {
    RemoveFromPages(id);
    KillBlock(id);
  }
}

void Translator::Relax() {
  std::erase_if(busy_pages_, [&](uint64_t number) {
    CodePage& page = code_pages_[number];
    const bool quiet = page.writes == 0;
    page.writes = 0;
    if (quiet && page.self_checking) {
      KillPage(page);
      page.self_checking = false;
    }
    return quiet;
  });
}

void Translator::DropStale(BlockId id) {
  ++stats_.stale_blocks;
  const uint64_t page_number = cache_.Get(id).key.physical.PageNumber();
  NoteWrite(page_number, code_pages_[page_number]);
  RemoveFromPages(id);
  KillBlock(id);
}

void Translator::DisconnectPage(uint32_t linear_page) {
  auto found = supervisor_code_pages_.find(linear_page);
  if (found == supervisor_code_pages_.end()) return;
  for (BlockId id : code_pages_[found->second].blocks) {
    const Block& block = cache_.Get(id);
    if (block.crosses_page) {
      cache_.DisconnectAll(id);
    } else if (block.key.eip >> kPageShift == linear_page) {
      cache_.DisconnectCrossPage(id);
    }
  }
  supervisor_code_pages_.erase(found);
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

void Translator::DemoteSite(GuestPhysical instruction) {
  if (demoted_sites_.try_emplace(instruction.value).second) Retranslate(instruction);
}

void Translator::NoteDemotedExecution(GuestPhysical instruction) {
  auto found = demoted_sites_.find(instruction.value);
  if (found == demoted_sites_.end() || !found->second.for_user_access) return;
  DemotedSite& site = found->second;
  const uint64_t switches = mmu_.Stats().cr3_loads - site.cr3_loads;
  if (++site.executions < kExecutionsPerSwitch * (switches + 1)) return;
  demoted_sites_.erase(found);
  mapped_sites_.insert(instruction.value);
  Retranslate(instruction);
}

void Translator::Retranslate(GuestPhysical instruction) {
  auto found = code_pages_.find(instruction.PageNumber());
  if (found != code_pages_.end()) KillOverlapping(found->second, instruction, 1);
}

std::optional<uint32_t> Translator::GuestEipOf(uint64_t host_pc) const {
  const BlockId id = cache_.FindByHost(host_pc);
  if (id == kNone) return std::nullopt;
  const Block& block = cache_.Get(id);
  const uint64_t start = reinterpret_cast<uint64_t>(cache_.At(block.host_offset));
  return FindRecovery(block.recovery, static_cast<uint32_t>(host_pc - start)).eip;
}

void Translator::NoteUserAccess(uint64_t host_pc) {
  const BlockId id = cache_.FindByHost(host_pc);
  const std::optional<uint32_t> eip = GuestEipOf(host_pc);
  if (!eip || cache_.Get(id).crosses_page) return;
  const BlockKey& key = cache_.Get(id).key;
  const GuestPhysical site = key.physical + (*eip - key.eip);
  if (site.PageNumber() != key.physical.PageNumber() || ++user_accesses_[site.value] < kUserAccessesBeforeDemotion)
    return;
  user_accesses_[site.value] = 0;
  if (mapped_sites_.contains(site.value)) return;
  GuestInstruction insn;
  const size_t room = kPageSize - site.PageOffset();
  if (decoder_.Decode({memory_.Flat(site), room}, *eip, insn) != DecodeStatus::kOk) return;
  // A string instruction moves whole runs on the slow path, so it never runs too often there.
  const bool string = insn.row.cls == InstructionClass::kString;
  demoted_sites_[site.value] = {.for_user_access = !string, .cr3_loads = mmu_.Stats().cr3_loads};
  Retranslate(site);
}

TranslatorStats Translator::Stats() const {
  TranslatorStats stats = stats_;
  for (const BlockCounts& counts : counts_) {
    for (size_t i = 0; i < counts.classes.size(); ++i) stats.executed[i] += counts.classes[i] * counts.executions;
  }
  return stats;
}

void Translator::Dump(FILE* out, BlockId id) const { DumpBlock(out, cache_, cache_.Get(id), memory_); }

}  // namespace ring3
