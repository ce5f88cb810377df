#include "tests/interpreter/oracle_comparison.h"

#include <cstdio>
#include <random>

#include "tests/oracle/guest_decoding.h"
#include "tests/oracle/noise.h"

namespace ring3 {
namespace {

constexpr uint8_t kInt3 = 0xCC;
constexpr uint32_t kBreakpointVector = 3, kPageFaultVector = 14;
constexpr uint32_t kInterpretedFlags = eflags::kCf | eflags::kPf | eflags::kAf | eflags::kZf | eflags::kSf |
                                       eflags::kOf | eflags::kDf | eflags::kIf | eflags::kNt | eflags::kAc |
                                       eflags::kId | eflags::kIopl;
// FOP and the instruction and data pointers differ by design: the host's are 64-bit.
constexpr unsigned kPointersBegin = 6, kPointersEnd = 24, kMxcsrMask = 28, kFxEnd = 288;

std::vector<uint8_t> CodePage(const Trial& trial) {
  std::vector<uint8_t> page(Machine::kRegionBytes, kInt3);
  std::copy(trial.code.begin(), trial.code.end(), page.begin() + Machine::kRegionBytes / 2);
  return page;
}

struct Outcome {
  std::optional<uint32_t> vector;
  uint32_t error_code = 0;
};

struct Text {
  std::string out;
  template <class... Args>
  void Add(const char* format, Args... args) {
    char line[256];
    std::snprintf(line, sizeof line, format, args...);
    out += line;
  }
};

uint32_t UndefinedFlags(const Trial& trial) {
  if (trial.ignored_flags) return *trial.ignored_flags;
  const auto decoding = DecodeGuestCode(trial.code);
  return decoding && decoding->insn.cpu_flags ? static_cast<uint32_t>(decoding->insn.cpu_flags->undefined) : 0;
}

Outcome Interpret(Machine& machine, const Trial& trial) {
  machine.EnterFlat(3);
  CpuState& state = machine.State();
  state.cr0 |= cr0::kAm;  // as hosts have it
  state.gpr = trial.gpr;
  state.eflags = trial.eflags;
  state.eip = Machine::kCode + Machine::kRegionBytes / 2;
  state.fxsave = trial.fxsave;
  state.ymm_high = trial.ymm_high;
  if (const uint32_t supported = machine.cpu.model.Xcr0Supported()) {
    state.cr4 |= cr4::kOsxsave;
    state.xcr0 = supported;
  }
  state.dr[6] = 0;
  machine.Put(Machine::kCode, CodePage(trial));
  machine.Put(Machine::kData, Noise(trial.seed, Machine::kRegionBytes));
  machine.Put(Machine::kStack, Noise(trial.seed + 1, Machine::kRegionBytes));
  try {
    while (StepInstruction(machine.cpu).rep_unfinished) {
    }
  } catch (const GuestFault& fault) {
    return {static_cast<uint32_t>(fault.vector), fault.error_code.value_or(0)};
  }
  return {};
}

OracleResult AskProcessor(const Trial& trial) {
  OracleState state;
  state.gpr = trial.gpr;
  state.eflags = trial.eflags;
  state.eip = Machine::kCode + Machine::kRegionBytes / 2;
  state.fxsave = trial.fxsave;
  state.ymm_high = trial.ymm_high;
  state.regions = {{Machine::kCode, CodePage(trial), true},
                   {Machine::kData, Noise(trial.seed, Machine::kRegionBytes), true},
                   {Machine::kStack, Noise(trial.seed + 1, Machine::kRegionBytes), true}};
  return RunOracle(state);
}

void CompareMemory(Machine& machine, const OracleRegion& region, Text& text) {
  const uint8_t* ours = machine.physical_.Flat(GuestPhysical(region.address));
  for (size_t i = 0; i < region.bytes.size(); ++i) {
    if (ours[i] == region.bytes[i]) continue;
    text.Add("  [%08zx] %02x, processor %02x\n", region.address + i, ours[i], region.bytes[i]);
    return;
  }
}

void CompareFpu(const CpuState& state, const OracleState& expected, Text& text) {
  for (unsigned i = 0; i < kFxEnd; ++i) {
    const bool pointer = (i >= kPointersBegin && i < kPointersEnd) || (i >= kMxcsrMask && i < kMxcsrMask + 4);
    if (pointer || state.fxsave[i] == expected.fxsave[i]) continue;
    text.Add("  fxsave[%u] %02x, processor %02x\n", i, state.fxsave[i], expected.fxsave[i]);
    return;
  }
  for (unsigned i = 0; i < kYmmHighBytes; ++i) {
    if (state.ymm_high[i] == expected.ymm_high[i]) continue;
    text.Add("  ymm%u[%u] %02x, processor %02x\n", i / 16, 16 + i % 16, state.ymm_high[i], expected.ymm_high[i]);
    return;
  }
}

}  // namespace

Trial MakeTrial(std::vector<uint8_t> code, uint32_t seed) {
  std::mt19937 random(seed);
  constexpr uint32_t kInteresting[] = {0,      1,      0x7F,        0x80,        0xFF,        0x7FFF,
                                       0x8000, 0xFFFF, 0x7FFF'FFFF, 0x8000'0000, 0xFFFF'FFFF, 0x1234'5678};
  const auto value = [&] { return random() % 2 ? kInteresting[random() % std::size(kInteresting)] : random(); };
  Trial trial{.code = std::move(code), .seed = seed};
  for (uint32_t& r : trial.gpr) r = static_cast<uint32_t>(value());
  const uint32_t middle = Machine::kData + Machine::kRegionBytes / 2;
  trial.gpr[kEbx] = middle + (random() % 64) * 16;
  trial.gpr[kEsi] = middle + (random() % 64) * 16;
  trial.gpr[kEdi] = middle + (random() % 1024);
  trial.gpr[kEsp] = Machine::kStack + Machine::kRegionBytes / 2 + (random() % 16) * 4;
  if (random() % 2) trial.gpr[kEbp] = Machine::kStack + Machine::kRegionBytes / 2;
  if (random() % 2) trial.gpr[kEcx] = random() % 70;
  trial.eflags |= random() & (eflags::kCf | eflags::kPf | eflags::kAf | eflags::kZf | eflags::kSf | eflags::kOf);
  if (random() % 4 == 0) trial.eflags |= eflags::kDf;
  OracleState defaults;
  trial.fxsave = defaults.fxsave;
  constexpr unsigned kSt0 = 32, kXmm0 = 160, kSlot = 16;
  for (unsigned i = 0; i < 8; ++i) {
    const double number = (static_cast<double>(random()) - 2e9) / (1 + random() % 1000);
    const long double extended = number;
    std::memcpy(&trial.fxsave[kSt0 + kSlot * i], &extended, 10);
    for (unsigned b = 0; b < kSlot; ++b) trial.fxsave[kXmm0 + kSlot * i + b] = static_cast<uint8_t>(random());
  }
  trial.fxsave[4] = static_cast<uint8_t>(random() % 4 ? 0xFF : random());
  const uint16_t fsw = static_cast<uint16_t>(random() & 0x7F00);
  std::memcpy(&trial.fxsave[2], &fsw, sizeof fsw);
  if (FindCpuModel("max").Xcr0Supported() & xstate::kAvx) {
    for (uint8_t& byte : trial.ymm_high) byte = static_cast<uint8_t>(random());
  }
  return trial;
}

std::string Compare(Machine& machine, const Trial& trial) {
  const OracleResult theirs = AskProcessor(trial);
  // Noise was taken for an address: the interpreter's machine, without paging, has memory there.
  if (theirs.vector == kPageFaultVector) return {};
  const Outcome ours = Interpret(machine, trial);
  const CpuState& state = machine.State();
  Text text;
  const bool completed = theirs.vector == kBreakpointVector;
  const uint32_t expected_eip = completed ? theirs.state.eip - 1 : theirs.state.eip;
  if (theirs.timed_out) text.Add("  the processor did not finish\n");
  if (ours.vector.has_value() == completed || (ours.vector && *ours.vector != theirs.vector)) {
    text.Add("  vector %d, processor %d\n", ours.vector ? static_cast<int>(*ours.vector) : -1,
             completed ? -1 : static_cast<int>(theirs.vector));
  } else if (ours.vector && ours.error_code != theirs.error_code) {
    text.Add("  error code %x, processor %x\n", ours.error_code, theirs.error_code);
  }
  if (state.eip != expected_eip) text.Add("  eip %08x, processor %08x\n", state.eip, expected_eip);
  for (unsigned i = 0; i < kGprCount; ++i) {
    if (state.gpr[i] == theirs.state.gpr[i]) continue;
    text.Add("  gpr%u %08x, processor %08x (was %08x)\n", i, state.gpr[i], theirs.state.gpr[i], trial.gpr[i]);
  }
  const uint32_t compared = kInterpretedFlags & ~UndefinedFlags(trial);
  if ((state.eflags ^ theirs.state.eflags) & compared) {
    text.Add("  eflags %08x, processor %08x (was %08x)\n", state.eflags, theirs.state.eflags, trial.eflags);
  }
  CompareFpu(state, theirs.state, text);
  for (const OracleRegion& region : theirs.state.regions) CompareMemory(machine, region, text);
  if (text.out.empty()) return {};
  Text head;
  head.Add("seed %u, code", trial.seed);
  for (uint8_t b : trial.code) head.Add(" %02x", b);
  return head.out + "\n" + text.out;
}

}  // namespace ring3
