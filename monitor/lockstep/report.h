// What is said of the first difference.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "monitor/lockstep/channel.h"
#include "translator/translator.h"

namespace ring3::lockstep {

/// The way the replica took since a block of the recorder's began, and the blocks before.
class Path {
 public:
  struct Instruction {
    uint32_t eip;
    uint64_t host;  // its translation, 0 where it was interpreted
  };
  void StartBlock(uint32_t eip) {
    blocks_[started_++ % blocks_.size()] = eip;
    instructions_.clear();
  }
  void Add(uint32_t eip, uint64_t host) {
    if (instructions_.size() < kMost) instructions_.push_back({eip, host});
  }
  const std::vector<Instruction>& Instructions() const { return instructions_; }
  /// Oldest first.
  std::vector<uint32_t> Blocks() const;

 private:
  static constexpr size_t kMost = 128;
  std::array<uint32_t, 16> blocks_{};
  uint64_t started_ = 0;
  std::vector<Instruction> instructions_;
};

struct Difference {
  const std::string& what;
  const Counts& counts;
  const BlockRecord& block;  // entered last
  const BlockRecord& there;  // where the recorder was seen last
  Vcpu& vcpu;
  Translator& translator;
  const Path& path;
};

/// Everything but the recorder's own code, which goes between head and tail.
void WriteReport(Meeting& meeting, const Difference& difference);

/// Lines that name what differs; empty when nothing does.
std::string SystemDifferences(const SystemState& theirs, const SystemState& mine);
/// x87, MMX and SSE registers. The pointers to the last x87 instruction are the host's affair and not compared.
std::string FpuDifferences(const CpuState& theirs, const CpuState& mine);

/// Whether a repeated string instruction is next.
bool IsRepeated(Vcpu& vcpu);

}  // namespace ring3::lockstep
