// The oracle itself: what it reports must be what the code did.
#include "tests/oracle/oracle.h"

#include <catch2/catch.hpp>
#include <cstring>

using namespace ring3;

namespace {

constexpr uint32_t kCode = 0x0100'0000, kData = 0x0101'0000;

OracleState With(std::initializer_list<uint8_t> code) {
  OracleState state;
  std::vector<uint8_t> page(4096, 0xCC);
  std::copy(code.begin(), code.end(), page.begin());
  state.eip = kCode;
  state.regions = {{kCode, page, false}, {kData, std::vector<uint8_t>(4096, 0), true}};
  state.gpr[4] = kData + 4096;
  return state;
}

}  // namespace

TEST_CASE("registers, flags and memory come back") {
  OracleState state = With({0x01, 0xC8, 0x50});  // add eax, ecx; push eax
  state.gpr[0] = 0x7FFF'FFFF;
  state.gpr[1] = 1;
  const OracleResult result = RunOracle(state);
  CHECK(result.vector == 3);
  CHECK(result.state.eip == kCode + 4);
  CHECK(result.state.gpr[0] == 0x8000'0000);
  CHECK(result.state.gpr[4] == kData + 4092);
  CHECK((result.state.eflags & 0x8D5) == 0x894);  // OF SF PF AF
  CHECK(result.state.regions[1].bytes[4095] == 0x80);
}

TEST_CASE("page faults report address and error code") {
  OracleState state = With({0xA3, 0, 0, 0, 0x02});  // mov [0x02000000], eax
  OracleResult result = RunOracle(state);
  CHECK(result.vector == 14);
  CHECK(result.cr2 == 0x0200'0000);
  CHECK(result.error_code == 6);
  state = With({0xC6, 0x05, 0, 0, 0, 0x01, 0x90});  // mov byte [kCode], 90h: a read-only region
  result = RunOracle(state);
  CHECK(result.error_code == 7);
  CHECK(result.state.eip == kCode);
}

TEST_CASE("other exceptions report their vector") {
  CHECK(RunOracle(With({0x0F, 0x0B})).vector == 6);
  CHECK(RunOracle(With({0xF4})).vector == 13);
  OracleState divide = With({0xF7, 0xF1});
  CHECK(RunOracle(divide).vector == 0);
}

TEST_CASE("TF runs one instruction") {
  OracleState state = With({0x40, 0x40});
  state.eflags |= 0x100;
  const OracleResult result = RunOracle(state);
  CHECK(result.vector == 1);
  CHECK(result.state.gpr[0] == 1);
  CHECK(result.state.eip == kCode + 1);
}

TEST_CASE("the FPU starts from the image given and its state comes back") {
  const OracleState state = With({0xD9, 0xE8, 0x0F, 0x28, 0xC1});  // fld1; movaps xmm0, xmm1
  OracleState initial = state;
  initial.fxsave[160 + 16] = 0x5A;
  const OracleResult result = RunOracle(initial);
  CHECK(result.state.fxsave[160] == 0x5A);
  CHECK(result.state.fxsave[4] == 0x80);       // one register valid
  CHECK(result.state.fxsave[32 + 9] == 0x3F);  // 1.0
}

TEST_CASE("upper halves of YMM registers start as given and come back") {
  if (!__builtin_cpu_supports("avx")) return;
  OracleState initial = With({0xC5, 0xFC, 0x28, 0xC1});  // vmovaps ymm0, ymm1
  initial.ymm_high[16] = 0x5A;
  initial.ymm_high[127] = 0xA5;
  const OracleResult result = RunOracle(initial);
  CHECK(result.state.ymm_high[0] == 0x5A);
  CHECK(result.state.ymm_high[16] == 0x5A);
  CHECK(result.state.ymm_high[127] == 0xA5);
}

TEST_CASE("16-bit code runs in segments of the LDT") {
  OracleState state = With({0x50, 0xA1, 0x10, 0x00, 0x26, 0xA2, 0xFF, 0x01, 0xCC});
  // push ax; mov ax, [10h]; mov es:[1FFh], al; int3
  constexpr uint32_t kLimit = 0xFFF;
  state.ldt = {{.kind = LdtEntry::Kind::kCode, .big = false, .base = kCode, .limit = kLimit},
               {.big = false, .base = kData, .limit = kLimit},
               {.kind = LdtEntry::Kind::kExpandDown, .big = false, .base = kData, .limit = 0x1FE}};
  state.selectors = {LdtSelector(2), LdtSelector(0), LdtSelector(1), LdtSelector(1), LdtSelector(1), 0};
  state.regions[1].bytes[0x10] = 0x34;
  state.eip = 0;
  state.gpr[0] = 0xABCD'1234;
  state.gpr[4] = 0x5A5A'0100;  // the upper half must survive
  OracleResult result = RunOracle(state);
  CHECK(result.vector == 3);
  CHECK(result.state.eip == 9);
  CHECK(result.state.gpr[0] == 0xABCD'0034);
  CHECK(result.state.gpr[4] == 0x5A5A'00FE);
  CHECK(result.state.regions[1].bytes[0xFF] == 0x12);
  CHECK(result.state.regions[1].bytes[0x1FF] == 0x34);
  CHECK(result.state.selectors == state.selectors);
  state.ldt[2].limit = 0x1FF;  // of an expand-down segment: the last offset that is not in it
  result = RunOracle(state);
  CHECK(result.vector == 13);
  CHECK(result.state.eip == 4);
}

TEST_CASE("endless code is stopped") { CHECK(RunOracle(With({0xEB, 0xFE})).timed_out); }
