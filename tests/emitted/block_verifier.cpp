// Blocks as they lie in the cache: what they may reach beyond themselves, and their limits of size.
#include <Zydis/Zydis.h>

#include <cstring>
#include <set>

#include "tests/emitted/code_verifier.h"

namespace ring3 {

std::string VerifyBlock(const Translator& translator, const PhysicalMemory& memory, BlockId id, bool counts) {
  const CodeCache& cache = translator.Cache();
  const Block& block = cache.Get(id);
  const Stubs& stubs = translator.GetStubs();
  const auto host = [&](uint32_t offset) { return reinterpret_cast<uint64_t>(cache.At(offset)); };
  CodeUnderTest code{.code = {cache.At(block.host_offset), block.host_bytes},
                     .host_address = host(block.host_offset),
                     .recovery = block.recovery,
                     .link_miss = stubs.LinkMiss(),
                     .return_check = cache.ReturnCheck(),
                     .counts = counts};
  code.source = {reinterpret_cast<uint64_t>(memory.Flat(block.key.physical)), block.guest_bytes};
  code.may_jump_to = [&](uint64_t target) {
    for (const uint64_t stub : {stubs.IndirectMiss(), stubs.LinkMiss(), stubs.LeaveToInterpret(), stubs.LeaveDemoted(),
                                stubs.Step({}), stubs.Step({.demoted = true}),
                                stubs.Step({.demoted = true, .plain = true}), stubs.Stale(), stubs.CalloutTo(Callout::kInterrupt), stubs.CalloutTo(Callout::kIn)}) {
      if (target == stub) return true;
    }
    const BlockId other = cache.FindByHost(target);
    return other != kNone && cache.Get(other).live && host(cache.Get(other).host_offset) == target;
  };
  // Beside its own instructions, the targets of its exits, linkable or not.
  std::set<uint32_t> targets;
  for (const LinkId link : block.links) targets.insert(cache.GetLink(link).target_eip);
  for (size_t at = 0; at + 6 <= code.code.size(); ++at) {
    uint32_t eip = 0;
    std::memcpy(&eip, &code.code[at + 2], sizeof eip);
    if (code.code[at] == 0x41 && code.code[at + 1] == 0xB8) targets.insert(eip);  // mov r8d, eip
  }
  code.may_resume_at = [&](uint32_t eip) { return eip - block.key.eip <= block.guest_bytes || targets.contains(eip); };
  std::string report = VerifyCode(code);
  if (block.host_bytes > CodeCache::kMaxBlockBytes) report += "  the block is too large\n";
  const uint32_t room = kPageSize - block.key.physical.PageOffset();
  if (block.guest_bytes == 0 || block.guest_bytes > (block.crosses_page ? room + ZYDIS_MAX_INSTRUCTION_LENGTH : room)) {
    report += "  the block covers more than its page\n";
  }
  return report;
}

}  // namespace ring3
