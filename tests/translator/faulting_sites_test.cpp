// Programs that keep touching new pages, or keep dividing by zero, until their instructions are demoted.
#include <catch2/catch.hpp>

#include "tests/translator/every_machine.h"

using namespace ring3;
using namespace asmjit;
using namespace asmjit::x86;

namespace {

constexpr uint32_t kDemand = 0x5000'0000, kPages = 300;

/// A gate at CPL 0 for an exception, whose handler returns.
void SetHandler(TestMachine& machine, Vector vector, const std::function<void(Assembler&)>& handler) {
  machine.Write(guest::kLowCode, Assemble(guest::kLowCode, [&](Assembler& a) {
                  handler(a);
                  a.iretd();
                }));
  machine.SetGate(static_cast<uint8_t>(vector), guest::kLowCode, 3);
}

void Start(TestMachine& machine, const std::function<void(Assembler&)>& write) {
  machine.Reset(3);
  machine.LoadCode(Assemble(guest::kCode, write), 0);
  for (uint32_t gpr : {kEax, kEcx, kEdx, kEbx, kEbp, kEdi}) machine.State().gpr[gpr] = 0;
  machine.State().gpr[kEsi] = kDemand;
  machine.Write(guest::kStackFrames, Bytes(guest::kStackBytes));
}

/// A program that touches pages one after the other, `rounds` times over, each of which its kernel maps when it faults,
/// taking another away.
Scenario DemandZero(const std::function<void(Assembler&)>& touch, uint32_t rounds = 1) {
  return {"demand-zero", [touch, rounds](TestMachine& machine) {
            Start(machine, [&](Assembler& a) {
              Label again = a.newLabel(), top = a.newLabel();
              a.push(rounds);
              a.bind(again);
              a.mov(esi, kDemand);
              a.mov(ecx, kPages);
              a.bind(top);
              touch(a);
              a.add(esi, kPageSize);
              a.dec(ecx);
              a.jnz(top);
              a.dec(dword_ptr(esp));
              a.jnz(again);
              a.int3();
            });
            for (uint32_t i = 0; i < kPages; ++i) {
              machine.Set<uint32_t>(guest::kScratchFrames + i * kPageSize, 0);
              machine.Unmap(kDemand + i * kPageSize);
            }
            const uint32_t table = machine.EntryAddress(kDemand);
            SetHandler(machine, Vector::kPageFault, [&](Assembler& a) {
              a.push(eax);
              a.push(edx);
              a.mov(eax, cr2);
              a.sub(eax, kDemand);
              a.shr(eax, 12);
              a.mov(edx, eax);
              a.shl(edx, 12);
              a.add(edx, guest::kScratchFrames + kOpenPage);
              a.mov(ptr(table, eax, 2), edx);
              a.add(eax, kPages / 2);
              a.mov(edx, eax);
              a.sub(edx, kPages);
              a.cmovnc(eax, edx);
              a.and_(dword_ptr(table, eax, 2), ~guest::kPresent);
              a.shl(eax, 12);
              a.invlpg(ptr(eax, kDemand));
              a.pop(edx);
              a.pop(eax);
              a.add(esp, 4);
            });
          }};
}

uint64_t HostFaults(const Scenario& scenario) {
  TestMachine machine;
  scenario.prepare(machine);
  machine.Run();
  return machine.Signals().faults;
}

/// Divides by zero, or not, as often as there are rounds; the handler goes on behind the division.
Scenario Divisions(uint32_t faulting, uint32_t others) {
  return {"divisions", [=](TestMachine& machine) {
            Start(machine, [&](Assembler& a) {
              Label top = a.newLabel(), divide = a.newLabel();
              a.mov(ebp, faulting + others);
              a.bind(top);
              a.mov(eax, ebp);
              a.xor_(edx, edx);
              a.xor_(ecx, ecx);
              a.cmp(ebp, others);
              a.ja(divide);
              a.mov(ecx, 3);
              a.bind(divide);
              a.div(ecx);
              a.adc(ebx, eax);
              a.add(edi, edx);
              a.dec(ebp);
              a.jnz(top);
              a.int3();
            });
            SetHandler(machine, Vector::kDivideError, [](Assembler& a) { a.add(dword_ptr(esp), 2); });
          }};
}

}  // namespace

/// A page's first instruction faults; the others find it mapped by the guest, but in no window yet.
void TouchInManyWays(Assembler& a) {
  a.stc();
  a.mov(ptr(esi, 8), cx);
  a.adc(edx, ptr(esi, 7));
  a.mov(byte_ptr(esi, 12), ch);
  a.mov(ah, byte_ptr(esi, 8));
  a.inc(dword_ptr(esi, 0x20));
  a.lock().xadd(ptr(esi, 0x24), edi);
  a.shl(dword_ptr(esi, ecx, 2), 3);
  a.sbb(ptr(esi, 0xFF0), eax);
  a.cmpxchg8b(ptr(esi, 0x40));
  a.movd(xmm0, esi);
  a.movdqu(ptr(esi, 0x51), xmm0);
  a.movaps(ptr(esi, 0x80), xmm0);
  a.paddd(xmm0, ptr(esi, 0x80));
  a.movd(ptr(esi, 0x90), xmm0);
  a.bts(dword_ptr(esi, 0x30), ecx);
  a.bts(dword_ptr(esi, 0x34), 7);
  a.fld1();
  a.fstp(qword_ptr(esi, 0x38));
  a.movzx(ebp, byte_ptr(esi, 0x90));
  a.add(edi, ebp);
  a.mov(ebx, ptr(esi, kPageSize - 4));
  a.mov(ebx, ptr(esi, kPageSize - 2));  // in two pages
  a.cmp(ebx, ptr(esi));
  a.adc(edi, 0);
}

TEST_CASE("faulting sites: a program that touches new pages takes no host signal for each") {
  const auto store = [](Assembler& a) { a.mov(ptr(esi, 8), ecx); };
  const auto modify = [](Assembler& a) { a.inc(dword_ptr(esi, 8)); };
  const auto across = [](Assembler& a) {
    a.mov(eax, ptr(esi, kPageSize - 2));
    a.add(edx, eax);
  };
  const auto constant = [](Assembler& a) { a.mov(byte_ptr(esi, 5), 1); };
  const auto several = [](Assembler& a) {
    a.mov(ptr(esi, 8), ecx);
    a.add(ptr(esi, 12), ecx);
    a.mov(ptr(esi, 16), ecx);
  };
  const Scenario scenarios[] = {DemandZero(store),   DemandZero(constant), DemandZero(modify),
                                DemandZero(several), DemandZero(across),   DemandZero(TouchInManyWays)};
  RunEverywhere(scenarios);
  for (unsigned i = 0; i < 4; ++i) {
    INFO("scenario " << i);
    CHECK(HostFaults(scenarios[i]) < kPages / 4);
  }
}

/// With the stack in a new page, all that works on it, and through GS as well as DS. EDX is the program's own ESP.
void StackInManyWays(Assembler& a) {
  Label start = a.newLabel(), function = a.newLabel(), jumped = a.newLabel();
  a.jmp(start);
  a.bind(function);
  a.push(ebp);
  a.mov(ebp, esp);
  a.push(ebx);
  a.adc(edi, ptr(ebp, 8));
  a.leave();
  a.ret(4);
  a.bind(start);
  a.mov(edx, esp);
  a.lea(esp, ptr(esi, 0x800));
  a.stc();
  a.push(ecx);
  a.push(0x1234'5678);
  a.push(esp);
  a.push(dword_ptr(esp, 8));
  a.push(dword_ptr(esi, 0x7F8));
  a.call(function);
  a.lea(eax, ptr(function));
  a.call(eax);
  a.mov(ptr(esi, 0x10), eax);
  a.push(ecx);
  a.call(dword_ptr(esi, 0x10));
  a.lea(eax, ptr(jumped));
  a.mov(ptr(esi, 0x14), eax);
  a.jmp(dword_ptr(esi, 0x14));
  a.int3();
  a.bind(jumped);
  a.pop(dword_ptr(esi, 0x18));
  a.pop(ebp);
  a.push(ebp);
  a.push(ebp);
  a.pop(dword_ptr(esp, 4));
  Mem through_gs = dword_ptr(esi, 0x1C - static_cast<int32_t>(guest::kGsBase));
  through_gs.setSegment(gs);
  a.adc(through_gs, ebp);
  a.mov(eax, through_gs);
  a.adc(edi, eax);
  a.mov(esp, edx);
}

/// The stack, or what is popped to, is the first that meets the new page; what is read for it is elsewhere.
void PushMemory(Assembler& a) {
  a.mov(edx, esp);
  a.mov(dword_ptr(guest::kData + 0x20), ecx);
  a.lea(esp, ptr(esi, 0x800));
  a.push(dword_ptr(guest::kData + 0x20));
  a.mov(esp, edx);
  a.add(edi, ptr(esi, 0x7FC));
}

void PopMemory(Assembler& a) {
  a.push(ecx);
  a.pop(dword_ptr(esi, 0x40));
  a.add(edi, ptr(esi, 0x40));
}

void CallOnNewStack(Assembler& a, bool through_memory) {
  Label function = a.newLabel(), start = a.newLabel();
  a.jmp(start);
  a.bind(function);
  a.add(edi, ptr(esp));
  a.ret();
  a.bind(start);
  a.mov(edx, esp);
  a.lea(eax, ptr(function));
  a.mov(dword_ptr(guest::kData + 0x20), eax);
  a.lea(esp, ptr(esi, 0x800));
  if (through_memory) {
    a.call(dword_ptr(guest::kData + 0x20));
  } else {
    a.call(eax);
  }
  a.mov(esp, edx);
}

TEST_CASE("faulting sites: a program whose stack and return addresses lie in new pages takes no host signal for each") {
  const Scenario scenarios[] = {DemandZero(StackInManyWays),
                                DemandZero(PushMemory),
                                DemandZero(PopMemory),
                                DemandZero([](Assembler& a) { CallOnNewStack(a, false); }),
                                DemandZero([](Assembler& a) { CallOnNewStack(a, true); }),
                                DemandZero(StackInManyWays, 3)};
  RunEverywhere(scenarios);
  for (unsigned i = 0; i < 5; ++i) {
    INFO("scenario " << i);
    CHECK(HostFaults(scenarios[i]) < kPages / 2);
  }
}

TEST_CASE("faulting sites: pages that come and go are new ones each time") {
  const Scenario scenario = DemandZero(
      [](Assembler& a) {
        a.mov(ptr(esi, 8), ecx);
        a.mov(ptr(esi, 16), ecx);
      },
      20);
  TestMachine machine;
  scenario.prepare(machine);
  machine.Run();
  CHECK(machine.GetTranslator().Stats().sites.demotions == 2);
  CHECK(machine.GetTranslator().Stats().sites.promotions == 0);
}

TEST_CASE("faulting sites: a loop that stays in one page is translated with mappings again") {
  const Scenario scenario = DemandZero([](Assembler& a) {
    Label again = a.newLabel();
    a.mov(ebp, 50'000);
    a.bind(again);
    a.add(ptr(esi, 8), ebp);
    a.dec(ebp);
    a.jnz(again);
  });
  TestMachine machine;
  scenario.prepare(machine);
  machine.Run();
  CHECK(machine.Signals().faults > kPages / 2);
}

TEST_CASE("soft accesses: a page that gets translated code is no longer written past the monitor") {
  // One store, which new pages demote, writes a function four times over; it is called the last two times.
  const auto body = [](Assembler& a) {
    Label again = a.newLabel(), data_only = a.newLabel();
    a.mov(ebx, 4);
    a.bind(again);
    a.mov(edx, ebx);
    a.and_(edx, 1);
    a.lea(edx, ptr(0xC390'9040, edx, 3));  // inc eax or dec eax; nop; nop; ret
    a.mov(ptr(esi), edx);
    a.cmp(ebx, 3);
    a.jae(data_only);
    a.call(esi);
    a.bind(data_only);
    a.dec(ebx);
    a.jnz(again);
  };
  RunEverywhere(DemandZero(body));
}

TEST_CASE("faulting sites: divisions by zero take few host signals, and other divisions are translated again") {
  const Scenario scenarios[] = {Divisions(300, 0), Divisions(300, 40'000), Divisions(5, 1000)};
  RunEverywhere(scenarios);
  CHECK(HostFaults(scenarios[0]) < 50);
  TestMachine machine;
  scenarios[1].prepare(machine);
  machine.Run();
  CHECK(machine.Engine().Stats().interpreted < 20'000);
}
