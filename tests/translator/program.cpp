#include "tests/translator/program.h"

#include <fmt/core.h>

#include <cstring>
#include <iterator>
#include <random>
#include <stdexcept>

#include "monitor/cpu/descriptor.h"
#include "monitor/cpu/guest_decoder.h"
#include "tests/oracle/noise.h"

namespace ring3 {
namespace {

constexpr uint8_t kInt3 = 0xCC;
constexpr uint32_t kBreakpoint = 3, kPageFault = 14;

/// What the regions hold when a program starts.
struct Contents {
  explicit Contents(const Program& program)
      : data(Noise(program.seed, guest::kDataBytes)), stack(Noise(program.seed + 1, guest::kStackBytes)) {
    if (program.segmentation) top = Noise(program.seed + 2, guest::kTopBytes);
    for (const Patch& patch : program.patches) {
      Put(data, guest::kData, patch);
      Put(stack, guest::kStack, patch);
      Put(top, guest::kTop, patch);
    }
  }
  Bytes data, stack, top;

 private:
  static void Put(Bytes& region, uint32_t base, const Patch& patch) {
    for (size_t i = 0; i < patch.bytes.size(); ++i) {
      const uint32_t at = patch.address + static_cast<uint32_t>(i) - base;
      if (at < region.size()) region[at] = patch.bytes[i];
    }
  }
};

uint64_t LdtDescriptor(const LdtEntry& entry, unsigned dpl) {
  using namespace segattr;
  unsigned attributes = kAccessed | kS | dpl << kDplShift | (entry.present ? kPresent : 0) | (entry.big ? kDb : 0) |
                        (entry.pages ? kG : 0);
  if (entry.kind == LdtEntry::Kind::kExpandDown) attributes |= kExpandDown;
  if (entry.kind >= LdtEntry::Kind::kCode) attributes |= kCode;
  if (entry.kind == LdtEntry::Kind::kConformingCode) attributes |= kConforming;
  if (!entry.read_only) attributes |= kWritable;  // of code: readable
  return (entry.limit & 0xFFFFu) | uint64_t{entry.base & 0xFF'FFFF} << 16 | uint64_t{attributes & 0xFFu} << 40 |
         uint64_t{entry.limit >> 16} << 48 | uint64_t{attributes & 0xF000u} << 40 | uint64_t{entry.base >> 24} << 56;
}

/// Registers with plausible numbers: FNINIT's control word and tags, any contents.
std::array<uint8_t, 512> FpuNoise(std::mt19937& random) {
  std::array<uint8_t, 512> image = OracleState().fxsave;
  constexpr unsigned kTags = 4, kSt0 = 32, kXmm0 = 160, kSlot = 16;
  for (unsigned i = 0; i < 8; ++i) {
    const long double number = (static_cast<double>(random()) - 2e9) / (1 + random() % 1000);
    std::memcpy(&image[kSt0 + kSlot * i], &number, 10);
    for (unsigned b = 0; b < kSlot; ++b) image[kXmm0 + kSlot * i + b] = static_cast<uint8_t>(random());
  }
  image[kTags] = static_cast<uint8_t>(random() % 4 ? 0xFF : random());
  const auto status = static_cast<uint16_t>(random() & 0x7F00);
  std::memcpy(&image[2], &status, sizeof status);
  return image;
}

/// The selector that a program at CPL 0 has for one at CPL 3.
uint16_t AtCpl0(uint16_t selector) {
  constexpr uint16_t kRpl = 3;
  if (selector == guest::kCode3) return guest::kCode0;
  return selector == guest::kData3 ? guest::kData0 : static_cast<uint16_t>(selector & ~kRpl);
}

bool HasAvx() { return FindCpuModel("max").Xcr0Supported() & xstate::kAvx; }

void CompareBytes(const char* what, uint32_t base, const Bytes& actual, const Bytes& expected, std::string& text) {
  for (size_t i = 0; i < expected.size(); ++i) {
    if (actual[i] == expected[i]) continue;
    text += fmt::format("  {} [{:08x}] {:02x}, expected {:02x}\n", what, base + i, actual[i], expected[i]);
    return;
  }
}

void CompareFpu(const Outcome& actual, const Outcome& expected, bool ignore_pointers, std::string& text) {
  for (unsigned i = 0; i < kYmmHighBytes; ++i) {
    if (actual.ymm_high[i] == expected.ymm_high[i]) continue;
    text += fmt::format("  ymm{}[{}] {:02x}, expected {:02x}\n", i / kXmmBytes, kXmmBytes + i % kXmmBytes,
                        actual.ymm_high[i], expected.ymm_high[i]);
    break;
  }
  constexpr unsigned kFop = 6, kPointers = 8, kMxcsr = 24, kMxcsrMask = 28, kMxcsrMaskEnd = 32, kXmmEnd = 288;
  for (unsigned i = 0; i < kXmmEnd; ++i) {
    const bool pointer = i >= kPointers && i < kMxcsr;
    // FOP is recorded for unmasked exceptions only (fopcode compatibility), or always.
    if (i == kFop || i == kFop + 1 || (pointer && ignore_pointers) || (i >= kMxcsrMask && i < kMxcsrMaskEnd)) continue;
    if (actual.fxsave[i] == expected.fxsave[i]) continue;
    text += fmt::format("  fxsave[{}] {:02x}, expected {:02x}\n", i, actual.fxsave[i], expected.fxsave[i]);
    return;
  }
}

}  // namespace

Program MakeProgram(Bytes code, uint32_t seed, unsigned cpl) {
  std::mt19937 random(seed);
  constexpr uint32_t kEdges[] = {0,      1,      0x7F,        0x80,        0xFF,        0x7FFF,
                                 0x8000, 0xFFFF, 0x7FFF'FFFF, 0x8000'0000, 0xFFFF'FFFF, 0x1234'5678};
  Program p{.code = std::move(code), .seed = seed, .cpl = cpl};
  for (uint32_t& r : p.gpr) r = random() % 2 ? kEdges[random() % std::size(kEdges)] : static_cast<uint32_t>(random());
  const uint32_t middle = guest::kData + guest::kDataBytes / 2;
  p.gpr[kEbx] = middle + (random() % 64) * 16;
  p.gpr[kEsi] = middle + (random() % 64) * 16;
  p.gpr[kEdi] = middle + random() % 1024;
  p.gpr[kEsp] = guest::kStack + guest::kStackBytes / 2 + (random() % 16) * 16;
  p.gpr[kEbp] = guest::kStack + guest::kStackBytes / 2 + (random() % 16) * 16;
  if (random() % 4) p.gpr[kEcx] = random() % 70;
  p.eflags |= random() & (eflags::kCf | eflags::kPf | eflags::kAf | eflags::kZf | eflags::kSf | eflags::kOf);
  if (random() % 4 == 0) p.eflags |= eflags::kDf;
  p.fxsave = FpuNoise(random);
  if (HasAvx()) {
    for (uint8_t& byte : p.ymm_high) byte = static_cast<uint8_t>(random());
  }
  return p;
}

Bytes Assemble(uint32_t address, const std::function<void(asmjit::x86::Assembler&)>& write) {
  asmjit::CodeHolder holder;
  holder.init(asmjit::Environment(asmjit::Arch::kX86), address);
  struct Thrower : asmjit::ErrorHandler {
    void handleError(asmjit::Error, const char* message, asmjit::BaseEmitter*) override {
      throw std::logic_error(message);
    }
  } thrower;
  asmjit::x86::Assembler a(&holder);
  a.setErrorHandler(&thrower);
  write(a);
  holder.flatten();
  holder.resolveUnresolvedLinks();
  holder.relocateToBase(address);
  const auto& buffer = holder.textSection()->buffer();
  return {buffer.data(), buffer.data() + buffer.size()};
}

SegmentRegister Segmentation::Load(uint16_t selector, unsigned cpl) const {
  constexpr uint16_t kTable = 4, kIndexShift = 3, kRpl = 3;
  if ((selector & ~kRpl) == 0) return {.selector = selector};
  const auto own = static_cast<uint16_t>((selector & ~kRpl) | cpl);
  if (!(selector & kTable)) {
    const bool code = selector == guest::kCode3;
    if (cpl == 3) return {selector, static_cast<uint16_t>(code ? 0xC0FB : 0xC0F3), 0, 0xFFFF'FFFF};
    return {AtCpl0(selector), static_cast<uint16_t>(code ? 0xC09B : 0xC093), 0, 0xFFFF'FFFF};
  }
  return Descriptor{LdtDescriptor(ldt.at(selector >> kIndexShift), cpl)}.Load(own);
}

uint32_t Program::CodeBase() const {
  return segmentation ? segmentation->Load(segmentation->selectors[static_cast<unsigned>(Seg::kCs)], cpl).base : 0;
}

bool Program::Code32() const {
  return !segmentation || segmentation->Load(segmentation->selectors[static_cast<unsigned>(Seg::kCs)], cpl).Big();
}

void LoadSegments(TestMachine& machine, const Segmentation& segmentation, unsigned cpl) {
  CpuState& s = machine.State();
  uint32_t at = guest::kLdt;
  for (const LdtEntry& entry : segmentation.ldt) {
    machine.Set<uint64_t>(at, LdtDescriptor(entry, cpl));
    at += sizeof(uint64_t);
  }
  constexpr uint16_t kPresentLdt = 0x82;
  s.ldtr = {.selector = 0x70,
            .attributes = kPresentLdt,
            .base = guest::kHighKernel + guest::kLdt,
            .limit = static_cast<uint32_t>(segmentation.ldt.size() * sizeof(uint64_t) - 1)};
  for (unsigned i = 0; i < kSegCount; ++i) s.seg[i] = segmentation.Load(segmentation.selectors[i], cpl);
}

void Load(TestMachine& machine, const Program& program) {
  machine.Reset(program.cpl);
  machine.LoadCode(program.code, program.offset, program.writable_code);
  const Contents contents(program);
  machine.Write(guest::kDataFrames, contents.data);
  machine.Write(guest::kStackFrames, contents.stack);
  CpuState& s = machine.State();
  if (program.segmentation) {
    machine.Write(guest::kTopFrames, contents.top);
    LoadSegments(machine, *program.segmentation, program.cpl);
  }
  s.gpr = program.gpr;
  s.eip = program.Start();
  s.eflags = program.eflags;
  s.fxsave = program.fxsave;
  s.ymm_high = program.ymm_high;
}

Outcome RunOn(TestMachine& machine, const Program& program) {
  Load(machine, program);
  return machine.Run();
}

Outcome RunNatively(const Program& program) {
  OracleState start;
  start.gpr = program.gpr;
  start.eip = program.Start();
  start.eflags = program.eflags;
  start.fxsave = program.fxsave;
  start.ymm_high = program.ymm_high;
  Bytes code(guest::kCodeBytes, kInt3);
  std::copy(program.code.begin(), program.code.end(), code.begin() + program.offset);
  Contents contents(program);
  start.regions = {{guest::kCode, std::move(code), program.writable_code},
                   {guest::kData, std::move(contents.data), true},
                   {guest::kStack, std::move(contents.stack), true}};
  if (program.segmentation) {
    start.regions.push_back({guest::kTop, std::move(contents.top), true});
    start.ldt = program.segmentation->ldt;
    start.selectors = program.segmentation->selectors;
  }
  const OracleResult result = RunOracle(start);
  if (result.timed_out) throw std::runtime_error("the processor did not finish");
  Outcome out{.vector = result.vector, .gpr = result.state.gpr, .eip = result.state.eip, .eflags = result.state.eflags};
  if (result.vector != kBreakpoint) out.error_code = result.error_code;
  if (result.vector == kPageFault) {
    out.cr2 = result.cr2;
    out.error_code &= ~pferr::kFetch;  // reported with NX on, which the test machine has off
    if (program.cpl != 3) out.error_code &= ~pferr::kUser;
  }
  out.fxsave = result.state.fxsave;
  out.ymm_high = result.state.ymm_high;
  out.data = result.state.regions[1].bytes;
  out.stack = result.state.regions[2].bytes;
  if (program.segmentation) {
    out.code = result.state.regions[0].bytes;
    out.top = result.state.regions[3].bytes;
    out.selectors = result.state.selectors;
  }
  return out;
}

std::string Difference(const Outcome& actual, const Outcome& expected, const Ignore& ignore) {
  constexpr const char* kNames[] = {"eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"};
  constexpr const char* kSegments[] = {"es", "cs", "ss", "ds", "fs", "gs"};
  const auto number = [](const std::optional<uint32_t>& v) { return v ? static_cast<int>(*v) : -1; };
  std::string text;
  if (actual.vector != expected.vector) {
    text += fmt::format("  vector {}, expected {}\n", number(actual.vector), number(expected.vector));
  }
  const auto check = [&](const char* what, uint32_t a, uint32_t e) {
    if (a != e) text += fmt::format("  {} {:08x}, expected {:08x}\n", what, a, e);
  };
  check("error code", actual.error_code, expected.error_code);
  if (expected.vector == kPageFault && !ignore.fault_address) check("cr2", actual.cr2, expected.cr2);
  for (unsigned i = 0; i < kGprCount; ++i) check(kNames[i], actual.gpr[i], expected.gpr[i]);
  check("eip", actual.eip, expected.eip);
  check("eflags", actual.eflags & ~ignore.flags, expected.eflags & ~ignore.flags);
  if (!ignore.selectors) {
    for (unsigned i = 0; i < kSegCount; ++i) {
      const uint16_t theirs = ignore.rpl ? AtCpl0(expected.selectors[i]) : expected.selectors[i];
      // Returns of the host's kernel from its interrupts clear the privilege of null selectors.
      if (!IsNull(theirs) || !IsNull(actual.selectors[i])) check(kSegments[i], actual.selectors[i], theirs);
    }
  }
  CompareFpu(actual, expected, ignore.x87_pointers, text);
  CompareBytes("data", guest::kData, actual.data, expected.data, text);
  CompareBytes("stack", guest::kStack, actual.stack, expected.stack, text);
  if (!actual.top.empty() && !expected.top.empty()) {
    CompareBytes("top", guest::kTop, actual.top, expected.top, text);
    CompareBytes("code", guest::kCode, actual.code, expected.code, text);
  }
  return text;
}

namespace {

std::string DescribeSegments(const Segmentation& segmentation, unsigned cpl) {
  constexpr const char* kNames[] = {"es", "cs", "ss", "ds", "fs", "gs"};
  std::string text;
  for (unsigned i = 0; i < kSegCount; ++i) {
    const SegmentRegister s = segmentation.Load(segmentation.selectors[i], cpl);
    text += fmt::format("  {} {:04x} base {:08x} limit {:08x} attributes {:04x}\n", kNames[i], s.selector, s.base,
                        s.limit, s.attributes);
  }
  return text;
}

}  // namespace

std::string Describe(const Program& program) {
  std::string text = fmt::format("seed {}, CPL {}, eflags {:08x}, at {:08x}:", program.seed, program.cpl,
                                 program.eflags, program.Start());
  for (uint8_t byte : program.code) text += fmt::format(" {:02x}", byte);
  text += "\n  registers";
  for (uint32_t r : program.gpr) text += fmt::format(" {:08x}", r);
  const auto word = [&](unsigned offset) { return program.fxsave[offset] | program.fxsave[offset + 1] << 8; };
  text += fmt::format("\n  FCW {:04x} FSW {:04x} MXCSR {:04x}\n", word(0), word(2), word(24));
  if (program.segmentation) text += DescribeSegments(*program.segmentation, program.cpl);
  ZydisFormatter formatter;
  ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
  const ZydisDecoder decoder = MakeGuestDecoder(DecoderKind::Of(FindCpuModel("max"), program.Code32()));
  for (size_t at = 0; at < program.code.size();) {
    ZydisDecodedInstruction insn;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    char line[128] = "(nothing)";
    const uint64_t address = program.Start() + at;
    if (ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, &program.code[at], program.code.size() - at, &insn, operands))) {
      ZydisFormatterFormatInstruction(&formatter, &insn, operands, insn.operand_count_visible, line, sizeof line,
                                      address, nullptr);
      at += insn.length;
    } else {
      ++at;
    }
    text += fmt::format("    {:08x} {}\n", address, line);
  }
  return text;
}

}  // namespace ring3
