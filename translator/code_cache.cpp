#include "translator/code_cache.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "monitor/cpu/fault.h"

namespace ring3 {
namespace {
constexpr size_t kBuckets = 1u << 16;
/// The reservation for return checks stays far above the windows, which have holes (shadowmmu/window_space.h).
constexpr uint64_t kLowestReservation = 0x3000'0000'0000;
constexpr int kMapFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;

/// AddressSanitizer keeps a shadow of whatever is mapped: terabytes would take it seconds.
#ifdef RING3_SANITIZED
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

constexpr uint64_t kHugePage = 2u << 20;

/// Address space with room behind it for what return sites may reach; nullptr when the host has no such room.
void* ReserveWithReach(uint64_t bytes) {
  void* memory = mmap(nullptr, bytes + ReturnSite::kReach, PROT_NONE, kMapFlags, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  if (reinterpret_cast<uint64_t>(memory) >= kLowestReservation) return memory;
  munmap(memory, bytes + ReturnSite::kReach);
  return nullptr;
}

uint8_t* AlignedToHugePages(void* memory) {
  return reinterpret_cast<uint8_t*>((reinterpret_cast<uint64_t>(memory) + kHugePage - 1) & ~(kHugePage - 1));
}

}  // namespace

CodeCache::CodeCache(uint64_t bytes, uint32_t reserved_bytes, bool check_returns)
    : bytes_(bytes), buckets_(kBuckets, kNone) {
  if (bytes < kMinBytes || bytes > (1u << 30)) {
    throw UsageError("translation cache size must lie between 256K and 1G");
  }
  const uint64_t with_margin = bytes + kHugePage;
  reserved_ = check_returns && !kSanitized ? ReserveWithReach(with_margin) : nullptr;
  checks_returns_ = reserved_ != nullptr;
  if (!checks_returns_) reserved_ = mmap(nullptr, with_margin, PROT_NONE, kMapFlags, -1, 0);
  base_ = AlignedToHugePages(reserved_);
  if (reserved_ == MAP_FAILED || mprotect(base_, bytes, PROT_READ | PROT_WRITE | PROT_EXEC) != 0) {
    throw UsageError("the host gives no executable memory for translations (is writable code forbidden by policy?)");
  }
  madvise(base_, bytes, MADV_HUGEPAGE);  // only speed depends on it
  uint32_t each = static_cast<uint32_t>((bytes - reserved_bytes) / kSegments);
  for (unsigned i = 0; i < kSegments; ++i) {
    uint32_t first = reserved_bytes + i * each;
    segments_.push_back({first, first + each, first, {}});
  }
}

CodeCache::~CodeCache() { munmap(reserved_, bytes_ + kHugePage + (checks_returns_ ? ReturnSite::kReach : 0)); }

std::span<const BlockId> CodeCache::EvictionCandidates() const {
  if (HasRoom()) return {};
  return segments_[(current_ + 1) % kSegments].blocks;
}

uint32_t CodeCache::PrepareSpace() {
  if (!HasRoom()) {
    current_ = (current_ + 1) % kSegments;
    ReleaseSegment(segments_[current_]);
  }
  return segments_[current_].used;
}

void CodeCache::ReleaseSegment(Segment& segment) {
  if (!segment.blocks.empty()) ++evictions_;
  for (BlockId id : segment.blocks) {
    if (blocks_[id].live) Kill(id);
    for (LinkId link : blocks_[id].links) {
      links_[link] = {};
      free_links_.push_back(link);
    }
    blocks_[id] = {};
    free_blocks_.push_back(id);
  }
  segment.blocks.clear();
  segment.used = segment.first;
}

size_t CodeCache::Bucket(const BlockKey& key) const {
  uint64_t h = (key.physical.value ^ (static_cast<uint64_t>(key.eip) << 20) ^ key.mode.Hash()) * 0x9E37'79B9'7F4A'7C15;
  return h >> (64 - 16);
}

BlockId CodeCache::AddBlock(Block block) {
  Segment& segment = segments_[current_];
  BlockId id;
  if (free_blocks_.empty()) {
    id = static_cast<BlockId>(blocks_.size());
    blocks_.emplace_back();
  } else {
    id = free_blocks_.back();
    free_blocks_.pop_back();
  }
  constexpr uint32_t kAlign = 16;
  segment.used = (block.host_offset + block.host_bytes + kAlign - 1) & ~(kAlign - 1);
  segment.blocks.push_back(id);
  BlockId& head = buckets_[Bucket(block.key)];
  block.next_in_bucket = head;
  block.live = true;
  head = id;
  blocks_[id] = std::move(block);
  for (LinkId link : blocks_[id].links) links_[link].source = id;
  ++live_blocks_;
  return id;
}

LinkId CodeCache::AddLink(Link link) {
  if (free_links_.empty()) {
    links_.push_back(link);
    return static_cast<LinkId>(links_.size() - 1);
  }
  LinkId id = free_links_.back();
  free_links_.pop_back();
  links_[id] = link;
  return id;
}

BlockId CodeCache::Find(const BlockKey& key) const {
  for (BlockId id = buckets_[Bucket(key)]; id != kNone; id = blocks_[id].next_in_bucket) {
    if (blocks_[id].key == key) return id;
  }
  return kNone;
}

BlockId CodeCache::FindByHost(uint64_t host_pc) const {
  if (!Contains(host_pc)) return kNone;
  uint32_t offset = static_cast<uint32_t>(host_pc - reinterpret_cast<uint64_t>(base_));
  if (offset < segments_[0].first) return kNone;
  size_t index = (offset - segments_[0].first) / (segments_[0].end - segments_[0].first);
  if (index >= segments_.size()) return kNone;
  const auto& ids = segments_[index].blocks;
  auto after = std::upper_bound(ids.begin(), ids.end(), offset,
                                [this](uint32_t o, BlockId id) { return o < blocks_[id].host_offset; });
  if (after == ids.begin()) return kNone;
  BlockId id = *std::prev(after);
  return offset - blocks_[id].host_offset < blocks_[id].host_bytes ? id : kNone;
}

void CodeCache::Kill(BlockId id) {
  Block& block = blocks_[id];
  block.live = false;
  --live_blocks_;
  BlockId* at = &buckets_[Bucket(block.key)];
  while (*at != id) at = &blocks_[*at].next_in_bucket;
  *at = block.next_in_bucket;
  DisconnectAll(id);
  RetireReturns(id);
  for (LinkId link : block.links) {
    if (links_[link].target != kNone) Disconnect(link);
  }
}

void CodeCache::PatchJump(const Link& link, uint32_t target_offset) {
  int32_t relative = static_cast<int32_t>(target_offset - (link.jump_offset + 4));
  std::memcpy(At(link.jump_offset), &relative, sizeof relative);
}

void CodeCache::RetireReturns(BlockId id) {
  const Block& block = blocks_[id];
  if (!block.returns) return;
  for (const uint16_t site : block.returns->offsets) {
    const uint32_t at = block.host_offset + site;
    const int32_t relative = block.returns->lookup - static_cast<int32_t>(site + ReturnSite::kJumpBytes);
    *At(at) = 0xE9;
    std::memcpy(At(at + 1), &relative, sizeof relative);
    std::memcpy(At(at + ReturnSite::kJumpBytes), ReturnSite::kNop, sizeof ReturnSite::kNop);
  }
}

LinkId CodeCache::LinkBehind(uint64_t host_pc) const {
  constexpr uint32_t kCallBytes = 5;
  const uint32_t stub = static_cast<uint32_t>(host_pc - kCallBytes - reinterpret_cast<uint64_t>(base_));
  for (const LinkId link : blocks_[FindByHost(host_pc - kCallBytes)].links) {
    if (links_[link].stub_offset == stub) return link;
  }
  throw std::logic_error("translated code asked for a link that does not exist");
}

void CodeCache::Connect(LinkId id, BlockId target) {
  Link& link = links_[id];
  if (link.target != kNone) Disconnect(id);
  link.target = target;
  link.next_incoming = blocks_[target].incoming;
  blocks_[target].incoming = id;
  PatchJump(link, blocks_[target].host_offset);
}

void CodeCache::Disconnect(LinkId id) {
  Link& link = links_[id];
  LinkId* at = &blocks_[link.target].incoming;
  while (*at != id) at = &links_[*at].next_incoming;
  *at = link.next_incoming;
  link.target = link.next_incoming = kNone;
  PatchJump(link, link.stub_offset);
}

void CodeCache::DisconnectCrossPage(BlockId id) {
  for (LinkId link = blocks_[id].incoming; link != kNone;) {
    LinkId next = links_[link].next_incoming;
    if (!links_[link].same_page) Disconnect(link);
    link = next;
  }
}

void CodeCache::DisconnectAll(BlockId id) {
  while (blocks_[id].incoming != kNone) Disconnect(blocks_[id].incoming);
}

std::vector<BlockId> CodeCache::LiveBlocksOver(GuestLinear address) const {
  std::vector<BlockId> over;
  for (BlockId id = 1; id < blocks_.size(); ++id) {
    const Block& block = blocks_[id];
    if (block.live && address - block.key.Linear() < block.guest_bytes) over.push_back(id);
  }
  return over;
}

void CodeCache::CheckInvariants() const {
  auto require = [](bool ok, const char* what) {
    if (!ok) throw std::logic_error(std::string("code cache: ") + what);
  };
  uint32_t live = 0;
  for (const Segment& segment : segments_) {
    uint32_t previous_end = segment.first;
    for (BlockId id : segment.blocks) {
      const Block& b = blocks_[id];
      require(b.host_offset >= previous_end && b.host_offset + b.host_bytes <= segment.end, "blocks overlap");
      previous_end = b.host_offset + b.host_bytes;
      live += b.live;
      require(!b.recovery.empty() && b.recovery.front().host_offset == 0, "a block has no recovery map");
      require(b.live == (Find(b.key) == id), "lookup and liveness differ");
      require(b.live || b.incoming == kNone, "a dead block is jumped to");
      for (LinkId link = b.incoming; link != kNone; link = links_[link].next_incoming) {
        require(links_[link].target == id, "incoming list names a link that goes elsewhere");
        require(blocks_[links_[link].source].live, "a dead block is linked");
      }
      for (LinkId link : b.links) require(links_[link].source == id, "a link has another source");
    }
  }
  require(live == live_blocks_, "live blocks miscounted");
}

}  // namespace ring3
