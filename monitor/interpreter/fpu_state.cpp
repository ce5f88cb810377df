#include "monitor/interpreter/fpu_state.h"

#include <array>
#include <cstring>

#include "monitor/interpreter/handlers.h"
#include "monitor/interpreter/operands.h"

namespace ring3 {
namespace {

constexpr unsigned kRegisters = 8;
constexpr unsigned kFxBytes = 512, kFxAlignment = 16;
constexpr unsigned kSt80Bytes = 10;  // of a 16-byte slot; the rest is reserved
constexpr uint16_t kFopMask = 0x7FF;
constexpr uint16_t kFcwWritable = 0x1F3F, kFcwAlwaysSet = 0x40;
constexpr unsigned kRealHighShift = 12;  // bits 16 and up of a linear pointer, in real-mode images

unsigned Top(const CpuState& state) {
  return (LoadFx<uint16_t>(state, fxsave::kFsw) & x87::kTopMask) >> x87::kTopShift;
}

void CheckX87(Step& s) {
  const uint32_t cr0 = s.state().cr0;
  const bool unavailable =
      s.d.insn.mnemonic == ZYDIS_MNEMONIC_FWAIT ? (cr0 & cr0::kMp) && (cr0 & cr0::kTs) : cr0 & (cr0::kEm | cr0::kTs);
  if (unavailable) ThrowFault(Vector::kDeviceNotAvailable);
}

void CheckSimd(Step& s, bool sse) {
  const CpuState& state = s.state();
  if ((state.cr0 & cr0::kEm) || (sse && !(state.cr4 & cr4::kOsfxsr))) ThrowFault(Vector::kInvalidOpcode);
  if (state.cr0 & cr0::kTs) ThrowFault(Vector::kDeviceNotAvailable);
}

/// VEX instructions, whatever CR0.EM says (SDM 2A 2.4).
void CheckAvx(const CpuState& state) {
  if (!state.AvxEnabled()) ThrowFault(Vector::kInvalidOpcode);
  if (state.cr0 & cr0::kTs) ThrowFault(Vector::kDeviceNotAvailable);
}

void CheckXsave(const CpuState& state) {
  if (!(state.cr4 & cr4::kOsxsave)) ThrowFault(Vector::kInvalidOpcode);
  if (state.cr0 & cr0::kTs) ThrowFault(Vector::kDeviceNotAvailable);
}

template <class T>
T Get(const uint8_t* p) {
  T value;
  std::memcpy(&value, p, sizeof value);
  return value;
}
template <class T>
void Put(uint8_t* p, T value) {
  std::memcpy(p, &value, sizeof value);
}

GuestLinear FxArea(Step& s, AccessType type) {
  const Operand& op = s.d.Op(0);
  const GuestLinear linear = CheckedLinear(s.cpu, SegOf(op.mem.segment), EffectiveAddress(s, op), kFxBytes, type);
  if (linear.value % kFxAlignment) ThrowGp0();
  return linear;
}

/// ES and B follow from the exception flags and masks, whatever was loaded.
void DeriveSummary(CpuState& state) {
  uint16_t fsw = LoadFx<uint16_t>(state, fxsave::kFsw) & ~(x87::kSummary | x87::kBusy);
  StoreFx(state, fxsave::kFsw, fsw);
  if (PendingX87(state)) StoreFx<uint16_t>(state, fxsave::kFsw, fsw | x87::kSummary | x87::kBusy);
}

}  // namespace

const uint8_t* XmmRegister(const CpuState& state, unsigned number) {
  return &state.fxsave[fxsave::kXmm0 + fxsave::kSlot * number];
}

const uint8_t* MmxRegister(const CpuState& state, unsigned number) {
  return &state.fxsave[fxsave::kSt0 + fxsave::kSlot * ((number - Top(state)) % kRegisters)];
}

void ReadVector(const CpuState& state, unsigned number, std::span<uint8_t> out) {
  std::memcpy(out.data(), XmmRegister(state, number), kXmmBytes);
  if (out.size() == kYmmBytes) std::memcpy(&out[kXmmBytes], &state.ymm_high[kXmmBytes * number], kXmmBytes);
}

void WriteVector(CpuState& state, unsigned number, std::span<const uint8_t> value) {
  uint8_t* high = &state.ymm_high[kXmmBytes * number];
  std::memcpy(&state.fxsave[fxsave::kXmm0 + fxsave::kSlot * number], value.data(), kXmmBytes);
  if (value.size() == kYmmBytes) {
    std::memcpy(high, &value[kXmmBytes], kXmmBytes);
  } else {
    std::memset(high, 0, kXmmBytes);
  }
}

void EnterMmx(CpuState& state) {
  const auto old = state.fxsave;
  const unsigned top = Top(state);
  for (unsigned i = 0; i < kRegisters; ++i) {
    std::memcpy(&state.fxsave[fxsave::kSt0 + fxsave::kSlot * i],
                &old[fxsave::kSt0 + fxsave::kSlot * ((i - top) % kRegisters)], fxsave::kSlot);
  }
  StoreFx<uint16_t>(state, fxsave::kFsw, LoadFx<uint16_t>(state, fxsave::kFsw) & ~x87::kTopMask);
  StoreFx<uint8_t>(state, fxsave::kFtw, 0xFF);
}

uint16_t PendingX87(const CpuState& state) {
  return LoadFx<uint16_t>(state, fxsave::kFsw) & ~LoadFx<uint16_t>(state, fxsave::kFcw) & x87::kExceptions;
}

bool CheckFpuUsable(Step& s) {
  switch (s.d.fpu) {
    case FpuUse::kNone:
      return true;
    case FpuUse::kX87NoWait:
      CheckX87(s);
      return true;
    case FpuUse::kSse:
      CheckSimd(s, true);
      return true;
    case FpuUse::kAvx:
      CheckAvx(s.state());
      return true;
    case FpuUse::kXsave:
      CheckXsave(s.state());
      return true;
    case FpuUse::kX87Waiting:
      CheckX87(s);
      break;
    case FpuUse::kMmx:
      CheckSimd(s, false);
      break;
    case FpuUse::kSseAndMmx:
      CheckSimd(s, true);
      break;
  }
  if (!PendingX87(s.state())) return true;
  if (s.state().cr0 & cr0::kNe) ThrowFault(Vector::kX87FloatingPoint);
  if (s.state().ignore_x87_error) return true;
  s.result.x87_error_line = true;
  return false;
}

uint16_t HideIgnoredErrors(const Step& s) {
  CpuState& state = s.state();
  const uint16_t pending = state.ignore_x87_error ? PendingX87(state) : uint16_t{0};
  if (!pending) return 0;
  const auto fsw = LoadFx<uint16_t>(state, fxsave::kFsw);
  StoreFx<uint16_t>(state, fxsave::kFsw, fsw & ~(pending | x87::kSummary | x87::kBusy));
  return pending;
}

void RestoreIgnoredErrors(const Step& s, uint16_t hidden) {
  const bool replaced = s.d.insn.mnemonic == ZYDIS_MNEMONIC_FLDENV || s.d.insn.mnemonic == ZYDIS_MNEMONIC_FRSTOR;
  if (!hidden || replaced) return;
  StoreFx<uint16_t>(s.state(), fxsave::kFsw, LoadFx<uint16_t>(s.state(), fxsave::kFsw) | hidden);
  DeriveSummary(s.state());
}

X87Pointers LoadPointers(const CpuState& state) {
  return {.fop = LoadFx<uint16_t>(state, fxsave::kFop),
          .fcs = LoadFx<uint16_t>(state, fxsave::kFcs),
          .fds = LoadFx<uint16_t>(state, fxsave::kFds),
          .fip = LoadFx<uint32_t>(state, fxsave::kFip),
          .fdp = LoadFx<uint32_t>(state, fxsave::kFdp)};
}

void StorePointers(CpuState& state, const X87Pointers& pointers) {
  StoreFx(state, fxsave::kFop, pointers.fop);
  StoreFx(state, fxsave::kFip, pointers.fip);
  StoreFx<uint32_t>(state, fxsave::kFcs, pointers.fcs);
  StoreFx(state, fxsave::kFdp, pointers.fdp);
  StoreFx<uint32_t>(state, fxsave::kFds, pointers.fds);
}

void WriteEnvironmentPointers(const Step& s, uint8_t* environment, const X87Pointers& pointers) {
  const uint32_t code = pointers.fip + (uint32_t{pointers.fcs} << 4);
  const uint32_t data = pointers.fdp + (uint32_t{pointers.fds} << 4);
  if (s.d.operand32 && s.RealOrV86()) {
    Put<uint32_t>(environment + 12, code & 0xFFFF);
    Put<uint32_t>(environment + 16, (code >> 16 << kRealHighShift) | (pointers.fop & kFopMask));
    Put<uint32_t>(environment + 20, data & 0xFFFF);
    Put<uint32_t>(environment + 24, data >> 16 << kRealHighShift);
  } else if (s.d.operand32) {
    Put(environment + 12, pointers.fip);
    Put<uint32_t>(environment + 16, pointers.fcs | (uint32_t{pointers.fop} & kFopMask) << 16);
    Put(environment + 20, pointers.fdp);
    Put<uint16_t>(environment + 24, pointers.fds);
  } else if (s.RealOrV86()) {
    Put<uint16_t>(environment + 6, static_cast<uint16_t>(code));
    Put<uint16_t>(environment + 8, static_cast<uint16_t>((code >> 16 << kRealHighShift) | (pointers.fop & kFopMask)));
    Put<uint16_t>(environment + 10, static_cast<uint16_t>(data));
    Put<uint16_t>(environment + 12, static_cast<uint16_t>(data >> 16 << kRealHighShift));
  } else {
    Put<uint16_t>(environment + 6, static_cast<uint16_t>(pointers.fip));
    Put<uint16_t>(environment + 8, pointers.fcs);
    Put<uint16_t>(environment + 10, static_cast<uint16_t>(pointers.fdp));
    Put<uint16_t>(environment + 12, pointers.fds);
  }
}

X87Pointers ReadEnvironmentPointers(const Step& s, const uint8_t* environment) {
  X87Pointers pointers;
  if (s.d.operand32 && s.RealOrV86()) {
    pointers.fip = Get<uint16_t>(environment + 12) | (Get<uint32_t>(environment + 16) >> kRealHighShift << 16);
    pointers.fop = Get<uint16_t>(environment + 16) & kFopMask;
    pointers.fdp = Get<uint16_t>(environment + 20) | (Get<uint32_t>(environment + 24) >> kRealHighShift << 16);
  } else if (s.d.operand32) {
    pointers.fip = Get<uint32_t>(environment + 12);
    pointers.fcs = Get<uint16_t>(environment + 16);
    pointers.fop = Get<uint16_t>(environment + 18) & kFopMask;
    pointers.fdp = Get<uint32_t>(environment + 20);
    pointers.fds = Get<uint16_t>(environment + 24);
  } else if (s.RealOrV86()) {
    const uint32_t high = Get<uint16_t>(environment + 8);
    pointers.fip = Get<uint16_t>(environment + 6) | (high >> kRealHighShift << 16);
    pointers.fop = high & kFopMask;
    pointers.fdp =
        Get<uint16_t>(environment + 10) | (uint32_t{Get<uint16_t>(environment + 12)} >> kRealHighShift << 16);
  } else {
    pointers.fip = Get<uint16_t>(environment + 6);
    pointers.fcs = Get<uint16_t>(environment + 8);
    pointers.fdp = Get<uint16_t>(environment + 10);
    pointers.fds = Get<uint16_t>(environment + 12);
  }
  return pointers;
}

/// All its work is the check for pending exceptions.
void ExecuteFwait(Step&) {}

void ExecuteFxsave(Step& s) {
  CpuState& state = s.state();
  const GuestLinear area = FxArea(s, AccessType::kWrite);
  s.cpu.memory.CheckWritable(area, kFxBytes, s.cpu.User());
  const bool sse = state.cr4 & cr4::kOsfxsr;
  StoreFx(state, fxsave::kMxcsrMask, s.cpu.model.Has(cpuid_edx::kSse) ? mxcsr::kSupported : 0u);
  s.cpu.memory.WriteBytes(area, {state.fxsave.data(), sse ? fxsave::kXmmEnd : fxsave::kXmm0}, s.cpu.Write());
}

void ExecuteFxrstor(Step& s) {
  CpuState& state = s.state();
  const GuestLinear area = FxArea(s, AccessType::kRead);
  std::array<uint8_t, kFxBytes> image;
  s.cpu.memory.ReadBytes(area, image, s.cpu.Read());
  const bool sse = state.cr4 & cr4::kOsfxsr;
  if (sse && (Get<uint32_t>(&image[fxsave::kMxcsr]) & ~mxcsr::kSupported)) ThrowGp0();
  LoadX87Part(state, image.data());
  if (!sse) return;
  std::memcpy(&state.fxsave[fxsave::kMxcsr], &image[fxsave::kMxcsr], sizeof(uint32_t));
  LoadXmmPart(state, image.data());
}

void LoadX87Part(CpuState& state, const uint8_t* image) {
  std::memcpy(state.fxsave.data(), image, fxsave::kMxcsr);
  for (unsigned i = 0; i < kRegisters; ++i) {
    const unsigned slot = fxsave::kSt0 + fxsave::kSlot * i;
    std::memcpy(&state.fxsave[slot], &image[slot], kSt80Bytes);
    std::memset(&state.fxsave[slot + kSt80Bytes], 0, fxsave::kSlot - kSt80Bytes);
  }
  StoreFx<uint16_t>(state, fxsave::kFcw, (LoadFx<uint16_t>(state, fxsave::kFcw) & kFcwWritable) | kFcwAlwaysSet);
  StoreFx<uint16_t>(state, fxsave::kFtw, LoadFx<uint8_t>(state, fxsave::kFtw));
  X87Pointers pointers = LoadPointers(state);
  pointers.fop &= kFopMask;
  StorePointers(state, pointers);
  DeriveSummary(state);
}

void LoadXmmPart(CpuState& state, const uint8_t* image) {
  std::memcpy(&state.fxsave[fxsave::kXmm0], image + fxsave::kXmm0, fxsave::kXmmEnd - fxsave::kXmm0);
}

void ExecuteLdmxcsr(Step& s) {
  const uint32_t value = ReadOperand(s, s.d.Op(0));
  if (value & ~mxcsr::kSupported) ThrowGp0();
  StoreFx(s.state(), fxsave::kMxcsr, value);
}

void ExecuteStmxcsr(Step& s) { WriteOperand(s, s.d.Op(0), LoadFx<uint32_t>(s.state(), fxsave::kMxcsr)); }

}  // namespace ring3
