// Memory for translated code and the records of the blocks in it: bounded, filled front to back in segments, the oldest
// segment evicted first.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "shadowmmu/address.h"
#include "translator/block_mode.h"
#include "translator/recovery_map.h"
#include "translator/return_stack.h"

namespace ring3 {

using BlockId = uint32_t;
using LinkId = uint32_t;
inline constexpr uint32_t kNone = 0;  // no block, no link

struct BlockKey {
  GuestPhysical physical;  // of the first byte
  uint32_t eip = 0;        // offset in the code segment
  BlockMode mode;
  GuestLinear Linear() const { return mode.Linear(eip); }
  bool operator==(const BlockKey&) const = default;
};

struct Block {
  BlockKey key;
  GuestPhysical second_page;  // where its one instruction goes on, when it crosses a page
  bool crosses_page = false;
  bool provisional = false;  // interpreted for want of its second page: neither linked to nor in a branch table
  uint16_t guest_bytes = 0, guest_instructions = 0;
  uint32_t host_offset = 0, host_bytes = 0;  // in the cache
  std::vector<RecoveryEntry> recovery;
  std::vector<LinkId> links;             // its direct exits
  std::unique_ptr<ReturnSites> returns;  // nullptr where it has none
  LinkId incoming = kNone;               // links of other blocks that jump here
  BlockId next_in_bucket = kNone;
  std::optional<uint8_t> thunk_register;  // all of it is a PC thunk (translator/thunks.h)
  bool live = false;                      // found by lookup; a dead block's code may still be running
};

/// A direct exit of a block: a jump instruction that goes to its own stub until it is linked to a block.
struct Link {
  BlockId source = kNone, target = kNone;
  uint32_t jump_offset = 0;  // of the rel32 field, in the cache
  uint32_t stub_offset = 0;  // of the call that it goes to while unlinked
  uint32_t target_eip = 0;
  bool same_page = false;  // source and target lie in one guest page
  LinkId next_incoming = kNone;
};

class CodeCache {
 public:
  static constexpr unsigned kSegments = 8;
  static constexpr uint64_t kMinBytes = 256 * 1024;
  /// No block is larger than this.
  static constexpr uint32_t kMaxBlockBytes = 16 * 1024;

  /// `bytes` of executable memory, `reserved_bytes` of which stay free at the front for the stubs. Throws UsageError.
  CodeCache(uint64_t bytes, uint32_t reserved_bytes, bool check_returns = true);
  ~CodeCache();
  CodeCache(const CodeCache&) = delete;

  uint8_t* Base() const { return base_; }
  uint8_t* At(uint32_t offset) const { return base_ + offset; }
  uint64_t Bytes() const { return bytes_; }
  /// Offset from Base() at which return sites look (ReturnSite); 0 where the host has no room for what lies behind.
  uint32_t ReturnCheck() const { return checks_returns_ ? static_cast<uint32_t>(bytes_ - sizeof(uint32_t)) : 0; }
  /// Whether a fault at this address is that of a return site's check.
  bool IsReturnMismatch(uint64_t address) const {
    return checks_returns_ && address - reinterpret_cast<uint64_t>(base_) - bytes_ < ReturnSite::kReach;
  }
  bool Contains(uint64_t host_pc) const { return host_pc - reinterpret_cast<uint64_t>(base_) < bytes_; }

  /// Where the next block will be written; evicts the oldest segment when there is no room for kMaxBlockBytes. The
  /// blocks evicted are reported through `evicted` before their memory is reused.
  uint32_t PrepareSpace();
  /// Blocks of the segment that PrepareSpace would reuse if it had to make room now; empty when it has room.
  std::span<const BlockId> EvictionCandidates() const;

  BlockId AddBlock(Block block);  // written at PrepareSpace()'s offset
  Block& Get(BlockId id) { return blocks_[id]; }
  const Block& Get(BlockId id) const { return blocks_[id]; }
  LinkId AddLink(Link link);
  Link& GetLink(LinkId id) { return links_[id]; }
  const Link& GetLink(LinkId id) const { return links_[id]; }

  /// The live block for `key`, or kNone.
  BlockId Find(const BlockKey& key) const;
  /// The block, live or dead, whose code holds this host address, or kNone.
  BlockId FindByHost(uint64_t host_pc) const;

  /// The recovery entry that governs a host address in the code of block `id`.
  const RecoveryEntry& RecoveryAt(BlockId id, uint64_t host_pc) const {
    const Block& block = blocks_[id];
    return FindRecovery(block.recovery,
                        static_cast<uint32_t>(host_pc - reinterpret_cast<uint64_t>(At(block.host_offset))));
  }

  /// Makes `id` unfindable and unlinks it both ways. Its code and recovery map stay until its segment is reused.
  void Kill(BlockId id);
  /// The link that called for a target, by the return address, which must be that of a link's call.
  LinkId LinkBehind(uint64_t host_pc) const;
  void Connect(LinkId link, BlockId target);
  /// From now on returns to the block look up where to go.
  void RetireReturns(BlockId id);
  void Disconnect(LinkId link);
  /// Disconnects the links from other pages that jump to `id`: its linear page means something else now.
  void DisconnectCrossPage(BlockId id);
  void DisconnectAll(BlockId id);

  /// The live blocks, in any mode and address space, whose guest code covers this linear address.
  std::vector<BlockId> LiveBlocksOver(GuestLinear address) const;

  uint64_t Evictions() const { return evictions_; }
  uint32_t LiveBlocks() const { return live_blocks_; }
  /// Verifies links, buckets and segments against each other; throws std::logic_error naming the difference.
  void CheckInvariants() const;

 private:
  struct Segment {
    uint32_t first = 0, end = 0, used = 0;  // offsets
    std::vector<BlockId> blocks;            // ascending host_offset
  };
  size_t Bucket(const BlockKey& key) const;
  bool HasRoom() const { return segments_[current_].end - segments_[current_].used >= kMaxBlockBytes; }
  void PatchJump(const Link& link, uint32_t target_offset);
  void ReleaseSegment(Segment& segment);

  void* reserved_ = nullptr;
  uint8_t* base_ = nullptr;  // in there, aligned so that huge pages may hold it
  uint64_t bytes_;
  bool checks_returns_ = false;
  std::vector<Segment> segments_;
  unsigned current_ = 0;
  std::deque<Block> blocks_{1};  // they are many: a vector would double its memory
  std::deque<Link> links_{1};
  std::vector<BlockId> free_blocks_;
  std::vector<LinkId> free_links_;
  std::vector<BlockId> buckets_;
  uint32_t live_blocks_ = 0;
  uint64_t evictions_ = 0;
};

}  // namespace ring3
