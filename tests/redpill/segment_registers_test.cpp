// The hidden parts of segment registers, and what returns outward leave of them. Expectations are the manual's (SDM 3A
// 3.4.3 and 5.8, 2B RET, 2A IRET).
#include <fmt/core.h>

#include <catch2/catch.hpp>
#include <cstring>

#include "tests/redpill/rings.h"

using namespace ring3;
using namespace asmjit;
using namespace asmjit::x86;

namespace {

constexpr uint32_t kResults = guest::kData + 0x1000;
constexpr unsigned kGp = 13;

Mem InStack(Mem memory) {
  memory.setSegment(ss);
  return memory;
}

}  // namespace

TEST_CASE("returns outward by RET and IRET: RPL is the new CPL, and inner segments become null") {
  std::vector<Scenario> scenarios;
  for (unsigned from : {0u, 1u, 2u, 3u}) {
    for (unsigned to : {0u, 1u, 2u, 3u}) {
      for (bool iret : {false, true}) {
        if (from == to) continue;
        const Bytes code = Assemble(guest::kCode, [=](Assembler& a) {
          Label target = a.newLabel();
          a.mov(edx, guest::kData3);
          a.mov(es, edx);
          a.push(rings::Data(to));
          a.push(guest::kStack + 0x100);
          if (iret) a.push(eflags::kIf | eflags::kReserved1);
          a.push(rings::Code(to));
          a.lea(ecx, ptr(target));
          a.push(ecx);
          iret ? a.iretd() : a.retf();
          a.bind(target);
          a.mov(eax, cs);
          a.mov(ebx, ss);
          a.mov(edx, es);
          a.mov(ecx, ds);
          a.mov(esi, fs);
          a.int3();
        });
        scenarios.push_back({fmt::format("{} to {} by {}", from, to, iret ? "IRET" : "RET"),
                             [=](TestMachine& m) { EnterRing(m, from, code); },
                             [=](TestMachine&, const Outcome& o) {
                               if (to < from) {
                                 CHECK(o.vector == kGp);
                                 CHECK(o.error_code == (rings::Code(to) & 0xFFFCu));
                                 return;
                               }
                               CHECK(o.vector == 3u);
                               CHECK(o.gpr[kEax] == rings::Code(to));
                               CHECK(o.gpr[kEbx] == rings::Data(to));
                               CHECK(o.gpr[kEdx] == guest::kData3);
                               CHECK(o.gpr[kEcx] == 0);
                               CHECK(o.gpr[kEsi] == guest::kFs);
                               CHECK(o.gpr[kEsp] == guest::kStack + 0x100);
                             }});
      }
    }
  }
  RunEverywhere(scenarios);
}

TEST_CASE("a descriptor that changes does so for the next load, not for the segment register") {
  // DS is loaded often enough that the translator has learnt its descriptor; then the limit shrinks under it.
  std::vector<Scenario> scenarios;
  for (bool by_lgdt : {false, true}) {
    const Bytes code = Assemble(guest::kCode, [=](Assembler& a) {
      Label top = a.newLabel();
      a.mov(ecx, 20);
      a.bind(top);
      a.mov(eax, rings::kFree);
      a.mov(ds, eax);
      a.mov(edx, dword_ptr(uint64_t{guest::kData + 0x800}));
      a.dec(ecx);
      a.jnz(top);
      if (by_lgdt) {
        a.lgdt(InStack(Mem(uint64_t{guest::kData + 0x40}, 0)));
      } else {
        a.mov(InStack(dword_ptr(uint64_t{guest::kGdt + rings::kFree})), 0xFF);
        a.mov(InStack(dword_ptr(uint64_t{guest::kGdt + rings::kFree + 4})), 0x0040'9300);
      }
      a.mov(ebx, dword_ptr(uint64_t{guest::kData + 0x800}));  // the hidden part is the old one
      a.mov(ds, eax);
      a.mov(esi, dword_ptr(uint64_t{0xFC}));
      a.mov(edi, dword_ptr(uint64_t{0xFD}));
      a.int3();
    });
    scenarios.push_back({by_lgdt ? "LGDT" : "written",
                         [=](TestMachine& m) {
                           EnterRing(m, 0, code);
                           SetDescriptor(m, rings::kFree, RawDescriptor(0, 0xFFFFF, 0xC093));
                           Bytes table(rings::kGdtLimit + 1);
                           std::memcpy(table.data(), m.Physical().Flat(GuestPhysical(guest::kGdt)), table.size());
                           constexpr uint32_t kNewTable = 0x3E'0000;
                           m.Write(kNewTable, table);
                           m.Set<uint64_t>(kNewTable + rings::kFree, RawDescriptor(0, 0xFF, 0x4093));
                           m.Set<uint16_t>(guest::kDataFrames + 0x40, rings::kGdtLimit);
                           m.Set<uint32_t>(guest::kDataFrames + 0x42, kNewTable);
                         },
                         [](TestMachine&, const Outcome& o) {
                           CHECK(o.vector == kGp);
                           CHECK(o.gpr[kEbx] == 0xCCCC'CCCC);
                           CHECK(o.gpr[kEsi] == 0);  // linear FCh, where nothing is
                         }});
  }
  RunEverywhere(scenarios);
}

TEST_CASE("a segment load reads its own descriptor and no other memory") {
  // Neither page 0 nor the page of an earlier GDT, which are not there, may fault.
  static constexpr uint32_t kOldTable = 0x3E'0000, kPointer = kResults;
  const Bytes code = Assemble(guest::kCode, [](Assembler& a) {
    a.lgdt(Mem(uint64_t{kPointer}, 0));
    for (unsigned i = 0; i < 2; ++i) {
      for (uint16_t selector : {guest::kData3, guest::kData0, guest::kData0}) {
        a.mov(eax, selector);
        for (const SReg& s : {es, ds, fs, gs}) a.mov(s, eax);
        a.push(selector);
        a.pop(es);
      }
      a.lgdt(Mem(uint64_t{kPointer + 8}, 0));
      a.mov(dword_ptr(uint64_t{guest::kFirstPageTable + (kOldTable >> kPageShift) * 4}), 0);
      a.invlpg(ptr(uint64_t{kOldTable}));
    }
    a.int3();
  });
  const Scenario scenario = {"loads",
                             [&](TestMachine& m) {
                               EnterRing(m, 0, code);
                               m.Map(kOldTable, kOldTable, guest::kPresent | guest::kWritable);
                               Bytes table(rings::kGdtLimit + 1);
                               std::memcpy(table.data(), m.Physical().Flat(GuestPhysical(guest::kGdt)), table.size());
                               m.Write(kOldTable, table);
                               for (uint32_t i : {0u, 1u}) {
                                 const uint32_t at = guest::kDataFrames + kPointer - guest::kData + 8 * i;
                                 m.Set<uint16_t>(at, rings::kGdtLimit);
                                 m.Set<uint32_t>(at + 2, i ? guest::kGdt : kOldTable);
                               }
                               m.Unmap(0);
                             },
                             [](TestMachine&, const Outcome& o) { CHECK(o.vector == 3u); }};
  RunEverywhere(scenario);
}

TEST_CASE("unreal mode: limits loaded in protected mode stay in real mode") {
  // Paging off; the program leaves protected mode, reads above 1 MiB, and comes back.
  const Scenario scenario = {"unreal",
                             [](TestMachine& m) {
                               m.Reset(0, false);
                               m.Write(guest::kLowCode, Assemble(guest::kLowCode, [](Assembler& a) {
                                         a.mov(eax, asmjit::x86::cr0);
                                         a.dec(eax);
                                         a.mov(asmjit::x86::cr0, eax);
                                         a.mov(ebx, dword_ptr(uint64_t{0x12'3450}));  // DS: base 0, limit 4 GiB still
                                         a.mov(ecx, 0x100);
                                         a.mov(ds, ecx);  // a real-mode load: base 1000h, the limit stays
                                         a.mov(edx, dword_ptr(uint64_t{0x12'2450}));
                                         a.inc(eax);
                                         a.mov(asmjit::x86::cr0, eax);
                                         a.hlt();
                                       }));
                               m.Set<uint32_t>(0x12'3450, 0x600D'F00D);
                               m.State().eip = guest::kLowCode;
                             },
                             [](TestMachine&, const Outcome& o) {
                               CHECK(o.gpr[kEbx] == 0x600D'F00D);
                               CHECK(o.gpr[kEdx] == 0x600D'F00D);
                               CHECK(o.selectors[3] == 0x100);
                             }};
  RunEverywhere(scenario);
}
