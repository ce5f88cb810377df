// Whatever instruction stores into code, the code is new afterwards.
#include <catch2/catch.hpp>
#include <optional>

#include "tests/translator/every_machine.h"

using namespace ring3;
using namespace asmjit;
using namespace asmjit::x86;

namespace {

constexpr uint32_t kFunctionOffset = 0x1400, kFunction = guest::kCode + kFunctionOffset;

struct Store {
  const char* name;
  /// EDI is the address of the immediate of `mov eax, 11223344h; ret`; EBP must stay.
  std::function<void(Assembler&)> write;
};

/// Makes ESP point `bytes` behind the immediate's first byte for `body`.
std::function<void(Assembler&)> WithStack(int bytes, const std::function<void(Assembler&)>& body) {
  return [=](Assembler& a) {
    a.mov(esi, esp);
    a.lea(esp, ptr(edi, bytes));
    body(a);
    a.mov(esp, esi);
  };
}

const Store kIntoImmediate[] = {
    {"mov r8", [](Assembler& a) { a.mov(byte_ptr(edi), cl); }},
    {"mov rh", [](Assembler& a) { a.mov(byte_ptr(edi, 1), ch); }},
    {"mov r16", [](Assembler& a) { a.mov(word_ptr(edi, 1), cx); }},
    {"mov imm", [](Assembler& a) { a.mov(dword_ptr(edi), 0x5A5A5A5A); }},
    {"mov moffs", [](Assembler& a) { a.mov(ptr(uint64_t{kFunction + 1}), eax); }},
    {"mov sreg", [](Assembler& a) { a.mov(word_ptr(edi), ds); }},
    {"add", [](Assembler& a) { a.add(dword_ptr(edi), ecx); }},
    {"lock add", [](Assembler& a) { a.lock().add(dword_ptr(edi), 5); }},
    {"adc r8", [](Assembler& a) { a.adc(byte_ptr(edi, 3), 5); }},
    {"inc", [](Assembler& a) { a.inc(dword_ptr(edi)); }},
    {"not", [](Assembler& a) { a.not_(dword_ptr(edi)); }},
    {"neg", [](Assembler& a) { a.neg(word_ptr(edi)); }},
    {"xchg", [](Assembler& a) { a.xchg(ptr(edi), ecx); }},
    {"xadd", [](Assembler& a) { a.xadd(ptr(edi), ecx); }},
    {"cmpxchg that stores",
     [](Assembler& a) {
       a.mov(eax, ebp);
       a.cmpxchg(ptr(edi), ecx);
     }},
    {"bts", [](Assembler& a) { a.bts(dword_ptr(edi), 0); }},
    {"btc by register",
     [](Assembler& a) {
       a.and_(ecx, 31);
       a.btc(dword_ptr(edi), ecx);
     }},
    {"shl", [](Assembler& a) { a.shl(dword_ptr(edi), 3); }},
    {"shld", [](Assembler& a) { a.shld(dword_ptr(edi), ecx, 7); }},
    {"rcr", [](Assembler& a) { a.rcr(byte_ptr(edi), 1); }},
    {"setcc", [](Assembler& a) { a.setnz(byte_ptr(edi, 2)); }},
    {"pop",
     [](Assembler& a) {
       a.push(0x77777777);
       a.pop(dword_ptr(edi));
     }},
    {"push", WithStack(4, [](Assembler& a) { a.push(0x66666666); })},
    {"push r16", WithStack(3, [](Assembler& a) { a.push(cx); })},
    {"push sreg", WithStack(4, [](Assembler& a) { a.push(ds); })},
    {"pushf", WithStack(4, [](Assembler& a) { a.pushfd(); })},
    {"call", WithStack(4,
                       [](Assembler& a) {
                         Label next = a.newLabel();
                         a.call(next);
                         a.bind(next);
                       })},
    {"call register", WithStack(4,
                                [](Assembler& a) {
                                  Label next = a.newLabel();
                                  a.lea(edx, ptr(next));
                                  a.call(edx);
                                  a.bind(next);
                                })},
    {"enter", WithStack(4,
                        [](Assembler& a) {
                          a.mov(edx, ebp);
                          a.mov(ebp, 0x5A5A5A5A);
                          a.enter(0, 0);
                          a.mov(ebp, edx);
                        })},
    {"stosb", [](Assembler& a) { a.stosb(); }},
    {"rep stosd",
     [](Assembler& a) {
       a.mov(ecx, 1);
       a.rep().stosd();
     }},
    {"rep movsb",
     [](Assembler& a) {
       a.mov(ecx, 4);
       a.mov(esi, guest::kData);
       a.rep().movsb();
     }},
    {"backwards",
     [](Assembler& a) {
       a.mov(ecx, 2);
       a.mov(esi, guest::kData + 2);
       a.std();
       a.add(edi, 2);
       a.rep().movsw();
       a.cld();
     }},
    {"fst m32",
     [](Assembler& a) {
       a.fldpi();
       a.fstp(dword_ptr(edi));
     }},
    {"fistp m16",
     [](Assembler& a) {
       a.fldpi();
       a.fistp(word_ptr(edi));
     }},
    {"fnstcw", [](Assembler& a) { a.fnstcw(word_ptr(edi)); }},
    {"fnstsw", [](Assembler& a) { a.fnstsw(word_ptr(edi)); }},
    {"stmxcsr", [](Assembler& a) { a.stmxcsr(dword_ptr(edi)); }},
    {"movd",
     [](Assembler& a) {
       a.movd(xmm1, ecx);
       a.movd(dword_ptr(edi), xmm1);
     }},
    {"movss", [](Assembler& a) { a.movss(dword_ptr(edi), xmm7); }},
    {"movnti", [](Assembler& a) { a.movnti(ptr(edi), ecx); }},
    {"pextrd", [](Assembler& a) { a.pextrd(dword_ptr(edi), xmm7, 1); }},
    {"sldt", [](Assembler& a) { a.sldt(word_ptr(edi)); }},
    {"smsw", [](Assembler& a) { a.smsw(word_ptr(edi)); }},
};

/// What a wider store writes: `mov eax, 55667788h; ret` and what follows it.
const Bytes kNewFunction = {0xB8, 0x88, 0x77, 0x66, 0x55, 0xC3, 0x00, 0x80,
                            0xCC, 0xCC, 0xCC, 0xCC, 0xCC, 0xCC, 0xCC, 0xCC};
constexpr uint32_t kLow = 0x6677'88B8, kHigh = 0x8000'C355;

const Store kWholeFunction[] = {
    {"movdqu", [](Assembler& a) { a.movdqu(ptr(edi, -1), xmm0); }},
    {"movaps", [](Assembler& a) { a.movaps(ptr(edi, -1), xmm0); }},
    {"movntdq", [](Assembler& a) { a.movntdq(ptr(edi, -1), xmm0); }},
    {"movlps", [](Assembler& a) { a.movlps(ptr(edi, -1), xmm0); }},
    {"maskmovdqu",
     [](Assembler& a) {
       a.pcmpeqd(xmm1, xmm1);
       a.dec(edi);
       a.maskmovdqu(xmm0, xmm1, ptr(edi));
     }},
    {"movq mm",
     [](Assembler& a) {
       a.movq(mm0, qword_ptr(uint64_t{guest::kData}));
       a.movq(qword_ptr(edi, -1), mm0);
       a.emms();
     }},
    {"fistp m64",
     [](Assembler& a) {
       a.fild(qword_ptr(uint64_t{guest::kData}));
       a.fistp(qword_ptr(edi, -1));
     }},
    {"fstp m80",
     [](Assembler& a) {
       a.fld(tword_ptr(uint64_t{guest::kData}));
       a.fstp(tword_ptr(edi, -1));
     }},
    {"cmpxchg8b",
     [](Assembler& a) {
       a.mov(eax, ptr(edi, -1));
       a.mov(edx, ptr(edi, 3));
       a.mov(ebx, kLow);
       a.mov(ecx, kHigh);
       a.cmpxchg8b(qword_ptr(edi, -1));
     }},
    {"fxsave", [](Assembler& a) { a.fxsave(ptr(edi, -1 - 160)); }},
    {"pusha", WithStack(31,
                        [](Assembler& a) {
                          a.mov(edx, esi);
                          a.mov(edi, kLow);
                          a.mov(esi, kHigh);
                          a.pushad();
                          a.mov(esi, edx);
                        })},
};

/// Calls the function, stores, calls it again: EBP has the first result, EAX the second.
Bytes Program(const Store& store) {
  return Assemble(guest::kCode, [&](Assembler& a) {
    Label function = a.newLabel();
    a.fninit();
    a.call(function);
    a.mov(ebp, eax);
    a.mov(eax, 0x99AABBCC);
    a.mov(ecx, 0xA5B6C7D8);
    a.lea(edi, ptr(function, 1));
    a.movdqu(xmm0, ptr(uint64_t{guest::kData}));
    store.write(a);
    a.call(function);
    a.int3();
    while (a.offset() < kFunctionOffset) a.int3();
    a.bind(function);
    a.mov(eax, 0x11223344);
    a.ret();
    while (a.offset() < guest::kCodeBytes) a.nop();
  });
}

void RunStores(std::span<const Store> stores, std::optional<uint32_t> expected) {
  std::vector<Scenario> scenarios;
  for (const Store& store : stores) {
    for (unsigned cpl : {3u, 0u}) {
      scenarios.push_back({store.name,
                           [&store, cpl](TestMachine& m) {
                             LoadChangingCode(m, cpl, Program(store));
                             m.Write(guest::kDataFrames, kNewFunction);
                           },
                           [expected](TestMachine&, const Outcome& o) {
                             CHECK(o.vector == 3u);
                             CHECK(o.gpr[kEbp] == 0x1122'3344);
                             CHECK(o.gpr[kEax] != 0x1122'3344);
                             if (expected) CHECK(o.gpr[kEax] == *expected);
                           }});
    }
  }
  RunEverywhere(scenarios);
}

}  // namespace

TEST_CASE("each instruction that stores into an immediate changes it") { RunStores(kIntoImmediate, std::nullopt); }

TEST_CASE("each instruction that stores a whole function puts it there") { RunStores(kWholeFunction, 0x5566'7788); }
