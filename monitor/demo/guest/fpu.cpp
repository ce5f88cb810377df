#include "fpu.h"

#include "checks.h"
#include "traps.h"
#include "x86.h"

namespace demo {
namespace {

constexpr uint32_t kDefaultMxcsr = 0x1F80;
constexpr uint32_t kDefaultControl = 0x37F;
constexpr uint32_t kControlUnmaskedZe = 0x37B;
FpuState initial_state, saved_state, other_state;
[[gnu::section(".user_data")]] alignas(16) uint32_t operand[4] = {};

void SetTs(bool set) {
  if (set) {
    WriteCr0(ReadCr0() | cr0::kTs);
  } else {
    ClearTs();
  }
}

// Each leaves its result in [EDI].
DEMO_PROBE(X87Root, "fninit; fld1; fadd %st, %st; fsqrt", "fstpl (%edi)", "");
DEMO_PROBE(X87Pi, "fninit; fld1; fld1; fpatan; fld1; fadd %st, %st; fadd %st, %st; fmulp", "fstpl (%edi)", "");
DEMO_PROBE(X87Control, "fninit", "fnstcw (%edi)", "");
DEMO_PROBE(SseRoot, "cvtsi2ss %eax, %xmm0", "sqrtss %xmm0, %xmm0", "movss %xmm0, (%edi)");
DEMO_PROBE(SseVector, "movups (%edi), %xmm2", "addps %xmm2, %xmm2", "movups %xmm2, (%edi)");

DEMO_PROBE(UseX87, "", "fld1", "");
DEMO_PROBE(UseFwait, "", "fwait", "");
DEMO_PROBE(UseSse, "", "xorps %xmm0, %xmm0", "");
DEMO_PROBE(UnmaskedDivide, "fninit; mov %eax, (%edi); fldcw (%edi); fld1; fldz; fdivrp", "fwait", "");

void CheckComputations(Level level) {
  const Registers in{.eax = 2, .edi = AddressOf(operand)};
  Run(X87Root, level, in);
  Check("x87 square root of 2, high half of the double", 0x3FF6A09E, operand[1]);
  Check("  and low half", 0x667F3BCD, operand[0]);
  Run(X87Pi, level, in);
  Check("x87 4 atan 1, high half", 0x400921FB, operand[1]);
  Check("  and low half", 0x54442D18, operand[0]);
  Run(X87Control, level, in);
  Check("FNINIT's control word", kDefaultControl, operand[0] & 0xFFFF);
  Run(SseRoot, level, in);
  Check("SSE square root of 2", 0x3FB504F3, operand[0]);
  constexpr uint32_t kOne = 0x3F800000, kTwo = 0x40000000;
  for (uint32_t& word : operand) word = kOne;
  Run(SseVector, level, in);
  bool all_two = true;
  for (uint32_t word : operand) all_two &= word == kTwo;
  CheckTrue("SSE adds four lanes", all_two);
}

void CheckFaultAt(const char* what, const Probe& probe, Level level, uint32_t vector) {
  ProbeResult r = Run(probe, level, {.eax = kControlUnmaskedZe, .edi = AddressOf(operand)});
  Check(what, vector, r.frame.vector);
  Check("  EIP saved is the instruction's", AddressOf(probe.at), r.frame.eip);
}

void CheckTaskSwitched(Level level) {
  SetTs(true);
  CheckFaultAt("CR0.TS: x87 is #NM", UseX87, level, vector::kDeviceNotAvailable);
  CheckFaultAt("CR0.TS: SSE is #NM", UseSse, level, vector::kDeviceNotAvailable);
  CheckFaultAt("CR0.TS and MP: FWAIT is #NM", UseFwait, level, vector::kDeviceNotAvailable);
  SetTs(false);
  CheckTrue("after CLTS x87 works", Run(UseX87, level).Done());
  WriteCr0(ReadCr0() | cr0::kEm);
  CheckFaultAt("CR0.EM: SSE is #UD", UseSse, level, vector::kInvalidOpcode);
  CheckFaultAt("CR0.EM: x87 is #NM", UseX87, level, vector::kDeviceNotAvailable);
  WriteCr0(ReadCr0() & ~cr0::kEm);
}

void CheckSaveRestore() {
  asm volatile("fninit\n fld1\n fldpi\n movups %0, %%xmm3" ::"m"(operand));
  SaveFpu(saved_state);
  asm volatile("fninit\n xorps %xmm3, %xmm3");
  RestoreFpu(saved_state);
  SaveFpu(other_state);
  constexpr unsigned kUsedBytes = 288;  // 32-bit FXSAVE: header, ST0-7, XMM0-7
  bool equal = true;
  for (unsigned i = 0; i < kUsedBytes; ++i) equal &= saved_state.image[i] == other_state.image[i];
  CheckTrue("FXRSTOR brings back what FXSAVE stored", equal);
  // ST(0) lies at offset 32; pi's significand is C90FDAA2'2168C235.
  uint32_t pi_high;
  __builtin_memcpy(&pi_high, saved_state.image + 36, sizeof pi_high);
  Check("FXSAVE's image holds ST(0) in 80 bits", 0xC90FDAA2, pi_high);
}

}  // namespace

void EnableFpu() {
  WriteCr0((ReadCr0() & ~(cr0::kEm | cr0::kTs)) | cr0::kMp | cr0::kNe);
  WriteCr4(ReadCr4() | cr4::kOsfxsr | cr4::kOsxmmexcpt);
  asm volatile("fninit\n ldmxcsr %0" ::"m"(kDefaultMxcsr));
  SaveFpu(initial_state);
}

const FpuState& InitialFpuState() { return initial_state; }

void CheckFpu() {
  BeginSection("x87 and SSE");
  for (Level level : kLevels) {
    CheckComputations(level);
    CheckTaskSwitched(level);
    CheckFaultAt("unmasked x87 divide by zero: FWAIT is #MF", UnmaskedDivide, level, vector::kX87FloatingPoint);
    asm volatile("fnclex\n fninit");
  }
  CheckSaveRestore();
  RestoreFpu(initial_state);
}

}  // namespace demo
