// x87, MMX and SSE: exceptions pending, raised and unmasked, against the processor; CR0/CR4 rules and pointers by hand.
#include <catch2/catch.hpp>
#include <random>

#include "tests/interpreter/oracle_comparison.h"

using namespace ring3;

namespace {

constexpr unsigned kFcw = 0, kFsw = 2, kFtw = 4, kMxcsr = 24, kXmm0 = 160;

template <class T>
void SetFx(Trial& trial, unsigned offset, T value) {
  std::memcpy(&trial.fxsave[offset], &value, sizeof value);
}

const std::vector<std::vector<uint8_t>>& FpuInstructions() {
  static const std::vector<std::vector<uint8_t>> code = {
      {0xD9, 0xE8},              // fld1
      {0xD8, 0xC1},              // fadd
      {0xD8, 0xF1},              // fdiv
      {0xDE, 0xF9},              // fdivp
      {0xD9, 0xFA},              // fsqrt
      {0xD9, 0x03},              // fld dword [ebx]
      {0xD9, 0x13},              // fst dword [ebx]
      {0xDD, 0x1B},              // fstp qword [ebx]
      {0xDB, 0x3B},              // fstp tbyte [ebx]
      {0xDB, 0x1B},              // fistp dword [ebx]
      {0xDF, 0x1B},              // fistp word [ebx]
      {0xDF, 0x33},              // fbstp [ebx]
      {0xDF, 0x23},              // fbld [ebx]
      {0xDF, 0xE0},              // fnstsw ax
      {0xD9, 0x3B},              // fnstcw [ebx]
      {0xD9, 0x33},              // fnstenv [ebx]
      {0xDD, 0x33},              // fnsave [ebx]
      {0x66, 0xD9, 0x33},        // fnstenv, 16-bit
      {0x66, 0xDD, 0x33},        // fnsave, 16-bit
      {0xDB, 0xE2},              // fnclex
      {0xDB, 0xE3},              // fninit
      {0x9B},                    // fwait
      {0xD9, 0x2B},              // fldcw [ebx]
      {0xD9, 0x23},              // fldenv [ebx]
      {0xDD, 0x23},              // frstor [ebx]
      {0x0F, 0xAE, 0x0B},        // fxrstor [ebx]
      {0x0F, 0x77},              // emms
      {0x0F, 0xEF, 0xC1},        // pxor mm0, mm1
      {0x0F, 0xF7, 0xC1},        // maskmovq
      {0x0F, 0x2A, 0xC1},        // cvtpi2ps xmm0, mm1
      {0x0F, 0x2A, 0x03},        // cvtpi2ps xmm0, [ebx]
      {0x66, 0x0F, 0x2A, 0x03},  // cvtpi2pd xmm0, [ebx]
      {0x66, 0x0F, 0x2A, 0xC1},  // cvtpi2pd xmm0, mm1
      {0x0F, 0x2D, 0xC1},        // cvtps2pi mm0, xmm1
      {0x0F, 0x2D, 0x03},        // cvtps2pi mm0, [ebx]
      {0xF2, 0x0F, 0xD6, 0xC1},  // movdq2q mm0, xmm1
      {0xF3, 0x0F, 0xD6, 0xC1},  // movq2dq xmm0, mm1
      {0x0F, 0x58, 0xC1},        // addps xmm0, xmm1
      {0xDB, 0xE0},              // feni
      {0xDB, 0xE4},              // fsetpm
  };
  return code;
}

struct Batch {
  Machine machine;
  unsigned failed = 0;
  std::string report;
  void Add(const Trial& trial) {
    const std::string difference = Compare(machine, trial);
    if (!difference.empty() && ++failed <= 20) report += difference;
  }
  ~Batch() {
    INFO(report);
    CHECK(failed == 0);
  }
};

}  // namespace

TEST_CASE("x87 errors are pending, masked and raised as on the processor") {
  Batch batch;
  for (const auto& code : FpuInstructions()) {
    for (unsigned seed = 0; seed < 40; ++seed) {
      Trial trial = MakeTrial(code, seed);
      std::mt19937 random(seed);
      const auto fcw = static_cast<uint16_t>((random() & 0xF3F) | 0x40);
      uint16_t fsw = static_cast<uint16_t>(random() & 0x7F3F);
      // Half of the trials start without a pending error, so that the instruction itself can raise one.
      if (seed % 2) fsw &= fcw | 0x7F00;
      if (fsw & ~fcw & 0x3F) fsw |= 0x8080;
      SetFx(trial, kFcw, fcw);
      SetFx(trial, kFsw, fsw);
      if (seed % 3 == 0) SetFx<uint64_t>(trial, 32, 0);                                    // ST0 = denormal or zero
      if (seed % 5 == 0) SetFx<uint16_t>(trial, 32 + 8, static_cast<uint16_t>(random()));  // any exponent
      batch.Add(trial);
    }
  }
}

TEST_CASE("unmasked SIMD exceptions are raised as on the processor") {
  const std::vector<std::vector<uint8_t>> instructions = {
      {0x0F, 0x58, 0xC1},       {0x0F, 0x59, 0xC1},       {0x0F, 0x5E, 0xC1},       {0x0F, 0x51, 0xC1},
      {0xF3, 0x0F, 0x58, 0xC1}, {0xF3, 0x0F, 0x59, 0xC1}, {0xF2, 0x0F, 0x5E, 0xC1}, {0xF2, 0x0F, 0x59, 0xC1},
      {0x66, 0x0F, 0x5A, 0xC1}, {0x0F, 0x5A, 0xC1},       {0xF2, 0x0F, 0x5A, 0xC1}, {0x0F, 0xC2, 0xC1, 0x01},
      {0x0F, 0x2F, 0xC1},       {0x0F, 0x2E, 0xC1},       {0xF2, 0x0F, 0x2D, 0xC1}, {0xF3, 0x0F, 0x2C, 0xC1},
      {0xF3, 0x0F, 0x2A, 0xC1}, {0x0F, 0x2D, 0xC1},       {0x66, 0x0F, 0x58, 0x03}, {0xF2, 0x0F, 0x2D, 0x03},
      {0x66, 0x0F, 0x5B, 0xC1}, {0x0F, 0x5F, 0xC1},       {0x66, 0x0F, 0x59, 0xC1}, {0x66, 0x0F, 0x3A, 0x0A, 0xC1, 0},
      {0x0F, 0x28, 0xC1},       {0x0F, 0xEF, 0xC1},       {0x0F, 0x2D, 0x03},       {0xF2, 0x0F, 0x7C, 0xC1},
  };
  constexpr uint32_t kNumbers[] = {0,           1,           0x0080'0000, 0x007F'FFFF, 0x3F80'0000, 0x7F7F'FFFF,
                                   0x7F80'0000, 0x7FC0'0000, 0x7F80'0001, 0x8000'0000, 0x0100'0000, 0x3F00'0000,
                                   0x1F80'0000, 0x7FF0'0000, 0x0010'0000, 0x3FE0'0000};
  Batch batch;
  for (const auto& code : instructions) {
    for (unsigned seed = 0; seed < 60; ++seed) {
      Trial trial = MakeTrial(code, seed);
      std::mt19937 random(seed * 31 + code[1]);
      for (unsigned i = 0; i < 8; ++i) {
        SetFx<uint32_t>(trial, kXmm0 + 4 * i, kNumbers[random() % std::size(kNumbers)]);
      }
      SetFx<uint32_t>(trial, kMxcsr, random() & 0xFFFF);
      batch.Add(trial);
    }
  }
}

TEST_CASE("CR0 and CR4 decide between #NM, #UD and #MF") {
  Machine m;
  const auto vector = [&](std::initializer_list<uint8_t> code) { return FaultOf([&] { m.Step(code); }).vector; };
  m.EnterFlat(3);
  m.State().cr0 |= cr0::kTs;
  CHECK(vector({0xD9, 0xE8}) == Vector::kDeviceNotAvailable);        // fld1
  CHECK(vector({0x9B}) == Vector::kDeviceNotAvailable);              // fwait: MP and TS
  CHECK(vector({0x0F, 0xEF, 0xC0}) == Vector::kDeviceNotAvailable);  // pxor mm
  CHECK(vector({0x0F, 0x57, 0xC0}) == Vector::kDeviceNotAvailable);  // xorps
  m.State().cr0 &= ~(cr0::kTs | cr0::kMp);
  m.State().cr0 |= cr0::kEm;
  CHECK(vector({0xD9, 0xE8}) == Vector::kDeviceNotAvailable);
  CHECK_NOTHROW(m.Step({0x9B}));
  CHECK(vector({0x0F, 0xEF, 0xC0}) == Vector::kInvalidOpcode);
  CHECK(vector({0x0F, 0x57, 0xC0}) == Vector::kInvalidOpcode);
  m.State().cr0 &= ~cr0::kEm;
  m.State().cr4 &= ~cr4::kOsfxsr;
  CHECK(vector({0x0F, 0x57, 0xC0}) == Vector::kInvalidOpcode);
  CHECK(vector({0x0F, 0xAE, 0x15, 0, 0, 0x01, 0x01}) == Vector::kInvalidOpcode);  // ldmxcsr
  CHECK_NOTHROW(m.Step({0x0F, 0xEF, 0xC0}));
  CHECK_NOTHROW(m.Step({0x0F, 0xC3, 0x05, 0, 0, 0x01, 0x01}));  // movnti needs none of it
}

TEST_CASE("without CR0.NE a pending x87 error goes to the interrupt line") {
  Machine m;
  m.EnterFlat(0);
  m.State().cr0 &= ~cr0::kNe;
  m.State().fxsave[kFcw] = 0x40;  // all unmasked
  m.State().fxsave[kFsw] = 0x84;  // zero divide pending
  m.Reg(kEax) = 5;
  const StepResult result = m.Step({0xD9, 0xE8});
  CHECK(result.x87_error_line);
  CHECK(m.State().eip == Machine::kCode);
  CHECK_FALSE(m.Step({0xDF, 0xE0}).x87_error_line);  // fnstsw ax doesn't wait
  CHECK((m.Reg(kEax) & 0xFF) == 0x84);
}

TEST_CASE("IGNNE# lets waiting instructions run until the error is gone") {
  Machine m;
  m.EnterFlat(0);
  m.State().cr0 &= ~cr0::kNe;
  m.State().fxsave[kFtw] = 0;
  m.State().fxsave[kFcw] = 0x40;
  m.State().fxsave[kFsw] = 0x84;
  REQUIRE(m.Step({0x9B}).x87_error_line);
  m.State().ignore_x87_error = true;
  CHECK_FALSE(m.Step({0x9B}).x87_error_line);        // fwait
  CHECK_FALSE(m.Step({0xD9, 0xE8}).x87_error_line);  // fld1
  CHECK(m.State().ignore_x87_error);
  CHECK(m.State().fxsave[kFsw] == 0x84);  // still pending
  m.Step({0xDB, 0xE2});                   // fnclex
  CHECK_FALSE(m.State().ignore_x87_error);
  m.State().fxsave[kFsw] = 0x84;
  CHECK(m.Step({0x9B}).x87_error_line);
  m.State().ignore_x87_error = true;
  m.State().cr0 |= cr0::kNe;  // then there is no line to ignore
  CHECK(FaultOf([&] { m.Step({0x9B}); }).vector == Vector::kX87FloatingPoint);
}

TEST_CASE("the x87 opcode register follows every instruction, or exceptions only, by model") {
  for (const char* model : {"pentium3", "pentium4", "max"}) {
    INFO(model);
    Machine m(model);
    m.EnterFlat(3);
    m.State().fxsave[kFtw] = 0;
    m.State().fxsave[kFcw] = 0x7F;  // all masked
    m.Step({0xD9, 0xEE});           // fldz
    const auto fop = [&] { return m.State().fxsave[6] | m.State().fxsave[7] << 8; };
    CHECK(fop() == (std::string(model) == "pentium3" ? 0x1EE : 0));
    m.State().fxsave[kFcw] = 0x7B;  // zero divide unmasked
    m.Step({0xD9, 0xE8});           // fld1
    m.Step({0xD8, 0xF1});           // fdiv st0, st1
    CHECK(fop() == 0x0F1);
  }
}

TEST_CASE("x87 pointers name the guest's instruction and operand") {
  Machine m("pentium3");
  m.EnterFlat(3);
  m.Reg(kEbx) = Machine::kData + 16;
  m.Step({0xDD, 0x43, 0x08});  // fld qword [ebx + 8]
  const auto field = [&](unsigned offset) {
    uint32_t value;
    std::memcpy(&value, &m.State().fxsave[offset], sizeof value);
    return value;
  };
  CHECK(field(8) == Machine::kCode);
  CHECK((field(12) & 0xFFFF) == selectors::kCode3);
  CHECK(field(16) == Machine::kData + 24);
  CHECK((field(20) & 0xFFFF) == selectors::kData3);
  CHECK((field(6) & 0xFFFF) == 0x543);
  m.Step({0xD9, 0x33});  // fnstenv [ebx]
  CHECK(m.Get<uint32_t>(Machine::kData + 16 + 12) == Machine::kCode);
  CHECK(m.Get<uint32_t>(Machine::kData + 16 + 16) == (0x5430000u | selectors::kCode3));
  CHECK(m.Get<uint32_t>(Machine::kData + 16 + 20) == Machine::kData + 24);
  CHECK(m.Get<uint16_t>(Machine::kData + 16 + 24) == selectors::kData3);
}
