// Decoder and emitter: any bytes in any block mode. Whatever comes out must pass the code verifier, before and after
// linking, and after the source was written to.
#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "tests/emitted/code_verifier.h"
#include "tests/fuzz/input.h"

namespace ring3::fuzz {
namespace {

constexpr uint64_t kRam = PhysicalMemory::kMinRam;
constexpr uint32_t kCodeAt = 0x10000, kCodeBytes = 3 * kPageSize;
constexpr unsigned kMostBlocks = 12, kWritesThatMakeSelfChecking = 30;

constexpr uint8_t kOneInstruction = 1, kNoLinks = 2, kCounts = 4, kSelfChecking = 8, kOptions = 7;

/// What is slow to make is kept: a translator for each set of options, with memory and windows of its own.
struct World {
  explicit World(uint8_t flags)
      : translator(physical, mmu, FindCpuModel("max"),
                   {.cache_bytes = CodeCache::kMinBytes,
                    .max_block_instructions = flags & kOneInstruction ? 1u : 64u,
                    .fast_paths = flags & kNoLinks ? FastPaths().Without(FastPath::kBlockLinks) : FastPaths(),
                    .count_executions = (flags & kCounts) != 0}) {}

  /// Forgets everything about the code of the input before, and puts `code` there.
  void Load(uint32_t at, std::span<const uint8_t> code) {
    std::vector<uint8_t> pages(kCodeBytes, 0x90);
    std::copy(code.begin(), code.end(), pages.begin() + (at - kCodeAt));
    physical.Write(GuestPhysical(kCodeAt), pages);
    for (int quiet = 0; quiet < 2; ++quiet) translator.Relax();
  }

  PhysicalMemory physical{kRam};
  ShadowMmu mmu{physical, {.user_windows = 1}};
  Translator translator;
};

World& WorldFor(uint8_t flags) {
  static std::array<std::unique_ptr<World>, kOptions + 1> worlds;
  std::unique_ptr<World>& world = worlds[flags & kOptions];
  if (!world) world = std::make_unique<World>(flags);
  return *world;
}

SegmentRegister AnySegment(Input& input) {
  const uint8_t shape = input.Byte();
  SegmentRegister s{.selector = 8, .attributes = 0xC093, .base = 0, .limit = 0xFFFF'FFFF};
  if (shape & 1) s.base = 0x1234'5678;
  if (shape & 2) s.limit = 0xFFFF;
  if (shape & 4) s.attributes ^= segattr::kWritable;
  if (shape & 8) s.attributes ^= segattr::kExpandDown;
  if (shape & 16) s.attributes ^= segattr::kDb;
  if (shape & 32) s.attributes = 0;
  return s;
}

/// A state whose mode may be any that is translated.
CpuState AnyMode(Input& input) {
  CpuState s;
  s.Reset();
  const uint16_t bits = input.Take<uint16_t>();
  s.cpl = bits & 1 ? 3 : bits & 2 ? 1 : 0;
  s.cr0 = cr0::kPe | cr0::kEt | (bits & 4 ? cr0::kTs : 0) | (bits & 8 ? cr0::kEm : 0);
  s.cr4 = (bits & 16 ? 0 : cr4::kOsfxsr) | (bits & 32 ? cr4::kTsd : 0);
  s.eflags = eflags::kReserved1;
  const bool all_flat = bits & 64;
  for (SegmentRegister& segment : s.seg) {
    segment = AnySegment(input);
    if (all_flat) segment = {.selector = 8, .attributes = 0xC093, .base = 0, .limit = 0xFFFF'FFFF};
  }
  SegmentRegister& cs = s.Segment(Seg::kCs);
  cs = {.selector = 8, .attributes = 0xC09B, .base = 0, .limit = 0xFFFF'FFFF};
  if (bits & 128) cs.attributes &= ~segattr::kDb;
  if (bits & 256) cs.base = kCodeAt;
  if (bits & 512) cs.limit = kCodeAt + kCodeBytes / 2;
  if (bits & 1024) s.eflags |= eflags::kVm;
  if (s.V86()) s.cpl = 3;
  if (bits & 2048 && !s.V86()) s.cr0 &= ~cr0::kPe;
  return s;
}

class Trial {
 public:
  explicit Trial(Input& input)
      : mode_(BlockMode::Of(AnyMode(input))),
        flags_(input.Byte()),
        start_(kCodeAt + input.Take<uint16_t>() % (2 * kPageSize)),
        world_(WorldFor(flags_)) {
    world_.Load(start_, input.TakeBytes(kCodeAt + kCodeBytes - start_));
  }

  void Run() {
    if (!mode_.Translatable()) return;
    translator_.SelectTable(mode_);
    if (flags_ & kSelfChecking) MakeSelfChecking();
    Explore(start_ - mode_.Code().base);
    translator_.CheckInvariants();
    // A store into each block's source must take the block away, and nothing may still lead there.
    for (const BlockId id : std::set<BlockId>(blocks_)) {
      const Block& block = translator_.Cache().Get(id);
      if (!block.live) continue;
      const uint8_t same = *world_.physical.Flat(block.key.physical);
      world_.physical.Write(block.key.physical, {&same, 1});
      translator_.CheckInvariants();
    }
    for (const BlockId id : blocks_) Verify(id);
  }

 private:
  bool Counts() const { return flags_ & kCounts; }

  void Verify(BlockId id) {
    const Block& block = translator_.Cache().Get(id);
    if (!block.live) return;
    const std::string report = VerifyBlock(translator_, world_.physical, id, Counts());
    if (report.empty()) return;
    translator_.Dump(stderr, id);
    Fail("translated code that may not be:\n" + report);
  }

  std::optional<BlockId> Translate(uint32_t eip) {
    if (mode_.Linear(eip).value >= kRam - 2 * kPageSize) return std::nullopt;
    const CodeLookup found = translator_.Lookup(eip, mode_);
    if (found.outcome != FillOutcome::kMapped) return std::nullopt;
    blocks_.insert(found.block);
    Verify(found.block);
    return found.block;
  }

  /// The block at `eip` and what it leads to, linked.
  void Explore(uint32_t eip) {
    std::vector<uint32_t> pending = {eip};
    while (!pending.empty() && blocks_.size() < kMostBlocks) {
      const uint32_t next = pending.back();
      pending.pop_back();
      const std::optional<BlockId> id = Translate(next);
      if (!id) continue;
      const std::vector<LinkId> links = translator_.Cache().Get(*id).links;
      for (const LinkId link : links) {
        const uint32_t target_eip = translator_.Cache().GetLink(link).target_eip;
        const size_t known = blocks_.size();
        const std::optional<BlockId> target = Translate(target_eip);
        if (!target || !translator_.Cache().Get(*id).live) continue;
        translator_.LinkExit(link, *target);
        Verify(*id);
        Verify(*target);
        if (blocks_.size() > known) pending.push_back(target_eip);
      }
    }
  }

  /// By writing to the page often.
  void MakeSelfChecking() {
    const uint8_t same = *world_.physical.Flat(GuestPhysical(start_));
    for (unsigned i = 0; i < kWritesThatMakeSelfChecking; ++i) {
      translator_.Lookup(start_ - mode_.Code().base, mode_);
      world_.physical.Write(GuestPhysical(start_), {&same, 1});
    }
  }

  const BlockMode mode_;
  const uint8_t flags_;
  const uint32_t start_;
  World& world_;
  Translator& translator_ = world_.translator;
  std::set<BlockId> blocks_;
};

}  // namespace

void Run(Input input) { Trial(input).Run(); }

}  // namespace ring3::fuzz
