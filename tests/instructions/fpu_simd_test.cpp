// x87, MMX and SSE: operand forms, alignment, exceptions, and mixing them.
#include <catch2/catch.hpp>
#include <cstring>
#include <tuple>

#include "tests/instructions/trials.h"

using namespace ring3;
using namespace asmjit::x86;

namespace {

constexpr unsigned kFcw = 0, kFsw = 2, kMxcsr = 24;

template <class T>
void SetFx(Program& p, unsigned offset, T value) {
  std::memcpy(&p.fxsave[offset], &value, sizeof value);
}

}  // namespace

TEST_CASE("x87 with memory operands of all sizes and forms") {
  Trials trials;
  trials.adjust = [](Program& p) {
    p.gpr[kEcx] &= 15;
    SetFx<uint16_t>(p, kFsw, 0x2000);
    p.fxsave[4] = 0x3F;
  };
  for (const Mem& m :
       {ptr(ebx), ptr(esp, 8), ptr(ebp, -16), ptr(ebx, ecx, 3, 8), ptr(uint64_t{guest::kData + 0xFFC})}) {
    const auto sized = [&](unsigned bytes) {
      Mem out = m;
      out.setSize(bytes);
      return out;
    };
    trials.Try("fild", [&](Assembler& a) {
      a.fild(sized(4));
      a.fistp(sized(8));
    });
    trials.Try("fild 64", [&](Assembler& a) {
      a.fild(sized(8));
      a.fstp(sized(10));
    });
    trials.Try("fld/fst", [&](Assembler& a) {
      a.fld(sized(4));
      a.fst(sized(8));
      a.fadd(sized(8));
    });
    trials.Try("fld 80", [&](Assembler& a) {
      a.fld(sized(10));
      a.fstp(sized(4));
    });
    trials.Try("fbld", [&](Assembler& a) {
      a.fldpi();
      a.fbstp(sized(10));
      a.fbld(sized(10));
    });
    trials.Try("fnstcw", [&](Assembler& a) {
      a.fnstcw(sized(2));
      a.fldcw(sized(2));
      a.fnstsw(sized(2));
    });
    trials.Try("fcomi", [&](Assembler& a) {
      a.fldz();
      a.fld1();
      a.fcomi(st1);
      a.fnstsw(ax);
    });
    trials.Try("transcendental", [&](Assembler& a) {
      a.fldpi();
      a.fsin();
      a.fld1();
      a.fpatan();
      a.fstp(sized(8));
    });
  }
  trials.Report(200);
}

TEST_CASE("x87 exceptions arrive at the next waiting instruction") {
  Trials trials;
  for (uint16_t control : {0x37F, 0x37B, 0x37E, 0x340, 0x360}) {
    trials.adjust = [control](Program& p) { SetFx<uint16_t>(p, kFcw, control); };
    trials.Try("divide by zero", [](Assembler& a) {
      a.fninit();
      a.fldcw(ptr(uint64_t{guest::kData}));
      a.fld1();
      a.fldz();
      a.fdivp();
      a.inc(eax);
      a.fwait();
      a.inc(eax);
    });
    trials.Try("by noise", [](Assembler& a) {
      a.fsqrt();
      a.inc(edx);
      a.fld(st0);
      a.inc(edx);
    });
    trials.Try("stack overflow", [](Assembler& a) {
      for (unsigned i = 0; i < 9; ++i) a.fld1();
      a.inc(edx);
      a.fstp(qword_ptr(ebx));
    });
    trials.Try("pending at start", [](Assembler& a) {
      a.fnstsw(ax);
      a.fnclex();
      a.fld1();
    });
  }
  trials.Report(100);
}

TEST_CASE("SSE alignment") {
  Trials trials;
  for (int32_t offset : {0, 1, 4, 8, 15, 16}) {
    trials.Try("movaps load", [&](Assembler& a) { a.movaps(xmm1, ptr(ebx, offset)); });
    trials.Try("movaps store", [&](Assembler& a) { a.movaps(ptr(esi, offset), xmm1); });
    trials.Try("movdqa esp", [&](Assembler& a) { a.movdqa(xmm7, ptr(esp, offset)); });
    trials.Try("addps", [&](Assembler& a) { a.addps(xmm1, ptr(ebx, offset)); });
    trials.Try("paddd", [&](Assembler& a) { a.paddd(xmm1, ptr(ebp, offset)); });
    trials.Try("movups", [&](Assembler& a) {
      a.movups(xmm1, ptr(ebx, offset));
      a.movups(ptr(esi, offset), xmm1);
    });
    trials.Try("movntdq", [&](Assembler& a) { a.movntdq(ptr(ebx, offset), xmm2); });
    trials.Try("misaligned into nothing",
               [&](Assembler& a) { a.movups(xmm1, ptr(uint64_t{guest::kData - 16}, offset)); });
  }
  trials.Report(250);
}

TEST_CASE("SIMD exceptions") {
  Trials trials;
  trials.seeds = 6;
  for (uint32_t control : {0x1F80u, 0x1F00u, 0x1E80u, 0x1D80u, 0x0F80u, 0x1B80u, 0x1780u, 0x9FC0u}) {
    trials.adjust = [control](Program& p) { SetFx<uint32_t>(p, kMxcsr, control); };
    trials.Try("addss", [](Assembler& a) {
      a.addss(xmm0, xmm1);
      a.inc(eax);
    });
    trials.Try("divps", [](Assembler& a) {
      a.inc(eax);
      a.divps(xmm2, xmm3);
    });
    trials.Try("sqrtsd", [](Assembler& a) { a.sqrtsd(xmm4, ptr(ebx)); });
    trials.Try("cvttsd2si", [](Assembler& a) { a.cvttsd2si(eax, xmm5); });
    trials.Try("ldmxcsr", [](Assembler& a) {
      a.stmxcsr(ptr(ebx));
      a.ldmxcsr(ptr(ebx));
      a.mulpd(xmm1, xmm2);
    });
  }
  trials.TryBytes("ldmxcsr with reserved bits", {0xC7, 0x03, 0x00, 0x00, 0x01, 0x00, 0x0F, 0xAE, 0x13});
  trials.Report(450);
}

TEST_CASE("MMX, SSE2 and saved images") {
  Trials trials;
  trials.Try("mmx", [](Assembler& a) {
    a.movq(mm1, ptr(ebx));
    a.paddw(mm1, ptr(esp, 8));
    a.pmaddwd(mm1, mm2);
    a.movq(ptr(esi), mm1);
    a.movd(ptr(ebp, 4), mm3);
    a.emms();
  });
  trials.Try("mmx then x87", [](Assembler& a) {
    a.pxor(mm0, mm0);
    a.fldz();
    a.fnstsw(ax);
  });
  trials.Try("between MMX and XMM", [](Assembler& a) {
    a.movq2dq(xmm1, mm2);
    a.movdq2q(mm3, xmm4);
    a.cvtpi2ps(xmm5, mm1);
    a.cvttps2pi(mm1, xmm5);
  });
  trials.Try("shuffles", [](Assembler& a) {
    a.pshufd(xmm1, ptr(ebx), 0x1B);
    a.pshuflw(xmm2, xmm1, 0x4E);
    a.shufps(xmm3, xmm2, 0xB1);
    a.punpcklqdq(xmm4, xmm3);
    a.pmovmskb(eax, xmm4);
    a.movmskps(edx, xmm3);
  });
  trials.Try("maskmovq", [](Assembler& a) { a.maskmovq(mm1, mm2); });
  trials.Try("maskmovdqu", [](Assembler& a) { a.maskmovdqu(xmm1, xmm2); });
  trials.Try("string and stores", [](Assembler& a) {
    a.movdqu(xmm0, ptr(edi));
    a.movhpd(ptr(esp, 16), xmm0);
    a.movlps(ptr(esp, 24), xmm0);
    a.movnti(ptr(ebx), edx);
    a.sfence();
    a.movd(eax, xmm0);
  });
  trials.Try("ssse3 and sse4", [](Assembler& a) {
    a.pshufb(xmm1, xmm2);
    a.pmulld(xmm1, xmm3);
    a.ptest(xmm1, xmm2);
    a.crc32(eax, edx);
    a.popcnt(ecx, edx);
  });
  trials.Try("prefetch nowhere", [](Assembler& a) {
    a.prefetcht0(ptr(uint64_t{0x9000'0000}));
    a.prefetchnta(ptr(esp, -64));
  });
  trials.Report(50);
}

namespace {

bool FxsaveHasPointers() {
  alignas(16) std::array<uint8_t, 512> image;
  constexpr unsigned kFip = 8;
  uint32_t fip;
  asm volatile("fld1\n\tfstp %%st(0)\n\tfxsave64 %0" : "=m"(image) : : "st");
  std::memcpy(&fip, &image[kFip], sizeof fip);
  return fip != 0;
}

}  // namespace

TEST_CASE("the last x87 instruction's address is the guest's") {
  // FOP and FDP are recorded only for unmasked exceptions by newer processors; FIP always is. AMD's processors leave it
  // out of FXSAVE and XSAVE images, so there the host's kernel clears it at each switch between processes.
  const bool may_be_lost = !FxsaveHasPointers();
  struct Case {
    Bytes code;
    uint32_t instruction, image;  // offset of the last x87 instruction; where EDI + image holds FIP
  };
  const Case cases[] = {
      {{0x90, 0xD9, 0x43, 0x08, 0x40, 0xD9, 0x37}, 1, 12},                     // fld; inc eax; fnstenv [edi]
      {{0xD9, 0xE8, 0xDC, 0xC0, 0x90, 0xDD, 0x37}, 2, 12},                     // fld1; fadd; nop; fnsave [edi]
      {{0xDB, 0x44, 0x24, 0x04, 0x0F, 0xAE, 0x07}, 0, 8},                      // fild; fxsave [edi]
      {{0xD9, 0xE8, 0xE8, 0, 0, 0, 0, 0x58, 0xCD, 0x40, 0xD9, 0x37}, 0, 12}};  // with a trip to the kernel
  TestMachine machine;
  machine.Write(guest::kLowCode, Assemble(guest::kLowCode, [](Assembler& a) { a.iretd(); }));
  for (const Case& c : cases) {
    for (unsigned cpl : {3u, 0u}) {
      Program program = MakeProgram(c.code, 1, cpl);
      program.fxsave[2] = program.fxsave[3] = 0;
      program.gpr[kEdi] = guest::kData + 0x40;
      Load(machine, program);
      machine.SetGate(0x40, guest::kLowCode, 3);
      const Outcome out = machine.Run();
      uint32_t fip;
      std::memcpy(&fip, &out.data[0x40 + c.image], sizeof fip);
      INFO(Describe(program));
      CHECK(out.vector == 3u);
      CHECK((fip == program.Start() + c.instruction || (may_be_lost && fip == 0)));
    }
  }
}

TEST_CASE("LDMXCSR of a bit that the host has and no model offers is #GP") {
  Trials trials;
  trials.adjust = [](Program& p) {
    constexpr uint32_t kMisalignedExceptionMask = 1u << 17;
    SetFx<uint32_t>(p, kMxcsr, 0x1F80);
    p.gpr[kEax] = 0x1F80 | kMisalignedExceptionMask;
  };
  trials.Try(
      "ldmxcsr",
      [](Assembler& a) {
        a.mov(dword_ptr(ebx), eax);
        a.ldmxcsr(dword_ptr(ebx));
        a.movaps(xmm0, xmmword_ptr(ebx, 4));
      },
      Reference::kInterpreter);
  trials.Report(6);
}

TEST_CASE("saved x87 images name the operand's own segment, by selector and offset") {
  TestMachine machine;
  for (const auto& [segment, selector, base] :
       {std::tuple{fs, guest::kFs, guest::kFsBase}, std::tuple{gs, guest::kGs, guest::kGsBase}}) {
    constexpr uint32_t kOffset = 0x20;
    Mem operand = dword_ptr(uint64_t{kOffset});
    operand.setSegment(segment);
    const Program program = MakeProgram(Assemble(guest::kCode + Program().offset,
                                                 [&](Assembler& a) {
                                                   a.fninit();
                                                   a.fld(operand);
                                                   a.hlt();
                                                 }),
                                        1, 0);
    const Outcome outcome = RunOn(machine, program);
    uint32_t fdp = 0, fds = 0;
    std::memcpy(&fdp, &outcome.fxsave[16], sizeof fdp);
    std::memcpy(&fds, &outcome.fxsave[20], sizeof fds);
    INFO(std::hex << selector << ", base " << base);
    // A host that was switched away from meanwhile may have lost the pointers.
    if (fdp == 0) continue;
    CHECK(fdp == kOffset);
    CHECK((fds & 0xFFFF) == selector);
  }
}
