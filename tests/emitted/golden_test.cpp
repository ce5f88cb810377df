// Emitted code against golden listings. Run with RING3_ACCEPT_GOLDEN=1 to rewrite them, and review the difference.
#include <fmt/core.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <fstream>
#include <regex>
#include <span>
#include <sstream>

#include "tests/emitted/code_verifier.h"
#include "tests/translator/program.h"
#include "translator/dump.h"
#include "translator/vcpu.h"

using namespace ring3;

namespace {

enum class Kind : uint8_t {
  kFlat,  // 32-bit code in flat segments
  k16,    // 16-bit code and stack, data segments with limits
  kV86,
  kSoft,  // flat, and every site is demoted for its page faults
};

struct Snippet {
  const char* name;
  Bytes code;
  unsigned cpl = 3;
  Kind kind = Kind::kFlat;
};

const Snippet kSnippets[] = {
    {"mov_reg_reg", {0x89, 0xD8, 0x8B, 0xCA}},
    {"mov_load_base", {0x8B, 0x03, 0x8B, 0x46, 0x10, 0x8B, 0x8F, 0, 0xFF, 0xFF, 0xFF}},
    {"mov_load_stack", {0x8B, 0x44, 0x24, 0x08, 0x8B, 0x55, 0xF8, 0x89, 0x04, 0x24}},
    {"mov_load_index", {0x8B, 0x04, 0x8B, 0x8B, 0x44, 0xCB, 0x10, 0x8B, 0x04, 0x8D, 0, 0, 1, 0x10}},
    {"mov_load_stack_index", {0x8B, 0x04, 0x8C, 0x8B, 0x44, 0x4D, 0x08}},
    {"mov_absolute", {0xA1, 0, 0, 1, 0x10, 0xA3, 0, 0, 1, 0xC0, 0x8B, 0x0D, 0, 0, 1, 0xFF}},
    {"mov_high_table", {0x8B, 0x80, 0, 0, 1, 0xC0, 0x8B, 0x83, 0, 0, 0, 0xF0}},
    {"mov_high_byte", {0x8A, 0x63, 0x04, 0x88, 0x3B, 0x8A, 0x74, 0x24, 0x04}},
    {"mov_esp_ebp", {0x89, 0xE5, 0x89, 0xEC, 0x89, 0xE0, 0x89, 0xC4}},
    {"data_in_ebp", {0x8B, 0x6C, 0x24, 0x04, 0x31, 0xC5, 0x8B, 0x4D, 0x08, 0x8B, 0x95, 0,    0,    0xFE, 0xFF, 0x8B,
                     0x14, 0xAD, 0x10, 0,    0,    0,    0x8B, 0x74, 0x8D, 0,    0x55, 0xFF, 0x75, 0x04, 0x5B, 0x88,
                     0x65, 0x01, 0x0F, 0xBC, 0xE9, 0x39, 0xC5, 0x45, 0x89, 0xEC, 0x5D, 0xC9, 0x5D, 0x74, 0x06}},
    {"arithmetic", {0x01, 0xD8, 0x83, 0xC0, 0x05, 0x2B, 0x03, 0x81, 0x23, 0xFF, 0, 0, 0}},
    {"arithmetic_esp", {0x83, 0xEC, 0x20, 0x83, 0xE4, 0xF0, 0x01, 0xC4, 0x39, 0xE0}},
    {"inc_dec", {0x40, 0x4C, 0x45, 0x66, 0x47}},
    {"lea", {0x8D, 0x44, 0x8B, 0x10, 0x8D, 0x64, 0x24, 0x20, 0x8D, 0x6C, 0x24, 0x04}},
    {"opcode_82h", {0x82, 0xC1, 0x05, 0x82, 0x2B, 0x01}},
    {"shifts", {0xC1, 0xE0, 0x04, 0xD3, 0xEA, 0x0F, 0xAC, 0xD0, 0x08}},
    {"lock", {0xF0, 0xFF, 0x03, 0xF0, 0x0F, 0xB1, 0x0B, 0xF0, 0x0F, 0xC1, 0x44, 0x24, 0x04}},
    {"redundant_prefixes", {0x3E, 0x8B, 0x03, 0xF3, 0x0F, 0xBC, 0xC1, 0xF2, 0x89, 0xC8}},
    {"push_pop", {0x50, 0x54, 0x6A, 0xFF, 0x68, 0x78, 0x56, 0x34, 0x12, 0x58, 0x5D}},
    {"push_pop_memory", {0xFF, 0x33, 0xFF, 0x74, 0x24, 0x08, 0x8F, 0x03, 0x8F, 0x44, 0x24, 0x08}},
    {"push_pop_16", {0x66, 0x50, 0x66, 0x6A, 0xFF, 0x66, 0x5B}},
    {"push_segment", {0x1E, 0x0E, 0x0F, 0xA0}},
    {"pop_esp", {0x5C}},
    {"prologue", {0x55, 0x89, 0xE5, 0x83, 0xEC, 0x18, 0x89, 0x45, 0xFC, 0xC9, 0xC3}},
    {"call_direct", {0xE8, 0x00, 0x01, 0x00, 0x00}},
    {"call_direct_kernel", {0xE8, 0x00, 0x10, 0x00, 0x00}, 0},
    {"call_other_page_user", {0xE8, 0x00, 0x10, 0x00, 0x00}},
    {"call_indirect", {0xFF, 0x54, 0x24, 0x08}},
    {"call_register", {0xFF, 0xD0}},
    {"ret_n", {0xC2, 0x08, 0x00}},
    {"jmp_indirect", {0xFF, 0x24, 0x85, 0, 0, 1, 0x10}},
    {"jcc_short", {0x85, 0xC0, 0x74, 0x10}},
    {"jcc_other_page_user", {0x0F, 0x85, 0x00, 0x10, 0x00, 0x00}},
    {"loop", {0x40, 0xE2, 0xFD}},
    {"jecxz", {0xE3, 0x10}},
    {"strings", {0xA4, 0xF3, 0xA5, 0xF3, 0xAB, 0xF2, 0xAE, 0xAC}},
    {"segment_read", {0x8C, 0xD8, 0x8C, 0xE4, 0x66, 0x8C, 0xC9}},
    {"segment_with_base", {0x65, 0xA1, 0xF8, 0xFF, 0xFF, 0xFF, 0x64, 0x01, 0x48, 0x04, 0x65, 0xFF, 0x30}},
    {"x87", {0xD9, 0x43, 0x08, 0xDD, 0x5C, 0x24, 0x08, 0xDE, 0xC1}},
    {"sse", {0x66, 0x0F, 0x6F, 0x03, 0xF3, 0x0F, 0x10, 0x4C, 0x24, 0x04, 0x66, 0x0F, 0xD7, 0xE0}},
    {"interrupt_flag", {0xFA, 0xFB, 0x90}, 0},
    {"pushf_popf_kernel", {0x9C, 0x9D}, 0},
    {"pushf_user", {0x9C}},
    {"rdtsc", {0x0F, 0x31}},
    {"privileged", {0x0F, 0x22, 0xD8}, 0},
    {"interrupt", {0xCD, 0x80}},
    {"interrupt_return", {0xCF}, 0},
    {"system_enter", {0x0F, 0x34}},
    {"cpuid", {0x0F, 0xA2}},
    {"port_immediate", {0xE4, 0x80}, 0},
    {"port_dx", {0xEF}, 0},
    {"invlpg", {0x0F, 0x01, 0x7B, 0x10}, 0},
    {"control_read", {0x0F, 0x20, 0xC0, 0x0F, 0x20, 0xD4}, 0},
    {"segment_load", {0x8E, 0xE8}, 0},
    {"segment_pop", {0x0F, 0xA1}, 0},
    {"undefined", {0x0F, 0x0B}},
    {"code16_memory", {0x8B, 0x47, 0x10, 0x66, 0x89, 0x04, 0x8A, 0x02, 0x00, 0x26, 0x27}, 3, Kind::k16},
    {"code16_stack", {0x50, 0x66, 0x53, 0x58, 0x5D, 0x6A, 0x05, 0xFF, 0x37, 0x8F, 0x07, 0xC9}, 3, Kind::k16},
    {"code16_call", {0xE8, 0x10, 0x00}, 3, Kind::k16},
    {"code16_ret", {0xC2, 0x04, 0x00}, 3, Kind::k16},
    {"code16_loop", {0xE2, 0xFE}, 3, Kind::k16},
    {"code16_strings", {0xA4, 0xAD, 0xAA, 0xF3, 0xA5}, 3, Kind::k16},
    {"code16_flags", {0x9C, 0x9D}, 0, Kind::k16},
    {"soft_user",
     {0x8B, 0x03, 0x88, 0x67, 0x05, 0x01, 0x4C, 0x24, 0x08, 0x0F, 0x11, 0x42, 0x10, 0x0F, 0xAB, 0x03, 0xD9, 0x03},
     3,
     Kind::kSoft},
    {"soft_kernel", {0x83, 0x46, 0x04, 0x01, 0x0F, 0xB6, 0x2E}, 0, Kind::kSoft},
    {"v86_segments", {0x8E, 0xD8, 0x8C, 0x07, 0x07, 0xC4, 0x37, 0x17}, 3, Kind::kV86},
};

/// For the "max" model of a host that has all of AVX2 and BMI; the others are the default model's.
const Snippet kAvxSnippets[] = {
    {"avx",
     {0xC5, 0xEC, 0x58, 0x0B, 0xC5, 0xFC, 0x11, 0x5C, 0x24, 0x04, 0xC4, 0xE2, 0x6D, 0xB8, 0x48, 0x10, 0xC5, 0xF8,
      0x77}},
    {"avx_gather", {0xC4, 0xE2, 0x65, 0x90, 0x0C, 0x13, 0xC4, 0xE2, 0xE1, 0x92,
                    0x4C, 0x94, 0x10, 0x65, 0xC4, 0xE2, 0x65, 0x90, 0x0C, 0x13}},
    {"bmi", {0xC4, 0xE2, 0x50, 0xF2, 0xE1, 0xC4, 0xE2, 0x5B, 0xF6, 0x2B, 0xC4, 0xE3, 0x7B,
             0xF0, 0xCC, 0x05, 0xC4, 0xE2, 0xD9, 0xF7, 0x43, 0x04, 0xF3, 0x0F, 0xBC, 0xE1}},
};

std::string Replace(std::string text, const std::string& pattern,
                    const std::function<std::string(const std::smatch&)>& make) {
  const std::regex regex(pattern);
  std::string out;
  std::smatch match;
  while (std::regex_search(text, match, regex)) {
    out += match.prefix().str() + make(match);
    text = match.suffix().str();
  }
  return out + text;
}

std::string VcpuField(uint32_t offset) {
  const std::pair<int, const char*> kFields[] = {{vcpu_offset::kInterruptFlag, "interrupt_flag"},
                                                 {vcpu_offset::kInterruptsWaiting, "interrupts_waiting"},
                                                 {vcpu_offset::kEflags, "eflags"},
                                                 {vcpu_offset::kCr0, "cr0"},
                                                 {vcpu_offset::kCr2, "cr2"},
                                                 {vcpu_offset::kCr3, "cr3"},
                                                 {vcpu_offset::kCr4, "cr4"},
                                                 {vcpu_offset::kTscOffset, "tsc_offset"},
                                                 {vcpu_offset::kSoftBudgets, "soft_budgets"},
                                                 {vcpu_offset::SoftPages(false, false), "soft_reads"},
                                                 {vcpu_offset::SoftPages(false, true), "soft_writes"},
                                                 {vcpu_offset::SoftToHost(false), "soft_to_host"},
                                                 {vcpu_offset::SoftPages(true, false), "soft_user_reads"},
                                                 {vcpu_offset::SoftPages(true, true), "soft_user_writes"},
                                                 {vcpu_offset::SoftToHost(true), "soft_user_to_host"}};
  for (const auto& [at, name] : kFields) {
    if (static_cast<uint32_t>(at) == offset) return name;
  }
  constexpr const char* kSegments[] = {"es", "cs", "ss", "ds", "fs", "gs"};
  for (unsigned s = 0; s < kSegCount; ++s) {
    if (static_cast<uint32_t>(vcpu_offset::SegmentSelector(static_cast<Seg>(s))) == offset)
      return std::string(kSegments[s]) + ".selector";
    if (static_cast<uint32_t>(vcpu_offset::SegmentBase(static_cast<Seg>(s))) == offset)
      return std::string(kSegments[s]) + ".base";
  }
  for (unsigned s = 0; s < kSegCount; ++s) {
    const auto access = [s](size_t field) {
      return static_cast<uint32_t>(vcpu_offset::Access(static_cast<Seg>(s), field));
    };
    const auto check = [s](size_t field) {
      return static_cast<uint32_t>(vcpu_offset::Check(static_cast<Seg>(s), field));
    };
    if (check(offsetof(SegmentCheck, negated_descriptor)) == offset)
      return std::string(kSegments[s]) + ".negated_descriptor";
    if (check(offsetof(SegmentCheck, negated_selector)) == offset)
      return std::string(kSegments[s]) + ".negated_selector";
    if (check(offsetof(SegmentCheck, descriptor_address)) == offset)
      return std::string(kSegments[s]) + ".descriptor_address";
    if (access(offsetof(SegmentAccess, negated_size)) == offset) return std::string(kSegments[s]) + ".negated_size";
    if (access(offsetof(SegmentAccess, inside)) == offset) return std::string(kSegments[s]) + ".inside";
    if (access(offsetof(SegmentAccess, outside)) == offset) return std::string(kSegments[s]) + ".outside";
  }
  for (unsigned log2 = 0; log2 < kStringSteps.size(); ++log2) {
    if (static_cast<uint32_t>(vcpu_offset::StringSteps(log2)) == offset) return fmt::format("steps_of_{}", 1 << log2);
  }
  return fmt::format("{:#x}?", offset);
}

/// Addresses of this process become names: stubs, offsets in the block, fields of the vCPU state.
std::string Normalise(Translator& translator, const Block& block, std::string text) {
  const Stubs& stubs = translator.GetStubs();
  const uint64_t start = reinterpret_cast<uint64_t>(translator.Cache().At(block.host_offset));
  text = Replace(text, "0x0000([1-9A-F][0-9A-F]{11})", [&](const std::smatch& m) -> std::string {
    const uint64_t address = std::stoull(m[1].str(), nullptr, 16);
    if (address == stubs.LinkMiss()) return "<link miss>";
    if (address == stubs.IndirectMiss()) return "<indirect miss>";
    if (address == stubs.LeaveToInterpret() || address == stubs.Step({})) return "<interpret>";
    if (address == stubs.Stale()) return "<stale>";
    if (address == stubs.CalloutTo(Callout::kInterrupt)) return "<light callout>";
    if (address == stubs.CalloutTo(Callout::kIn)) return "<callout>";
    if (address - start < block.host_bytes) return fmt::format("<+{:x}>", address - start);
    return "<host address>";
  });
  text = Replace(text, "r12((?:\\+r[0-9]+\\*[0-9])?)\\+0x([0-9A-F]+)", [](const std::smatch& m) {
    return "r12" + m[1].str() + "+" + VcpuField(static_cast<uint32_t>(std::stoul(m[2].str(), nullptr, 16)));
  });
  return Replace(text, "( physical [0-9a-f]+)|( mode [0-9a-f]+)|( at 0x[0-9a-f]+)",
                 [](const std::smatch&) { return std::string(); });
}

void Enter(Kind kind, CpuState& state) {
  if (kind == Kind::kFlat || kind == Kind::kSoft) return;
  SegmentRegister& cs = state.Segment(Seg::kCs);
  for (SegmentRegister& segment : state.seg) {
    segment.base = guest::kData;
    segment.limit = 0xFFFF;
    segment.attributes &= ~(segattr::kDb | segattr::kG);
  }
  cs.base = guest::kCode;
  state.eip -= guest::kCode;
  if (kind == Kind::kV86) state.eflags |= eflags::kVm;
}

/// As if each instruction of the block had met absent pages again and again.
void DemoteAll(Translator& translator, uint32_t eip, BlockMode mode) {
  const BlockId first = translator.Lookup(eip, mode).block;
  const std::vector<RecoveryEntry> recovery = translator.Cache().Get(first).recovery;
  for (const RecoveryEntry& entry : recovery) {
    const Block& block = translator.Cache().Get(translator.Lookup(eip, mode).block);
    for (const RecoveryEntry& now : block.recovery) {
      if (now.eip != entry.eip || now.busy) continue;
      const auto pc = reinterpret_cast<uint64_t>(translator.Cache().At(block.host_offset + now.host_offset));
      for (int i = 0; i < 4; ++i) translator.NotePageFault(pc);
      break;
    }
  }
}

std::string Listing(TestMachine& machine, const Snippet& snippet) {
  Load(machine, MakeProgram(snippet.code, 1, snippet.cpl));
  Enter(snippet.kind, machine.State());
  Translator& translator = machine.GetTranslator();
  const BlockMode mode = BlockMode::Of(machine.State());
  translator.SelectTable(mode);
  if (snippet.kind == Kind::kSoft) DemoteAll(translator, machine.State().eip, mode);
  const CodeLookup found = translator.Lookup(machine.State().eip, mode);
  if (found.outcome != FillOutcome::kMapped) return "not translated\n";
  CHECK(VerifyBlock(translator, machine.Physical(), found.block) == "");
  char* buffer = nullptr;
  size_t size = 0;
  FILE* out = open_memstream(&buffer, &size);
  translator.Dump(out, found.block);
  std::fclose(out);
  const std::string text(buffer, size);
  std::free(buffer);
  return Normalise(translator, translator.Cache().Get(found.block), text);
}

std::string LineDifference(const std::string& actual, const std::string& expected) {
  std::istringstream a(actual), e(expected);
  std::string text, left, right;
  for (;;) {
    const bool more_a = static_cast<bool>(std::getline(a, left)), more_e = static_cast<bool>(std::getline(e, right));
    if (!more_a && !more_e) return text;
    if (!more_a) left.clear();
    if (!more_e) right.clear();
    if (left == right) {
      text += "  " + left + "\n";
    } else {
      text += "- " + right + "\n+ " + left + "\n";
    }
  }
}

void CheckListings(TestMachine& machine, std::span<const Snippet> snippets) {
  if (!machine.GetTranslator().Cache().ReturnCheck()) {
    WARN("skipped: there is no room for return checks, with which the listings were accepted");
    return;
  }
  const bool accept = std::getenv("RING3_ACCEPT_GOLDEN") != nullptr;
  for (const Snippet& snippet : snippets) {
    const std::string path = fmt::format("{}/{}.golden", RING3_GOLDEN_FOLDER, snippet.name);
    const std::string actual = Listing(machine, snippet);
    if (accept) {
      std::ofstream(path) << actual;
      continue;
    }
    std::ifstream file(path);
    std::stringstream expected;
    expected << file.rdbuf();
    INFO(snippet.name << ": - accepted, + emitted now\n" << LineDifference(actual, expected.str()));
    CHECK(actual == expected.str());
  }
}

}  // namespace

TEST_CASE("emitted code is what was accepted") {
  TestMachine machine({.model = "n270"});
  CheckListings(machine, kSnippets);
}

TEST_CASE("emitted code for AVX and BMI is what was accepted") {
  const CpuModel& max = FindCpuModel("max");
  constexpr uint32_t kNeeded = cpuid7_ebx::kAvx2 | cpuid7_ebx::kBmi1 | cpuid7_ebx::kBmi2;
  if ((max.features7_ebx & kNeeded) != kNeeded || !(max.features_ecx & cpuid_ecx::kFma)) return;
  TestMachine machine;
  CheckListings(machine, kAvxSnippets);
}
