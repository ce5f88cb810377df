// Ring 0 code whose user pages keep losing their mappings, until its accesses are demoted and done in callouts: each
// kind of move, faults, strings, writes to code, and how sites are demoted and promoted.
#include <catch2/catch.hpp>
#include <memory>

#include "tests/translator/every_machine.h"
#include "translator/site_policy.h"

using namespace ring3;
using namespace asmjit;
using namespace asmjit::x86;

namespace {

constexpr uint32_t kRounds = 300;  // sites are demoted one after the other

/// Lets a page's entry be seen without P once, which drops its mapping.
void EmitRemap(Assembler& a, uint32_t entry, uint32_t linear) {
  a.xor_(dword_ptr(entry), guest::kPresent);
  a.invlpg(ptr(linear));
  a.xor_(dword_ptr(entry), guest::kPresent);
}

struct Pages {
  uint32_t first, second;  // entries of the first two pages of data
};

using Body = std::function<void(Assembler&, Pages)>;

Bytes RemapLoop(TestMachine& machine, const Body& body) {
  const Pages pages{machine.EntryAddress(guest::kData), machine.EntryAddress(guest::kData + kPageSize)};
  return Assemble(guest::kCode, [&](Assembler& a) {
    Label top = a.newLabel();
    a.mov(dword_ptr(guest::kStack), kRounds);
    a.bind(top);
    EmitRemap(a, pages.first, guest::kData);
    EmitRemap(a, pages.second, guest::kData + kPageSize);
    body(a, pages);
    a.dec(dword_ptr(guest::kStack));
    a.jnz(top);
    a.int3();
  });
}

Scenario Remapping(const char* name, const Body& body) {
  return {name, [body](TestMachine& machine) {
            machine.Reset(0);
            machine.LoadCode(RemapLoop(machine, body), 0);
            for (uint32_t gpr : {kEax, kEcx, kEdx, kEbx, kEbp})
              machine.State().gpr[gpr] = 0x1234'5678 * gpr + 0x9ABC'DEF0;
            machine.State().gpr[kEsi] = guest::kData + 0x80;
            machine.State().gpr[kEdi] = guest::kData + kPageSize + 0x40;
            machine.Write(guest::kDataFrames, Bytes(guest::kDataBytes, 0xA5));
            machine.Write(guest::kStackFrames, Bytes(guest::kStackBytes));
          }};
}

void Moves(Assembler& a, Pages) {
  a.stc();
  a.mov(ptr(esi), eax);
  a.mov(word_ptr(esi, 6), dx);
  a.mov(byte_ptr(esi, 9), ah);
  a.mov(byte_ptr(esi, 10), bl);
  a.mov(byte_ptr(edi, 3), ch);
  a.mov(dword_ptr(edi, 8), 0x8765'4321);
  a.mov(word_ptr(edi, 12), 0x8001);
  a.mov(byte_ptr(edi, 14), 0xFE);
  a.adc(ebp, 7);
  a.mov(ebx, ptr(esi, 1));
  a.mov(cx, ptr(edi, 7));
  a.mov(dh, ptr(esi, 9));
  a.mov(al, ptr(edi, 14));
  a.sbb(ebp, ebx);
  a.movzx(edx, byte_ptr(edi, 14));
  a.movzx(ecx, word_ptr(edi, 12));
  a.movsx(eax, byte_ptr(edi, 14));
  a.movsx(ax, byte_ptr(edi, 14));
  a.add(ebx, eax);
  a.movsx(eax, word_ptr(edi, 12));
  a.mov(ebp, ptr(esi));
  a.add(eax, ebp);
  a.mov(esp, ptr(guest::kStack + 4));
  a.lea(ebp, ptr(ebp, ebx, 1, 3));
  a.mov(eax, ptr(guest::kData + kPageSize - 2));  // in two pages
  a.mov(ptr(guest::kData + kPageSize - 3), ebp);
}

void Strings(Assembler& a, Pages) {
  for (const uint32_t count : {0u, 1u, 5u, 33u}) {
    a.mov(esi, guest::kData + 0x80);
    a.mov(edi, guest::kData + kPageSize + 0x40);
    a.mov(ecx, count);
    a.rep().movsb();
    a.mov(ecx, count);
    a.rep().movsd();
    a.movsw();
    a.mov(ecx, count);
    a.rep().stosd();
    a.stosb();
    a.mov(ecx, count);
    a.rep().stosw();
    a.inc(eax);
    a.lea(edi, ptr(esi, 3));  // overlapping
    a.mov(ecx, count);
    a.rep().movsb();
    a.std();
    a.mov(ecx, count);
    a.rep().movsd();
    a.movsb();
    a.cld();
  }
  a.mov(edi, guest::kData + kPageSize - 7);  // in two pages
  a.mov(ecx, 3);
  a.rep().stosd();
}

void FaultInLastRound(Assembler& a, Pages pages) {
  Label mapped = a.newLabel();
  a.mov(eax, ptr(esi));
  a.mov(ptr(esi, 4), eax);
  a.cmp(dword_ptr(guest::kStack), 2);
  a.ja(mapped);
  a.and_(dword_ptr(pages.first), ~(guest::kPresent | guest::kWritable));
  a.invlpg(ptr(guest::kData));
  a.bind(mapped);
  a.mov(ecx, 9);
  a.push(esi);
  a.push(edi);
  a.rep().movsb();
  a.pop(edi);
  a.pop(esi);
  a.mov(ptr(esi, 8), eax);
}

/// A function in a user page, whose constant a demoted store changes.
void WriteCode(Assembler& a, Pages) {
  a.mov(ecx, ptr(guest::kStack));
  a.mov(byte_ptr(esi), 0xB8);  // mov eax, imm32; ret
  a.mov(byte_ptr(esi, 5), 0xC3);
  a.mov(ptr(esi, 1), ecx);
  a.call(esi);
  a.rol(edx, 1);
  a.add(edx, eax);
}

uint64_t SoftAccesses(const Body& body) {
  TestMachine machine;
  Remapping("", body).prepare(machine);
  machine.Run();
  return machine.Engine().Callouts().done[static_cast<unsigned>(Callout::kSoftAccess)];
}

}  // namespace

TEST_CASE("soft accesses: moves of every kind do what they always do") {
  RunEverywhere(Remapping("moves", Moves));
  CHECK(SoftAccesses(Moves) > kRounds);
}

TEST_CASE("soft accesses: strings in both directions, overlapping, and of no element") {
  RunEverywhere(Remapping("strings", Strings));
  CHECK(SoftAccesses(Strings) > kRounds);
}

TEST_CASE("soft accesses: a page that is taken away faults at the demoted site") {
  RunEverywhere(Remapping("fault", FaultInLastRound));
}

TEST_CASE("soft accesses: a demoted store to translated code is seen") { RunEverywhere(Remapping("code", WriteCode)); }

TEST_CASE("soft accesses: pages that a kernel maps for a moment are not mapped again and again") {
  constexpr uint32_t kMoment = 0x5000'0000, kFlags = guest::kPresent | guest::kWritable;
  const Scenario scenario{"moments", [](TestMachine& machine) {
                            machine.Reset(0);
                            machine.Map(kMoment, guest::kScratchFrames, kFlags);
                            const uint32_t entry = machine.EntryAddress(kMoment);
                            machine.LoadCode(Assemble(guest::kCode,
                                                      [&](Assembler& a) {
                                                        Label top = a.newLabel();
                                                        a.mov(ecx, kRounds);
                                                        a.bind(top);
                                                        a.xor_(dword_ptr(entry), kPageSize);
                                                        a.invlpg(ptr(kMoment));
                                                        a.mov(ptr(kMoment + 4), ecx);
                                                        a.mov(eax, ptr(kMoment + 8));
                                                        a.dec(ecx);
                                                        a.jnz(top);
                                                        a.int3();
                                                      }),
                                             0);
                          }};
  RunEverywhere(scenario);
  TestMachine machine;
  scenario.prepare(machine);
  machine.Run();
  CHECK(machine.Signals().faults < kRounds / 4);
}

TEST_CASE("sites: soft accesses weigh themselves against mappings and address-space switches") {
  constexpr GuestPhysical kSite(0x1000);
  constexpr SoftMove kMove{.kind = SoftKind::kLoad};
  SitePolicy policy;
  uint64_t switches = 100;
  const auto demote = [&] {
    unsigned mappings = 1;
    while (!policy.NoteUserAccess(kSite)) ++mappings;
    policy.DemoteForUserAccess(kSite, true, switches);
    REQUIRE(policy.SoftSiteFor(kSite, kMove, switches));
    return mappings;
  };
  /// How many accesses it takes, with so many between two switches.
  const auto accesses_to_promotion = [&](unsigned per_switch) {
    SoftSite& soft = policy.SoftSites()[*policy.SoftSiteFor(kSite, kMove, switches)];
    for (unsigned i = 1; i < 100'000; ++i) {
      if (i % per_switch == 0) ++switches;
      if (++soft.accesses > soft.limit && policy.NoteExecution(kSite, switches)) return i;
    }
    return 0u;
  };
  CHECK(demote() == 8);
  const unsigned first = accesses_to_promotion(1'000'000);
  CHECK(first != 0);
  CHECK(first < 100);
  CHECK(!policy.IsDemoted(kSite));
  CHECK(demote() == 8);
  CHECK(accesses_to_promotion(100) == 0);
  CHECK(policy.IsDemoted(kSite));
}

TEST_CASE("sites: each miss of a soft access speaks against promotion") {
  constexpr GuestPhysical kSite(0x1000);
  SitePolicy policy;
  policy.DemoteForUserAccess(kSite, true, 0);
  SoftSite& soft = policy.SoftSites()[*policy.SoftSiteFor(kSite, {.kind = SoftKind::kStore}, 0)];
  bool promoted = false;
  for (unsigned i = 0; i < 10'000; ++i) {
    ++soft.accesses;
    promoted |= policy.NoteExecution(kSite, 0);
  }
  CHECK(!promoted);
}

TEST_CASE("sites: a store where a load was does not make blocks of the load store") {
  constexpr GuestPhysical kSite(0x1000);
  constexpr SoftMove kLoad{.kind = SoftKind::kLoad}, kStore{.kind = SoftKind::kStore};
  SitePolicy policy;
  while (!policy.NoteFault(kSite)) {
  }
  const auto load = policy.SoftSiteFor(kSite, kLoad, 0), store = policy.SoftSiteFor(kSite, kStore, 0);
  REQUIRE(load);
  REQUIRE(store);
  CHECK(policy.SoftSites()[*load].move == kLoad);
  CHECK(policy.SoftSites()[*store].move == kStore);
  CHECK(policy.SoftSiteFor(kSite, kLoad, 0) == load);
}

TEST_CASE("sites: the site of a budget that is spent gets its mappings back, and one that spares faults does not") {
  constexpr GuestPhysical kSite(0x1000);
  for (const bool faults : {false, true}) {
    INFO("each step ends in a fault: " << faults);
    SitePolicy policy;
    while (!policy.NoteFault(kSite)) {
    }
    SoftBudget& budget = policy.SoftBudgets()[*policy.SoftSiteFor(kSite, {.kind = SoftKind::kLoad}, 0)];
    unsigned steps = 0;
    for (bool promoted = false; !promoted && steps < 10'000; ++steps) {
      budget.Spend(SoftBudget::kCallout);
      promoted = policy.NoteExecution(kSite, 0);
      if (faults) policy.NoteDemotedFault(kSite);
    }
    CHECK((steps < 1000) != faults);
  }
}

TEST_CASE("soft news: a site meets a page once, and again when the page faults or address spaces have come and gone") {
  constexpr uint32_t kSite = 7, kOther = 8, kPage = 0x1'2345;
  const auto news = std::make_unique<SoftNews>();
  CHECK(news->Meets(kSite, kPage, 0));
  CHECK_FALSE(news->Meets(kSite, kPage, 0));
  CHECK(news->Meets(kOther, kPage, 0));
  news->NoteFault(kPage);
  CHECK(news->Meets(kSite, kPage, 0));
  CHECK_FALSE(news->Meets(kSite, kPage, 10));
  CHECK(news->Meets(kSite, kPage, 1000));
}

TEST_CASE("soft news: sites that meet the same pages one after the other are told apart") {
  constexpr unsigned kPages = 10'000;
  const auto news = std::make_unique<SoftNews>();
  unsigned met = 0;
  for (uint32_t page = 0; page < kPages; ++page) {
    for (uint32_t site = 0; site < 3; ++site) met += news->Meets(site, page, 0);
  }
  CHECK(met > 3 * kPages / 2);
}

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
