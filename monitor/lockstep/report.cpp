#include "monitor/lockstep/report.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "shadowmmu/paging.h"
#include "translator/dump.h"

namespace ring3::lockstep {
namespace {

constexpr unsigned kLongestInstruction = 15;

std::string Row(const std::string& name, uint64_t theirs, uint64_t mine) {
  return fmt::format("  {:<14} {:>16x} {:>16x}{}\n", name, theirs, mine, theirs == mine ? "" : "  <--");
}

std::string Registers(const BlockRecord& theirs, const CpuState& mine) {
  static constexpr const char* kNames[] = {"eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"};
  std::string text = fmt::format("  {:<14} {:>16} {:>16}\n", "", "linked blocks", "one at a time");
  for (unsigned i = 0; i < kGprCount; ++i) text += Row(kNames[i], theirs.gpr[i], mine.gpr[i]);
  const bool whole = theirs.tag != BlockRecord::kTag;
  const uint32_t mask = whole ? kComparedFlags : eflags::kHostHeld;
  text += Row("eip", theirs.eip, mine.eip);
  text += Row(whole ? "eflags" : "eflags (part)", theirs.flags & mask, mine.eflags & mask);
  if (whole) text += Row("cpl, halted", theirs.host_offset, PositionBits(mine));
  return text;
}

/// Bytes of the instruction at `eip`, read without side effects; what cannot be read is left out.
std::vector<uint8_t> CodeAt(Vcpu& vcpu, uint32_t eip) {
  std::vector<uint8_t> bytes;
  const CpuState& state = vcpu.cpu.state;
  const PagingState paging = PagingState::From(state, vcpu.cpu.a20_enabled);
  PhysicalMemory& memory = vcpu.cpu.memory.Physical();
  for (unsigned i = 0; i < kLongestInstruction; ++i) {
    const uint32_t linear = state.Segment(Seg::kCs).base + eip + i;
    const WalkResult walk = Peek(memory, paging, GuestLinear(linear));
    if (!walk.ok) break;
    uint8_t byte = 0;
    memory.Read(walk.translation.page + (linear & kPageMask), {&byte, 1});
    bytes.push_back(byte);
  }
  return bytes;
}

/// The replica's side: each instruction of the way, with its translation where it has one.
void PrintPath(FILE* out, const Difference& d) {
  fmt::print(out, "one instruction at a time:\n");
  for (const Path::Instruction& step : d.path.Instructions()) {
    const BlockId block = step.host ? d.translator.Cache().FindByHost(step.host) : kNone;
    if (block != kNone) {
      d.translator.Dump(out, block);
      continue;
    }
    unsigned length = 1;
    const CodeSize size = d.vcpu.cpu.state.Code32() ? CodeSize::k32 : CodeSize::k16;
    fmt::print(out, "  {:08x}  {} (interpreted)\n", step.eip,
               Disassemble(CodeAt(d.vcpu, step.eip), step.eip, size, length));
  }
}

void Store(const std::string& text, std::array<char, 32 * 1024>& to) {
  const size_t bytes = std::min(text.size(), to.size() - 1);
  std::memcpy(to.data(), text.data(), bytes);
  to[bytes] = 0;
}

}  // namespace

std::vector<uint32_t> Path::Blocks() const {
  std::vector<uint32_t> blocks;
  const uint64_t kept = std::min<uint64_t>(started_, blocks_.size());
  for (uint64_t i = started_ - kept; i < started_; ++i) blocks.push_back(blocks_[i % blocks_.size()]);
  return blocks;
}

void WriteReport(Meeting& meeting, const Difference& d) {
  std::string head = fmt::format("\nring3: lockstep: first difference after {} instructions in {} blocks: {}\n",
                                 d.counts.instructions, d.counts.blocks, d.what);
  head += Registers(d.there, d.vcpu.cpu.state);
  head += "blocks entered, oldest first:";
  for (const uint32_t eip : d.path.Blocks()) head += fmt::format(" {:08x}", eip);
  head += fmt::format("\nthe last of them, entered with these registers:\n ");
  for (const uint32_t gpr : d.block.gpr) head += fmt::format(" {:08x}", gpr);
  head += fmt::format("\nblock {:08x} as it ran:\n", d.block.eip);
  Store(head, meeting.report_head);

  char* text = nullptr;
  size_t bytes = 0;
  FILE* out = open_memstream(&text, &bytes);
  PrintPath(out, d);
  std::fclose(out);
  Store({text, bytes}, meeting.report_tail);
  std::free(text);
}

std::string SystemDifferences(const SystemState& theirs, const SystemState& mine) {
  static constexpr const char* kSegments[] = {"es", "cs", "ss", "ds", "fs", "gs"};
  std::string text;
  const auto compare = [&text](const std::string& name, uint64_t a, uint64_t b) {
    if (a != b) text += Row(name, a, b);
  };
  const auto compare_segment = [&](const std::string& name, const SegmentRegister& a, const SegmentRegister& b) {
    compare(name, a.selector, b.selector);
    compare(name + " base", a.base, b.base);
    compare(name + " limit", a.limit, b.limit);
    compare(name + " rights", a.attributes, b.attributes);
  };
  for (unsigned i = 0; i < kSegCount; ++i) compare_segment(kSegments[i], theirs.seg[i], mine.seg[i]);
  compare_segment("ldtr", theirs.ldtr, mine.ldtr);
  compare_segment("tr", theirs.tr, mine.tr);
  compare("gdtr base", theirs.gdtr.base, mine.gdtr.base);
  compare("gdtr limit", theirs.gdtr.limit, mine.gdtr.limit);
  compare("idtr base", theirs.idtr.base, mine.idtr.base);
  compare("idtr limit", theirs.idtr.limit, mine.idtr.limit);
  compare("cr0", theirs.cr0, mine.cr0);
  compare("cr2", theirs.cr2, mine.cr2);
  compare("cr3", theirs.cr3, mine.cr3);
  compare("cr4", theirs.cr4, mine.cr4);
  for (unsigned i = 0; i < theirs.dr.size(); ++i) compare(fmt::format("dr{}", i), theirs.dr[i], mine.dr[i]);
  for (unsigned i = 0; i < theirs.pdpte.size(); ++i) compare(fmt::format("pdpte{}", i), theirs.pdpte[i], mine.pdpte[i]);
  compare("efer", theirs.efer, mine.efer);
  compare("pat", theirs.pat, mine.pat);
  compare("apic base", theirs.apic_base, mine.apic_base);
  compare("misc enable", theirs.misc_enable, mine.misc_enable);
  compare("sysenter cs", theirs.sysenter_cs, mine.sysenter_cs);
  compare("sysenter esp", theirs.sysenter_esp, mine.sysenter_esp);
  compare("sysenter eip", theirs.sysenter_eip, mine.sysenter_eip);
  return text;
}

std::string FpuDifferences(const CpuState& theirs, const CpuState& mine) {
  // FXSAVE image, SDM 1 table 10-2: control, status and tag words; MXCSR; ten bytes in each of eight slots; XMM0-7.
  struct Field {
    const char* name;
    unsigned offset, bytes;
  };
  std::vector<Field> fields = {{"fcw", 0, 2}, {"fsw", 2, 2}, {"ftw", 4, 1}, {"mxcsr", 24, 4}};
  constexpr unsigned kSlots = 32, kXmm = 160, kSlotBytes = 16;
  static constexpr const char* kSt[] = {"st0", "st1", "st2", "st3", "st4", "st5", "st6", "st7"};
  static constexpr const char* kXmmNames[] = {"xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7"};
  for (unsigned i = 0; i < 8; ++i) {
    fields.push_back({kSt[i], kSlots + i * kSlotBytes, 8});
    fields.push_back({kSt[i], kSlots + i * kSlotBytes + 8, 2});
    fields.push_back({kXmmNames[i], kXmm + i * kSlotBytes, 8});
    fields.push_back({kXmmNames[i], kXmm + i * kSlotBytes + 8, 8});
  }
  std::string text;
  for (const Field& field : fields) {
    uint64_t a = 0, b = 0;
    std::memcpy(&a, &theirs.fxsave[field.offset], field.bytes);
    std::memcpy(&b, &mine.fxsave[field.offset], field.bytes);
    if (a != b) text += Row(field.name, a, b);
  }
  return text;
}

bool IsRepeated(Vcpu& vcpu) {
  static constexpr uint8_t kOtherPrefixes[] = {0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x66, 0x67, 0xF0};
  for (const uint8_t byte : CodeAt(vcpu, vcpu.cpu.state.eip)) {
    if (byte == 0xF2 || byte == 0xF3) return true;
    if (std::find(std::begin(kOtherPrefixes), std::end(kOtherPrefixes), byte) == std::end(kOtherPrefixes)) return false;
  }
  return false;
}

}  // namespace ring3::lockstep
