// PUSH, POP, LEAVE, ENTER and ESP in every role that it can have.
#include <catch2/catch.hpp>

#include "tests/instructions/trials.h"

using namespace ring3;
using namespace asmjit::x86;

TEST_CASE("push and pop of registers, immediates and memory") {
  Trials trials;
  for (const Gp& r : {eax, ecx, edx, ebx, esp, ebp, esi, edi}) {
    trials.Try("push r", [&](Assembler& a) { a.push(r); });
    trials.Try("pop r", [&](Assembler& a) { a.pop(r); });
    trials.Try("push r16", [&](Assembler& a) { a.push(r.r16()); });
    trials.Try("pop r16", [&](Assembler& a) { a.pop(r.r16()); });
    trials.Try("push and pop", [&](Assembler& a) {
      a.push(r);
      a.push(eax);
      a.pop(r);
      a.pop(edx);
    });
  }
  for (int64_t imm : {0ll, 1ll, -1ll, 127ll, -128ll, 0x1234ll, -0x1234ll, 0x7FFFFFFFll, -0x80000000ll}) {
    trials.Try("push imm", [&](Assembler& a) { a.push(imm); });
  }
  trials.TryBytes("push imm8 16-bit", {0x66, 0x6A, 0xFF});
  trials.TryBytes("push imm16", {0x66, 0x68, 0x00, 0x80});
  trials.TryBytes("push imm16", {0x66, 0x68, 0xFF, 0x7F});
  trials.TryBytes("push imm32", {0x68, 0x78, 0x56, 0x34, 0xF2});
  trials.Report(300);
}

TEST_CASE("push and pop with ESP in the address") {
  Trials trials;
  const std::vector<Mem> operands = {
      ptr(esp), ptr(esp, 4), ptr(esp, -4),     ptr(esp, 0x100), ptr(esp, ecx, 2), ptr(esp, ecx, 1, -8),
      ptr(ebp), ptr(ebp, 8), ptr(ebp, ecx, 2), ptr(ebx),        ptr(ebx, ecx, 3), ptr(uint64_t{guest::kData})};
  trials.adjust = [](Program& p) { p.gpr[kEcx] &= 31; };
  for (Mem mem : operands) {
    for (unsigned bytes : {4u, 2u}) {
      mem.setSize(bytes);
      trials.Try("push m", [&](Assembler& a) { a.push(mem); });
      trials.Try("pop m", [&](Assembler& a) { a.pop(mem); });
      trials.Try("pop m twice", [&](Assembler& a) {
        a.pop(mem);
        a.pop(mem);
        a.push(mem);
      });
    }
  }
  trials.Report(400);
}

TEST_CASE("pop sp with a carry out of the low half") {
  Trials trials;
  trials.adjust = [](Program& p) { p.gpr[kEsp] = guest::kStack + 0xFFE; };
  trials.TryBytes("pop sp", {0x66, 0x5C});
  trials.adjust = [](Program& p) { p.gpr[kEsp] = guest::kStack + 0xFFF; };
  trials.TryBytes("pop sp", {0x66, 0x5C});
  trials.TryBytes("push eax across a page", {0x50, 0x50});
  trials.TryBytes("pop eax across a page", {0x58});
  trials.Report(18);
}

TEST_CASE("ESP and EBP as operands of ordinary instructions") {
  Trials trials;
  for (const Gp& r : {esp, ebp}) {
    for (const Gp& other : {eax, ecx, esp, ebp, edi}) {
      trials.Try("mov", [&](Assembler& a) { a.mov(r, other); });
      trials.Try("mov back", [&](Assembler& a) { a.mov(other, r); });
      trials.Try("add", [&](Assembler& a) { a.add(r, other); });
      trials.Try("adc", [&](Assembler& a) { a.adc(other, r); });
      trials.Try("sub", [&](Assembler& a) { a.sub(r, other); });
      trials.Try("xor", [&](Assembler& a) { a.xor_(r, other); });
      trials.Try("xchg", [&](Assembler& a) { a.xchg(r, other); });
      trials.Try("cmp", [&](Assembler& a) { a.cmp(r, other); });
      trials.Try("test", [&](Assembler& a) { a.test(other, r); });
      trials.Try("cmovz", [&](Assembler& a) { a.cmovz(r, other); });
      trials.Try("cmovnz", [&](Assembler& a) { a.cmovnz(r, other); });
      trials.Try("cmovs back", [&](Assembler& a) { a.cmovs(other, r); });
      trials.Try("imul", [&](Assembler& a) { a.imul(r, other); });
      trials.Try("imul3", [&](Assembler& a) { a.imul(r, other, 17); });
      trials.Try("xadd", [&](Assembler& a) { a.xadd(r, other); });
      trials.Try("cmpxchg", [&](Assembler& a) { a.cmpxchg(r, other); });
      trials.Try("cmpxchg equal", [&](Assembler& a) {
        a.mov(eax, r);
        a.cmpxchg(r, other);
      });
      trials.Try("bsf", [&](Assembler& a) { a.bsf(r, other); });
      trials.Try("bsr", [&](Assembler& a) { a.bsr(r, other); });
      trials.Try("bsf of zero", [&](Assembler& a) {
        a.xor_(edx, edx);
        a.bsf(r, edx);
        a.bsr(r, edx);
      });
      trials.Try("bts", [&](Assembler& a) { a.bts(r, other); });
      trials.Try("movzx", [&](Assembler& a) { a.movzx(r, other.r16()); });
      trials.Try("movsx", [&](Assembler& a) { a.movsx(r, al); });
      trials.Try("movzx high", [&](Assembler& a) { a.movzx(r, dh); });
      trials.Try("lea", [&](Assembler& a) { a.lea(r, ptr(other, -20)); });
      trials.Try("lea sum", [&](Assembler& a) { a.lea(other, ptr(r, ecx, 3, 0x12345)); });
    }
    for (const char* when : {"", "then use"}) {
      const auto use = [&](Assembler& a) {
        if (!*when) return;
        a.mov(edx, ptr(r));
        a.mov(ptr(r, -4), edx);
      };
      const auto one = [&](const char* name, const std::function<void(Assembler&)>& write) {
        trials.Try(std::string(name) + when, [&](Assembler& a) {
          write(a);
          use(a);
        });
      };
      one("inc", [&](Assembler& a) { a.inc(r); });
      one("dec", [&](Assembler& a) { a.dec(r); });
      one("not", [&](Assembler& a) { a.not_(r); });
      one("neg", [&](Assembler& a) { a.neg(r); });
      one("bswap", [&](Assembler& a) { a.bswap(r); });
      one("and", [&](Assembler& a) { a.and_(r, -16); });
      one("add imm", [&](Assembler& a) { a.add(r, 12); });
      one("sub imm", [&](Assembler& a) { a.sub(r, 0x80); });
      one("mov imm", [&](Assembler& a) { a.mov(r, guest::kData + 64); });
      one("shl", [&](Assembler& a) { a.shl(r, 1); });
      one("shl cl", [&](Assembler& a) { a.shl(r, cl); });
      one("shl by cl = 0", [&](Assembler& a) {
        a.mov(cl, 0);
        a.shl(r, cl);
        a.sar(r, cl);
        a.rol(r, cl);
        a.rcr(r, cl);
        a.shld(r, eax, cl);
        a.shrd(r, eax, cl);
      });
      one("rol", [&](Assembler& a) { a.rol(r, 8); });
      one("shld", [&](Assembler& a) { a.shld(r, eax, 4); });
      one("inc16", [&](Assembler& a) { a.inc(r.r16()); });
      one("add16", [&](Assembler& a) { a.add(r.r16(), 4); });
      one("mov16", [&](Assembler& a) { a.mov(r.r16(), 0x1800); });
      one("xchg16", [&](Assembler& a) { a.xchg(r.r16(), dx); });
      one("cmov16", [&](Assembler& a) { a.cmovns(r.r16(), dx); });
      one("movd", [&](Assembler& a) { a.movd(r, xmm2); });
      one("movd mm", [&](Assembler& a) { a.movd(r, mm2); });
      one("pmovmskb", [&](Assembler& a) { a.pmovmskb(r, xmm2); });
      one("cvttss2si", [&](Assembler& a) { a.cvttss2si(r, xmm2); });
      one("pextrw", [&](Assembler& a) { a.pextrw(r, xmm2, 3); });
      one("mul", [&](Assembler& a) { a.mul(r); });
      one("popa", [&](Assembler& a) { a.popad(); });
    }
    trials.Try("movd xmm", [&](Assembler& a) { a.movd(xmm1, r); });
    trials.Try("cvtsi2sd", [&](Assembler& a) { a.cvtsi2sd(xmm1, r); });
    trials.Try("pinsrw", [&](Assembler& a) { a.pinsrw(xmm1, r, 5); });
    trials.Try("movnti", [&](Assembler& a) { a.movnti(ptr(ebx), r); });
    trials.Try("div", [&](Assembler& a) {
      a.xor_(edx, edx);
      a.div(r);
    });
  }
  trials.Report(2000);
}

TEST_CASE("frames: enter, leave, pusha, popa") {
  Trials trials;
  trials.Try("prologue", [](Assembler& a) {
    a.push(ebp);
    a.mov(ebp, esp);
    a.sub(esp, 0x40);
    a.mov(ptr(ebp, -8), eax);
    a.mov(edx, ptr(ebp, 4));
    a.leave();
  });
  trials.TryBytes("leave16", {0x66, 0xC9});
  for (uint8_t level : {0, 1, 2, 3, 31}) trials.TryBytes("enter", {0xC8, 0x20, 0x00, level, 0xC9});
  trials.TryBytes("enter16", {0x66, 0xC8, 0x20, 0x00, 0x01});
  trials.Try("pusha", [](Assembler& a) {
    a.pushad();
    a.xor_(eax, eax);
    a.popad();
  });
  trials.TryBytes("pushaw", {0x66, 0x60});
  trials.TryBytes("popaw", {0x66, 0x61});
  trials.Try("pushf", [](Assembler& a) {
    a.pushfd();
    a.pop(eax);
    a.and_(eax, 0xCD5);  // IF's value and privilege bits are tested elsewhere
  });
  trials.Report(50);
}

TEST_CASE("a fault leaves ESP and memory as they were") {
  Trials trials;
  constexpr uint32_t kBelow = guest::kStack, kAbove = guest::kStack + guest::kStackBytes;
  const auto with_esp = [&](uint32_t value) { trials.adjust = [value](Program& p) { p.gpr[kEsp] = value; }; };
  for (uint32_t at : {kBelow, kBelow + 1, kBelow + 2, kBelow + 3}) {
    with_esp(at);
    trials.Try("push", [](Assembler& a) { a.push(eax); });
    trials.TryBytes("push16", {0x66, 0x50});
    trials.Try("push m", [](Assembler& a) { a.push(dword_ptr(ebx)); });
    trials.Try("call", [](Assembler& a) { a.call(uint64_t{guest::kCode}); });
    trials.Try("call r", [](Assembler& a) {
      a.mov(edx, guest::kCode);
      a.call(edx);
    });
    trials.Try("pushf", [](Assembler& a) { a.pushfd(); });
    trials.Try("pusha", [](Assembler& a) { a.pushad(); });
  }
  for (uint32_t at : {kAbove, kAbove - 1, kAbove - 3}) {
    with_esp(at);
    trials.Try("pop", [](Assembler& a) { a.pop(eax); });
    trials.Try("pop esp", [](Assembler& a) { a.pop(esp); });
    trials.Try("pop ebp", [](Assembler& a) { a.pop(ebp); });
    trials.Try("pop m", [](Assembler& a) { a.pop(dword_ptr(ebx)); });
    trials.Try("ret", [](Assembler& a) { a.ret(); });
    trials.Try("leave", [&](Assembler& a) {
      a.mov(ebp, esp);
      a.leave();
    });
  }
  with_esp(kAbove - 8);
  trials.Try("pop to nowhere", [](Assembler& a) { a.pop(dword_ptr(esp, 64)); });
  trials.Try("push from nowhere", [](Assembler& a) { a.push(dword_ptr(esp, 64)); });
  trials.Report(250);
}

TEST_CASE("whatever stands between moves of the stack pointer sees where it is") {
  // Each stands behind two pushes, and before what undoes them.
  const std::vector<std::pair<const char*, std::function<void(Assembler&)>>> between = {
      {"a load above", [](Assembler& a) { a.mov(ecx, ptr(esp, 8)); }},
      {"a store at the top", [](Assembler& a) { a.mov(ptr(esp), ecx); }},
      {"an index", [](Assembler& a) { a.mov(ecx, ptr(esp, edx, 0, -0x1000)); }},
      {"sub", [](Assembler& a) { a.sub(esp, 0x18); }},
      {"add beyond", [](Assembler& a) { a.add(esp, 0x20); }},
      {"sub and its flags",
       [](Assembler& a) {
         a.sub(esp, 0x7F);
         a.pushfd();
         a.pop(ecx);
       }},
      {"far away and back",
       [](Assembler& a) {
         a.sub(esp, 0x12345678);
         a.add(esp, 0x12345678);
       }},
      {"further with each",
       [](Assembler& a) {
         for (int i = 0; i < 20; ++i) a.lea(esp, ptr(esp, -0x7FF));
         a.lea(esp, ptr(esp, 20 * 0x7FF));
       }},
      {"lea of it", [](Assembler& a) { a.lea(ecx, ptr(esp, 4)); }},
      {"lea of itself", [](Assembler& a) { a.lea(esp, ptr(esp, 4)); }},
      {"copy", [](Assembler& a) { a.mov(ecx, esp); }},
      {"frame",
       [](Assembler& a) {
         a.mov(ebp, esp);
         a.push(edi);
         a.leave();
       }},
      {"back to a frame",
       [](Assembler& a) {
         a.mov(ebp, esp);
         a.push(edi);
         a.mov(esp, ebp);
       }},
      {"push of itself", [](Assembler& a) { a.push(esp); }},
      {"pop into itself", [](Assembler& a) { a.pop(esp); }},
      {"pop of the frame pointer", [](Assembler& a) { a.pop(ebp); }},
      {"push of memory", [](Assembler& a) { a.push(dword_ptr(esp, 4)); }},
      {"pop into memory", [](Assembler& a) { a.pop(dword_ptr(esp, 4)); }},
      {"exchange", [](Assembler& a) { a.xchg(ptr(esp), ecx); }},
      {"alignment", [](Assembler& a) { a.and_(esp, -16); }},
      {"a high byte", [](Assembler& a) { a.mov(ptr(esp, 1), ch); }},
      {"a comparison", [](Assembler& a) { a.cmp(ecx, ptr(esp)); }},
      {"x87", [](Assembler& a) { a.fild(dword_ptr(esp)); }},
      {"SSE", [](Assembler& a) { a.movups(xmm1, ptr(esp)); }},
      {"a segment register",  // whose selector is another here than there
       [](Assembler& a) {
         a.mov(ptr(esp, 2), ds);
         a.mov(word_ptr(esp, 2), 0);
       }},
      {"a pushed segment register",
       [](Assembler& a) {
         a.push(ds);
         a.mov(dword_ptr(esp), 0);
       }},
      {"a string", [](Assembler& a) { a.stosd(); }},
      {"a branch",
       [](Assembler& a) {
         asmjit::Label label = a.newLabel();
         a.jz(label);
         a.push(edi);
         a.bind(label);
       }},
      {"a call and its return",
       [](Assembler& a) {
         asmjit::Label function = a.newLabel(), done = a.newLabel();
         a.call(function);
         a.jmp(done);
         a.bind(function);
         a.push(edi);
         a.pop(ecx);
         a.ret(4);
         a.bind(done);
       }},
      {"a call for EIP",
       [](Assembler& a) {
         asmjit::Label next = a.newLabel();
         a.call(next);
         a.bind(next);
         a.pop(ecx);
       }},
      {"an indirect call",
       [](Assembler& a) {
         asmjit::Label function = a.newLabel(), done = a.newLabel();
         a.lea(ecx, ptr(function));
         a.call(ecx);
         a.jmp(done);
         a.bind(function);
         a.ret();
         a.bind(done);
       }},
      {"an access nobody may make", [](Assembler& a) { a.mov(ecx, ptr(uint64_t{0x0000'1000})); }},
      {"a division by zero",
       [](Assembler& a) {
         a.mov(ecx, 0);
         a.div(ecx);
       }},
      {"an undefined instruction", [](Assembler& a) { a.ud2(); }},
  };
  Trials trials;
  for (const auto& [name, write] : between) {
    trials.Try(name, [&](Assembler& a) {
      a.push(eax);
      a.push(ebx);
      write(a);
      a.pop(edx);
      a.pop(esi);
    });
  }
  trials.Report(static_cast<unsigned>(between.size()));
}
