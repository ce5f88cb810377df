// XSAVE, XSAVEOPT, XSAVEC, XRSTOR and XCR0 (SDM 1, chapter 13). Areas show what 32-bit code has: FIP and FDP of 32 bits
// with selectors, eight vector registers; what belongs to the others is left alone.
#include <algorithm>
#include <cstring>

#include "monitor/cpu/privileged.h"
#include "monitor/interpreter/fpu_state.h"
#include "monitor/interpreter/handlers.h"
#include "monitor/interpreter/operands.h"

namespace ring3 {
namespace {

constexpr uint16_t kInitialFcw = 0x37F;
constexpr uint32_t kInitialMxcsr = 0x1F80;
constexpr uint64_t kCompacted = uint64_t{1} << 63;

/// The first 16 bytes of the XSAVE header; the other 48 are reserved.
struct Header {
  uint64_t xstate_bv = 0, xcomp_bv = 0;
  std::array<uint64_t, 6> reserved{};
};
static_assert(sizeof(Header) == xstate::kHeaderBytes);

bool AllZero(std::span<const uint8_t> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](uint8_t byte) { return byte == 0; });
}

std::span<const uint8_t> FxBytes(const CpuState& state, unsigned from, unsigned to) {
  return {&state.fxsave[from], to - from};
}

/// XINUSE: the components that are not in their initial configuration (SDM 1, 13.6).
uint32_t InUse(const CpuState& state) {
  uint32_t in_use = 0;
  const bool x87_initial = LoadFx<uint16_t>(state, fxsave::kFcw) == kInitialFcw &&
                           AllZero(FxBytes(state, fxsave::kFsw, fxsave::kMxcsr)) &&
                           AllZero(FxBytes(state, fxsave::kSt0, fxsave::kXmm0));
  if (!x87_initial) in_use |= xstate::kX87;
  if (!AllZero(FxBytes(state, fxsave::kXmm0, fxsave::kXmmEnd))) in_use |= xstate::kSse;
  if (!AllZero(state.ymm_high)) in_use |= xstate::kAvx;
  return in_use;
}

uint32_t RequestedComponents(const Step& s) { return s.state().gpr[kEax] & s.state().xcr0; }

/// The parts of an area that an instruction touches.
class Area {
 public:
  Area(Step& s, uint32_t bytes, AccessType type) : cpu_(s.cpu) {
    const Operand& op = s.d.Op(0);
    start_ = CheckedLinear(s.cpu, SegOf(op.mem.segment), EffectiveAddress(s, op), bytes, type);
    if (start_.value % xstate::kAlignment) ThrowGp0();
    if (type == AccessType::kWrite) s.cpu.memory.CheckWritable(start_, bytes, s.cpu.User());
  }

  void Write(uint32_t offset, std::span<const uint8_t> bytes) {
    cpu_.memory.WriteBytes(start_ + offset, bytes, cpu_.Write());
  }
  void Read(uint32_t offset, std::span<uint8_t> bytes) { cpu_.memory.ReadBytes(start_ + offset, bytes, cpu_.Read()); }

 private:
  Cpu& cpu_;
  GuestLinear start_;
};

std::span<uint8_t> BytesOf(uint64_t& value) { return {reinterpret_cast<uint8_t*>(&value), sizeof value}; }

void WriteComponents(const CpuState& state, Area& area, uint32_t components, bool with_mxcsr) {
  if (components & xstate::kX87) {
    area.Write(0, FxBytes(state, 0, fxsave::kMxcsr));
    area.Write(fxsave::kSt0, FxBytes(state, fxsave::kSt0, fxsave::kXmm0));
  }
  if (with_mxcsr) area.Write(fxsave::kMxcsr, FxBytes(state, fxsave::kMxcsr, fxsave::kSt0));
  if (components & xstate::kSse) area.Write(fxsave::kXmm0, FxBytes(state, fxsave::kXmm0, fxsave::kXmmEnd));
  if (components & xstate::kAvx) area.Write(xstate::kAvxOffset, state.ymm_high);
}

/// #GP(0) for what the header must not say.
void CheckHeader(const CpuState& state, const Header& header) {
  const bool compacted = header.xcomp_bv & kCompacted;
  const uint64_t present = compacted ? header.xcomp_bv & ~kCompacted : state.xcr0;
  if (compacted ? (present & ~uint64_t{state.xcr0}) != 0 : header.xcomp_bv != 0) ThrowGp0();
  if (header.xstate_bv & ~present) ThrowGp0();
  // The standard form checks 8 bytes behind XCOMP_BV, the compacted form all.
  const size_t checked = compacted ? header.reserved.size() : 1;
  for (size_t i = 0; i < checked; ++i) {
    if (header.reserved[i]) ThrowGp0();
  }
}

void InitializeX87(CpuState& state) {
  std::memset(state.fxsave.data(), 0, fxsave::kMxcsr);
  std::memset(&state.fxsave[fxsave::kSt0], 0, fxsave::kXmm0 - fxsave::kSt0);
  StoreFx(state, fxsave::kFcw, kInitialFcw);
}

void RequireXcr0(Step& s) {
  if (!(s.state().cr4 & cr4::kOsxsave)) ThrowFault(Vector::kInvalidOpcode);
}

}  // namespace

/// XSAVE writes what is asked for, XSAVEOPT only what is in use; the header says what that was.
void ExecuteXsave(Step& s) {
  CpuState& state = s.state();
  const uint32_t requested = RequestedComponents(s), in_use = InUse(state);
  Area area(s, xstate::AreaBytes(requested), AccessType::kWrite);
  StoreFx(state, fxsave::kMxcsrMask, mxcsr::kSupported);
  const bool optimized = s.d.insn.mnemonic == ZYDIS_MNEMONIC_XSAVEOPT;
  WriteComponents(state, area, optimized ? requested & in_use : requested, requested & xstate::kAvxNeeds);
  uint64_t xstate_bv = 0;
  area.Read(xstate::kLegacyBytes, BytesOf(xstate_bv));
  xstate_bv = (xstate_bv & ~uint64_t{requested}) | (requested & in_use);
  area.Write(xstate::kLegacyBytes, BytesOf(xstate_bv));
}

/// Compacted form. MXCSR counts as a part of SSE here.
void ExecuteXsavec(Step& s) {
  CpuState& state = s.state();
  const uint32_t requested = RequestedComponents(s);
  const bool mxcsr_in_use = LoadFx<uint32_t>(state, fxsave::kMxcsr) != kInitialMxcsr;
  const uint32_t saved = requested & (InUse(state) | (mxcsr_in_use ? xstate::kSse : 0));
  Area area(s, xstate::AreaBytes(requested), AccessType::kWrite);
  StoreFx(state, fxsave::kMxcsrMask, mxcsr::kSupported);
  WriteComponents(state, area, saved, saved & xstate::kSse);
  uint64_t xstate_bv = saved, xcomp_bv = kCompacted | requested;
  area.Write(xstate::kLegacyBytes, BytesOf(xstate_bv));
  area.Write(xstate::kLegacyBytes + sizeof xstate_bv, BytesOf(xcomp_bv));
}

void ExecuteXrstor(Step& s) {
  CpuState& state = s.state();
  const uint32_t requested = RequestedComponents(s);
  Area area(s, xstate::AreaBytes(requested), AccessType::kRead);
  std::array<uint8_t, xstate::kLegacyBytes> legacy;
  std::array<uint8_t, kYmmHighBytes> high{};
  Header header;
  area.Read(xstate::kLegacyBytes, {reinterpret_cast<uint8_t*>(&header), sizeof header});
  CheckHeader(state, header);
  area.Read(0, legacy);
  const uint32_t loaded = requested & static_cast<uint32_t>(header.xstate_bv), cleared = requested & ~loaded;
  if (loaded & xstate::kAvx) area.Read(xstate::kAvxOffset, high);
  // The standard form loads MXCSR whatever XSTATE_BV says, and with AVX alone, too.
  const bool compacted = header.xcomp_bv & kCompacted;
  uint32_t control = LoadFx<uint32_t>(state, fxsave::kMxcsr);
  if (compacted ? loaded & xstate::kSse : requested & xstate::kAvxNeeds) {
    std::memcpy(&control, &legacy[fxsave::kMxcsr], sizeof control);
    if (control & ~mxcsr::kSupported) ThrowGp0();
  } else if (compacted && (cleared & xstate::kSse)) {
    control = kInitialMxcsr;
  }
  StoreFx(state, fxsave::kMxcsr, control);
  if (loaded & xstate::kX87) LoadX87Part(state, legacy.data());
  if (cleared & xstate::kX87) InitializeX87(state);
  if (loaded & xstate::kSse) LoadXmmPart(state, legacy.data());
  if (cleared & xstate::kSse) std::memset(&state.fxsave[fxsave::kXmm0], 0, fxsave::kXmmEnd - fxsave::kXmm0);
  if (requested & xstate::kAvx) state.ymm_high = high;
}

void ExecuteXgetbv(Step& s) {
  RequireXcr0(s);
  CpuState& state = s.state();
  const uint32_t index = state.gpr[kEcx];
  if (index > 1) ThrowGp0();
  if (index == 1) s.cpu.StoreFpu();
  state.gpr[kEax] = index == 0 ? state.xcr0 : state.xcr0 & InUse(state);
  state.gpr[kEdx] = 0;
}

void ExecuteXsetbv(Step& s) {
  RequireXcr0(s);
  RequireRing0(s.cpu);
  CpuState& state = s.state();
  const uint32_t value = state.gpr[kEax], supported = s.cpu.model.Xcr0Supported();
  const bool valid = (value & xstate::kX87) && (!(value & xstate::kAvx) || (value & xstate::kSse));
  if (state.gpr[kEcx] != 0 || state.gpr[kEdx] != 0 || (value & ~supported) || !valid) ThrowGp0();
  s.cpu.StoreFpu();
  state.xcr0 = value;
}

}  // namespace ring3
