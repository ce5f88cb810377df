// AVX beyond the opcode maps: gathers and masked moves at the edge of memory, segments, upper halves across exits, and
// when AVX instructions fault.
#include <catch2/catch.hpp>
#include <cstring>

#include "tests/instructions/trials.h"

using namespace ring3;

namespace {

constexpr uint32_t kDataEnd = guest::kData + guest::kDataBytes;
constexpr unsigned kIndex = 2, kMask = 3;  // XMM2, XMM3; the target is XMM1

/// VGATHER xmm1, [memory + xmm2 * scale], xmm3.
struct Gather {
  uint8_t opcode;
  bool w, l;
  Bytes operand;  // ModRM, SIB, displacement

  Bytes Code(const Bytes& prefix = {}) const {
    Bytes code = prefix;
    code.insert(code.end(), {0xC4, 0xE2, static_cast<uint8_t>(w << 7 | (~kMask & 0xF) << 3 | l << 2 | 1), opcode});
    code.insert(code.end(), operand.begin(), operand.end());
    return code;
  }
  bool QuadIndex() const { return opcode & 1; }
};

void SetElement(Program& p, unsigned vector, unsigned byte, const void* value, unsigned bytes) {
  constexpr unsigned kXmm0 = 160;
  uint8_t* low = &p.fxsave[kXmm0 + kXmmBytes * vector];
  uint8_t* high = &p.ymm_high[kXmmBytes * vector];
  std::memcpy(byte < kXmmBytes ? low + byte : high + byte - kXmmBytes, value, bytes);
}

/// Indices that stay within some hundred bytes, both ways.
void SmallIndices(Program& p, bool quad, int32_t distance) {
  for (unsigned i = 0; i < (quad ? 4 : 8); ++i) {
    const int64_t index = (i % 2 ? -1 : 1) * (distance + static_cast<int>(i) * 3);
    SetElement(p, kIndex, i * (quad ? 8 : 4), &index, quad ? 8 : 4);
  }
}

std::vector<Gather> Gathers() {
  std::vector<Gather> all;
  for (uint8_t opcode : {0x90, 0x91, 0x92, 0x93}) {
    for (bool w : {false, true}) {
      for (bool l : {false, true}) {
        all.push_back({opcode, w, l, {0x0C, 0x13}});                          // [ebx + xmm2]
        all.push_back({opcode, w, l, {0x4C, 0x94, 0x10}});                    // [esp + xmm2*4 + 16]
        all.push_back({opcode, w, l, {0x8C, 0x55, 0xF0, 0xFF, 0xFF, 0xFF}});  // [ebp + xmm2*2 - 16]
        all.push_back({opcode, w, l, {0x0C, 0xD5, 0x00, 0x20, 0x01, 0x10}});  // [xmm2*8 + kData + 8192]
      }
    }
  }
  return all;
}

Bytes VmovapsLoad(uint8_t modrm) { return {0xC5, 0xFC, 0x28, modrm}; }

bool HasAvx() { return FindCpuModel("max").features7_ebx & cpuid7_ebx::kAvx2; }

}  // namespace

TEST_CASE("gathers in every form and from every base") {
  Trials trials;
  for (const Gather& gather : Gathers()) {
    trials.adjust = [&](Program& p) { SmallIndices(p, gather.QuadIndex(), 5); };
    trials.TryBytes("gather", gather.Code(), Reference::kBoth);
    trials.TryBytes("gather, segment with a base", gather.Code({0x65}), Reference::kInterpreter);
    trials.adjust = [&](Program& p) {
      SmallIndices(p, gather.QuadIndex(), 5);
      p.gpr[kEbx] = p.gpr[kEsp] = 0x40;
      p.gpr[kEbp] = 0xFFFF'FFF0;
    };
    trials.TryBytes("gather, segment with a base", gather.Code({0x65}), Reference::kInterpreter);
  }
  trials.TryBytes("same registers", {0xC4, 0xE2, 0x71, 0x92, 0x0C, 0x13}, Reference::kBoth);
  trials.TryBytes("no SIB byte", {0xC4, 0xE2, 0x61, 0x92, 0x0B}, Reference::kBoth);
  trials.TryBytes("register", {0xC4, 0xE2, 0x61, 0x92, 0xCC}, Reference::kBoth);
  trials.TryBytes("16-bit addressing", {0x67, 0xC4, 0xE2, 0x61, 0x92, 0x0C, 0x13}, Reference::kBoth);
  trials.Report(700);
}

TEST_CASE("a page fault in the middle of a gather leaves what was gathered, and the mask of what is left") {
  Trials trials;
  for (const Gather& gather : Gathers()) {
    for (unsigned bad = 0; bad < 8; ++bad) {
      trials.adjust = [&](Program& p) {
        SmallIndices(p, gather.QuadIndex(), 2);
        const unsigned bytes = gather.QuadIndex() ? 8 : 4;
        const int64_t far_away = 0x0A00'0000;
        if (bad * bytes < kYmmBytes) SetElement(p, kIndex, bad * bytes, &far_away, bytes);
        const uint32_t all = 0xFFFF'FFFF;
        for (unsigned i = 0; i < 8; ++i) SetElement(p, kMask, 4 * i, &all, 4);
      };
      trials.seeds = 1;
      trials.TryBytes("gather", gather.Code(), Reference::kBoth);
    }
  }
  trials.Report(900);
}

TEST_CASE("masked moves do not touch what the mask leaves out") {
  Trials trials;
  trials.seeds = 1;
  for (unsigned selected = 0; selected < 256; selected += 5) {
    for (uint32_t at : {kDataEnd - 32, kDataEnd - 20, kDataEnd - 8, kDataEnd, guest::kData - 12}) {
      trials.adjust = [&](Program& p) {
        p.gpr[kEbx] = at;
        for (unsigned i = 0; i < 8; ++i) {
          const uint32_t mask = selected >> i & 1 ? 0x8000'0000 : 0x7FFF'FFFF;
          SetElement(p, kMask, 4 * i, &mask, 4);
        }
      };
      for (uint8_t opcode : {0x2C, 0x2D, 0x2E, 0x2F, 0x8C, 0x8E}) {
        for (bool l : {false, true}) {
          for (bool w : {false, true}) {
            trials.TryBytes("vmaskmov", {0xC4, 0xE2, static_cast<uint8_t>(w << 7 | 0x61 | l << 2), opcode, 0x0B},
                            Reference::kBoth);
          }
        }
      }
      // Which address a fault reports differs between processors.
      if (at != kDataEnd - 32) continue;
      trials.TryBytes("vmaskmovdqu", {0x89, 0xDF, 0xC5, 0xF9, 0xF7, 0xCB}, Reference::kBoth);
    }
  }
  trials.Report(8000);
}

TEST_CASE("misaligned vectors fault where the processor says") {
  Trials trials;
  trials.seeds = 1;
  for (uint32_t misaligned : {0, 1, 8, 16}) {
    trials.adjust = [&](Program& p) { p.gpr[kEbx] = (p.gpr[kEbx] & ~31u) + misaligned; };
    for (uint8_t l : {0, 4}) {
      for (uint8_t opcode : {0x28, 0x29, 0x2B, 0x10, 0x58}) {
        trials.TryBytes("ps", {0xC5, static_cast<uint8_t>(0xF8 | l), opcode, 0x0B}, Reference::kBoth);
        trials.TryBytes("pd", {0xC5, static_cast<uint8_t>(0xF9 | l), opcode, 0x0B}, Reference::kBoth);
      }
      for (uint8_t opcode : {0x6F, 0x7F, 0xE7}) {
        trials.TryBytes("dq", {0xC5, static_cast<uint8_t>(0xF9 | l), opcode, 0x0B}, Reference::kBoth);
      }
      trials.TryBytes("vmovntdqa", {0xC4, 0xE2, static_cast<uint8_t>(0x79 | l), 0x2A, 0x0B}, Reference::kBoth);
    }
  }
  trials.Report(200);
}

TEST_CASE("AVX operands in a segment with a base") {
  Trials trials;
  trials.adjust = [](Program& p) { p.gpr[kEcx] &= 15; };
  for (const Bytes& operand : {Bytes{0x05, 0x00, 0x00, 0x00, 0x00}, {0x49, 0x20}, {0x0C, 0x4D, 0x10, 0, 0, 0}}) {
    for (const Bytes& start : {Bytes{0xC5, 0xFC, 0x10},
                               {0xC5, 0xFC, 0x11},
                               {0xC5, 0x64, 0x58},
                               {0xC4, 0xE2, 0x65, 0x2C},
                               {0xC4, 0xE2, 0x68, 0xF2},
                               {0xC4, 0xE2, 0x63, 0xF6}}) {
      Bytes code = {0x65};
      code.insert(code.end(), start.begin(), start.end());
      code.insert(code.end(), operand.begin(), operand.end());
      trials.TryBytes("gs:", code, Reference::kInterpreter);
    }
  }
  trials.Report(100);
}

TEST_CASE("unmasked SIMD exceptions of VEX instructions") {
  Trials trials;
  trials.seeds = 8;
  for (uint32_t mxcsr : {0x0u, 0x1F00u, 0x1D80u, 0x0F80u, 0x9780u}) {
    trials.adjust = [&](Program& p) { std::memcpy(&p.fxsave[24], &mxcsr, sizeof mxcsr); };
    trials.TryBytes("vdivps", {0xC5, 0xEC, 0x5E, 0xCB}, Reference::kBoth);
    trials.TryBytes("vmulpd m", {0xC5, 0xED, 0x59, 0x0B}, Reference::kBoth);
    trials.TryBytes("vfmadd231ps", {0xC4, 0xE2, 0x6D, 0xB8, 0xCB}, Reference::kBoth);
    trials.TryBytes("vcvtps2ph m", {0xC4, 0xE3, 0x7D, 0x1D, 0x0B, 0x04}, Reference::kBoth);
    trials.TryBytes("vcvttsd2si", {0xC5, 0xFB, 0x2C, 0xC1}, Reference::kBoth);
  }
  trials.Report(300);
}

TEST_CASE("upper halves survive exits, and legacy SSE leaves them alone") {
  Trials trials;
  const Bytes codes[] = {
      {0xC5, 0xEC, 0x58, 0xC3, 0x0F, 0xA2, 0xC5, 0xFC, 0x11, 0x06},        // vaddps; cpuid (an exit); vmovups [esi]
      {0xC5, 0xEC, 0x58, 0xC3, 0x0F, 0xAE, 0x03, 0xC5, 0xFC, 0x11, 0x06},  // the same with fxsave [ebx]
      {0x0F, 0x58, 0xC1, 0x0F, 0xA2, 0x0F, 0x28, 0xD8},                    // addps; cpuid; movaps
      {0x0F, 0xAE, 0x03, 0x0F, 0xAE, 0x0B, 0xC5, 0xFC, 0x28, 0xC8},        // fxsave; fxrstor; vmovaps
      {0xC5, 0xF8, 0x77, 0x0F, 0xA2, 0xC5, 0xFC, 0x28, 0xC8},              // vzeroupper
      {0xC5, 0xFC, 0x77, 0x0F, 0xA2, 0xC5, 0xFC, 0x28, 0xC8},              // vzeroall
  };
  for (const Bytes& code : codes) trials.TryBytes("exit", code, Reference::kInterpreter);
  trials.Report(30);
}

TEST_CASE("upper halves outlive XCR0.AVX") {
  if (!HasAvx()) return;
  TestMachine machine;
  Program program =
      MakeProgram({0xB8, 3,    0,    0,    0,    0x31, 0xD2, 0x31, 0xC9, 0x0F, 0x01, 0xD1,  // xsetbv: x87 and SSE
                   0x0F, 0x58, 0xC1, 0x0F, 0xA2,                                            // addps; cpuid
                   0xB8, 7,    0,    0,    0,    0x31, 0xD2, 0x31, 0xC9, 0x0F, 0x01, 0xD1,  // xsetbv: all
                   0xC5, 0xFC, 0x28, 0xF9},                                                 // vmovaps ymm7, ymm1
                  5, 0);
  const Outcome out = RunOn(machine, program);
  CHECK(out.vector == 3u);
  for (unsigned i = 0; i < 7 * kXmmBytes; ++i) CHECK(out.ymm_high[i] == program.ymm_high[i]);
  CHECK(std::memcmp(&out.ymm_high[7 * kXmmBytes], &program.ymm_high[kXmmBytes], kXmmBytes) == 0);
}

TEST_CASE("AVX faults unless CR4.OSXSAVE and XCR0 allow it; BMI does not ask") {
  if (!HasAvx()) return;
  struct Case {
    const char* name;
    uint32_t cr4_clear, xcr0, cr0_set;
    unsigned vector;
  };
  const Case cases[] = {{"as it is", 0, 7, 0, 3},         {"no OSXSAVE", cr4::kOsxsave, 7, 0, 6},
                        {"XCR0 without AVX", 0, 3, 0, 6}, {"XCR0 of x87 alone", 0, 1, 0, 6},
                        {"TS", 0, 7, cr0::kTs, 7},        {"TS, but no OSXSAVE either", cr4::kOsxsave, 7, cr0::kTs, 6},
                        {"EM", 0, 7, cr0::kEm, 3}};
  for (const Case& c : cases) {
    for (bool interpreter : {false, true}) {
      TestMachine machine({.interpreter = interpreter});
      for (const Bytes& code : {VmovapsLoad(0xC1), Bytes{0xC5, 0xF8, 0x77}, Bytes{0xC5, 0xFD, 0x6F, 0xD1}}) {
        INFO(c.name << ", interpreter " << interpreter);
        Load(machine, MakeProgram(code, 1, 0));
        machine.State().cr4 &= ~c.cr4_clear;
        machine.State().xcr0 = c.xcr0;
        machine.State().cr0 |= c.cr0_set;
        CHECK(machine.Run().vector == c.vector);
      }
      Load(machine, MakeProgram({0xC4, 0xE2, 0x68, 0xF2, 0xC9}, 1, 3));  // andn
      machine.State().cr4 &= ~c.cr4_clear;
      machine.State().xcr0 = c.xcr0;
      machine.State().cr0 |= c.cr0_set;
      CHECK(machine.Run().vector == 3u);
    }
  }
}

TEST_CASE("what a model does not advertise is #UD, translated and interpreted") {
  struct Case {
    const char* model;
    std::vector<Bytes> missing, present;
  };
  const Bytes cmov{0x0F, 0x44, 0xC1}, rdtsc{0x0F, 0x31}, cmpxchg8b{0x0F, 0xC7, 0x0B}, movq_mmx{0x0F, 0x6F, 0xC1},
      addps{0x0F, 0x58, 0xC1}, addpd{0x66, 0x0F, 0x58, 0xC1}, addsubps{0xF2, 0x0F, 0xD0, 0xC1},
      pshufb{0x66, 0x0F, 0x38, 0x00, 0xC1}, ptest{0x66, 0x0F, 0x38, 0x17, 0xC1}, crc32{0xF2, 0x0F, 0x38, 0xF1, 0xC1},
      popcnt{0xF3, 0x0F, 0xB8, 0xC1}, movbe{0x0F, 0x38, 0xF0, 0x03}, aesenc{0x66, 0x0F, 0x38, 0xDC, 0xC1},
      clmul{0x66, 0x0F, 0x3A, 0x44, 0xC1, 0x00}, rdrand{0x0F, 0xC7, 0xF0}, rdseed{0x0F, 0xC7, 0xF8},
      adox{0xF3, 0x0F, 0x38, 0xF6, 0xC1}, sha{0x0F, 0x38, 0xC9, 0xC1}, avx{0xC5, 0xFC, 0x58, 0xC1},
      andn{0xC4, 0xE2, 0x68, 0xF2, 0xC9}, xgetbv{0x0F, 0x01, 0xD0}, nop{0x0F, 0x1F, 0xC0}, xadd{0x0F, 0xC1, 0xC8},
      bswap{0x0F, 0xC8}, fcmov{0xDA, 0xC1}, clflush{0x0F, 0xAE, 0x3B}, lddqu{0xF2, 0x0F, 0xF0, 0x0B};
  const std::vector<Bytes> newest = {popcnt, movbe, aesenc, clmul,  rdrand, rdseed, adox,
                                     sha,    avx,   andn,   xgetbv, ptest,  crc32};
  const auto plus = [&](std::vector<Bytes> some) {
    some.insert(some.end(), newest.begin(), newest.end());
    return some;
  };
  const Case cases[] = {
      {"486", plus({cmov, rdtsc, cmpxchg8b, movq_mmx, addps, addpd, addsubps, pshufb, nop, fcmov}), {xadd, bswap}},
      {"pentium", plus({cmov, movq_mmx, addps, addpd, addsubps, pshufb, nop, fcmov}), {cmpxchg8b, rdtsc}},
      {"pentium3", plus({addpd, addsubps, pshufb, clflush}), {cmov, movq_mmx, addps, nop, fcmov}},
      {"pentium4", plus({addsubps, pshufb, lddqu}), {addpd, addps, clflush}},
      {"n270", newest, {addsubps, pshufb, lddqu}}};
  for (const Case& c : cases) {
    for (bool interpreter : {false, true}) {
      TestMachine machine({.interpreter = interpreter, .model = c.model});
      const auto vector_of = [&](const Bytes& code) {
        Program program = MakeProgram(code, 1, 3);
        program.fxsave[2] = program.fxsave[3] = 0;
        INFO(c.model << ", interpreter " << interpreter << ": " << Describe(program));
        return RunOn(machine, program).vector;
      };
      for (const Bytes& code : c.missing) {
        INFO(c.model << ", interpreter " << interpreter << ": " << Describe(MakeProgram(code, 1, 3)));
        CHECK(vector_of(code) == 6u);
      }
      for (const Bytes& code : c.present) {
        INFO(c.model << ", interpreter " << interpreter << ": " << Describe(MakeProgram(code, 1, 3)));
        CHECK(vector_of(code) == 3u);
      }
    }
  }
}

TEST_CASE("a repeat prefix makes LZCNT and TZCNT of BSR and BSF only where the model has them") {
  const bool lzcnt = FindCpuModel("max").extended_ecx & cpuid_extended_ecx::kLzcnt;
  for (bool interpreter : {false, true}) {
    for (const char* model : {"n270", "max"}) {
      TestMachine machine({.interpreter = interpreter, .model = model});
      Program program = MakeProgram({0xF3, 0x0F, 0xBD, 0xC1}, 1, 3);
      program.gpr[kEcx] = 0x100;
      CHECK(RunOn(machine, program).gpr[kEax] == (lzcnt && model == std::string("max") ? 23u : 8u));
    }
  }
}

TEST_CASE("random numbers arrive in any register, or CF says that none did") {
  TestMachine machine;
  for (uint8_t modrm : {0xF0, 0xF4, 0xF5, 0xF8, 0xFC, 0xFF}) {
    const bool seed = modrm >= 0xF8;
    const CpuModel& model = FindCpuModel("max");
    if (seed ? !(model.features7_ebx & cpuid7_ebx::kRdseed) : !(model.features_ecx & cpuid_ecx::kRdrand)) continue;
    bool differed = false;
    for (unsigned i = 0; i < 4; ++i) {
      const Program program = MakeProgram({0x0F, 0xC7, modrm}, 1, 3);
      const Outcome out = RunOn(machine, program);
      CHECK(out.vector == 3u);
      const uint32_t value = out.gpr[modrm & 7];
      differed |= (out.eflags & eflags::kCf) ? value != program.gpr[modrm & 7] : value == 0;
      for (unsigned r = 0; r < kGprCount; ++r) {
        if (r != (modrm & 7u)) CHECK(out.gpr[r] == program.gpr[r]);
      }
    }
    CHECK(differed);
  }
}
