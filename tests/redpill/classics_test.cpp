// The well-known ways to notice a monitor, and undocumented behaviour that they rely on. See docs/red-pills.md.
#include <fmt/core.h>

#include <catch2/catch.hpp>
#include <cstring>

#include "devices/board.h"
#include "tests/oracle/oracle.h"
#include "tests/redpill/rings.h"

using namespace ring3;
using namespace asmjit;
using namespace asmjit::x86;

namespace {

constexpr uint32_t kBackdoorMagic = 0x564D'5868, kVersionCommand = 10, kMemoryCommand = 20;
constexpr uint16_t kBackdoorPort = 0x5658;

std::string Level(unsigned cpl) { return fmt::format("CPL {}", cpl); }

}  // namespace

TEST_CASE("the backdoor port of other monitors is an unclaimed port") {
  std::vector<Scenario> scenarios;
  for (uint32_t command : {kVersionCommand, kMemoryCommand}) {
    for (unsigned cpl : {0u, 3u}) {
      scenarios.push_back({Level(cpl),
                           [=](TestMachine& m) {
                             EnterRing(m, cpl, {0xED, 0xCC});  // in eax, dx
                             m.Reg(kEax) = kBackdoorMagic;
                             m.Reg(kEcx) = command;
                             m.Reg(kEdx) = kBackdoorPort;
                             m.Reg(kEbx) = 0;
                           },
                           [=](TestMachine&, const Outcome& o) {
                             CHECK(o.vector == (cpl ? 13u : 3u));
                             CHECK(o.gpr[kEax] == (cpl ? kBackdoorMagic : 0xFFFF'FFFF));
                             CHECK(o.gpr[kEbx] == 0);
                             CHECK(o.gpr[kEcx] == command);
                             CHECK(o.gpr[kEdx] == kBackdoorPort);
                           }});
    }
  }
  RunEverywhere(scenarios);
  ManualClock clock{0};
  BoardOptions options{.ram_bytes = 64u << 20, .start_unix_ns = 0};
  Board board(clock, options, {});
  for (uint16_t port : {kBackdoorPort, uint16_t{kBackdoorPort + 1}}) {
    for (unsigned size : {1u, 2u, 4u}) CHECK(board.Ports().Read(port, size) == 0xFFFF'FFFF >> (32 - 8 * size));
  }
}

TEST_CASE("CPUID names no hypervisor, and the leaves of hypervisors are those beyond the last") {
  static constexpr uint32_t kHypervisorLeaf = 0x4000'0000;
  for (const CpuModel& model : CpuModels()) {
    INFO(model.name);
    CHECK((model.Cpuid(1, 0).ecx & cpuid_ecx::kHypervisor) == 0);
    const CpuidResult beyond = model.Cpuid(model.max_leaf + 1, 0);
    for (uint32_t leaf = kHypervisorLeaf; leaf < kHypervisorLeaf + 0x200; ++leaf) CHECK(model.Cpuid(leaf, 0) == beyond);
  }
  std::vector<Scenario> scenarios;
  for (unsigned cpl : {0u, 1u, 2u, 3u}) {
    scenarios.push_back({Level(cpl),
                         [=](TestMachine& m) {
                           EnterRing(m, cpl, ThreeTimes([](Assembler& a) {
                                       a.mov(eax, 1);
                                       a.cpuid();
                                       a.mov(esi, ecx);
                                       a.mov(eax, kHypervisorLeaf);
                                       a.cpuid();
                                     }));
                         },
                         [](TestMachine& m, const Outcome& o) {
                           const CpuModel& model = m.GetCpu().model;
                           const CpuState& s = m.State();
                           const CpuidContext context{.osxsave = (s.cr4 & cr4::kOsxsave) != 0, .xcr0 = s.xcr0};
                           const CpuidResult beyond = model.Cpuid(model.max_leaf + 1, o.gpr[kEsi], context);
                           CHECK((o.gpr[kEsi] & cpuid_ecx::kHypervisor) == 0);
                           CHECK(CpuidResult{o.gpr[kEax], o.gpr[kEbx], o.gpr[kEcx], o.gpr[kEdx]} == beyond);
                         }});
  }
  RunEverywhere(scenarios);
}

TEST_CASE("invalid opcodes that other monitors take as calls") {
  const Bytes calls[] = {
      {0x0F, 0x3F, 0x07, 0x0B}, {0x0F, 0x3F, 0x01, 0x00}, {0x0F, 0x01, 0xC1}, {0x0F, 0x01, 0xD9}, {0x0F, 0x0B},
      {0x0F, 0xB9, 0xC0},       {0x0F, 0xFF, 0xC0}};
  std::vector<Scenario> scenarios;
  for (const Bytes& code : calls) {
    for (unsigned cpl : {0u, 3u}) {
      scenarios.push_back({Level(cpl), [=](TestMachine& m) { EnterRing(m, cpl, code); },
                           [](TestMachine&, const Outcome& o) {
                             CHECK(o.vector == 6u);
                             CHECK(o.eip == guest::kCode);
                           }});
    }
  }
  RunEverywhere(scenarios);
}

TEST_CASE("LOCK is an invalid opcode where it means nothing, F00F's CMPXCHG8B included") {
  const Bytes invalid[] = {{0xF0, 0x90},              // nop
                           {0xF0, 0x8B, 0x03},        // mov eax, [ebx]
                           {0xF0, 0x89, 0x03},        // mov [ebx], eax
                           {0xF0, 0x01, 0xC1},        // add ecx, eax
                           {0xF0, 0x03, 0x03},        // add eax, [ebx]
                           {0xF0, 0x39, 0x03},        // cmp [ebx], eax
                           {0xF0, 0x0F, 0xA3, 0x03},  // bt [ebx], eax
                           {0xF0, 0xD1, 0x23},        // shl [ebx], 1
                           {0xF0, 0xA4},              // movsb
                           {0xF0, 0xFF, 0x33},        // push [ebx]
                           {0xF0, 0xC3},              // ret
                           {0xF0, 0xCD, 0x80},        // int 80h
                           {0xF0, 0x0F, 0xC7, 0xC8}};
  const Bytes valid[] = {{0xF0, 0x01, 0x0B, 0xCC},       {0xF0, 0x87, 0x0B, 0xCC},       {0xF0, 0xFF, 0x03, 0xCC},
                         {0xF0, 0xF7, 0x13, 0xCC},       {0xF0, 0x0F, 0xB1, 0x0B, 0xCC}, {0xF0, 0x0F, 0xC1, 0x0B, 0xCC},
                         {0xF0, 0x0F, 0xAB, 0x0B, 0xCC}, {0xF0, 0x0F, 0xC7, 0x0B, 0xCC}};
  std::vector<Scenario> scenarios;
  const auto add = [&](const Bytes& code, uint32_t vector) {
    for (unsigned cpl : {0u, 3u}) {
      scenarios.push_back({fmt::format("{:02x} {:02x}", code[1], code[2 % code.size()]),
                           [=](TestMachine& m) {
                             EnterRing(m, cpl, code);
                             m.Reg(kEbx) = m.Reg(kEsi) = m.Reg(kEdi) = guest::kData;
                           },
                           [=](TestMachine&, const Outcome& o) {
                             CHECK(o.vector == vector);
                             CHECK(o.eip == guest::kCode + (vector == 6 ? 0 : code.size()));
                           }});
    }
  };
  for (const Bytes& code : invalid) add(code, 6);
  for (const Bytes& code : valid) add(code, 3);
  RunEverywhere(scenarios);
}

TEST_CASE("ICEBP is a trap through vector 1 whatever the gate's DPL, SALC spreads CF") {
  std::vector<Scenario> scenarios;
  for (unsigned cpl : {0u, 3u}) {
    scenarios.push_back({Level(cpl),
                         [=](TestMachine& m) {
                           EnterRing(m, cpl, {0xF1, 0x90});
                           const uint32_t gate = guest::kIdt + 8 + 5;
                           m.Set<uint8_t>(gate, m.Get<uint8_t>(gate) & ~0x60);  // DPL 0
                         },
                         [](TestMachine&, const Outcome& o) {
                           CHECK(o.vector == 1u);
                           CHECK(o.eip == guest::kCode + 1);
                         }});
    for (bool carry : {false, true}) {
      scenarios.push_back({Level(cpl),
                           [=](TestMachine& m) {
                             EnterRing(m, cpl, {static_cast<uint8_t>(carry ? 0xF9 : 0xF8), 0xD6, 0xCC});
                             m.Reg(kEax) = 0x1234'5678;
                           },
                           [=](TestMachine&, const Outcome& o) {
                             CHECK(o.gpr[kEax] == (carry ? 0x1234'56FF : 0x1234'5600));
                             CHECK((o.eflags & eflags::kCf) == carry);
                           }});
    }
  }
  RunEverywhere(scenarios);
}

TEST_CASE("FNSTENV and FNSAVE show where the guest's last x87 instruction was") {
  std::vector<Scenario> scenarios;
  for (unsigned cpl : {0u, 3u}) {
    for (bool save : {false, true}) {
      const Bytes code = ThreeTimes([=](Assembler& a) {
        Label here = a.newLabel();
        const Mem operand = dword_ptr(uint64_t{guest::kData + 0x40}), image(uint64_t{guest::kData + 0x100}, 0);
        a.fninit();
        a.lea(esi, ptr(here));
        a.mov(dword_ptr(uint64_t{guest::kData + 0x40}), 0);
        a.bind(here);
        a.fadd(operand);
        a.mov(eax, ptr(esi));  // integer instructions between do not count
        save ? a.fnsave(image) : a.fnstenv(image);
        a.mov(word_ptr(uint64_t{guest::kData + 0x112}), 0);  // FOP: see docs/testing.md
      });
      scenarios.push_back({Level(cpl), [=](TestMachine& m) { EnterRing(m, cpl, code); },
                           [=](TestMachine&, const Outcome& o) {
                             constexpr uint32_t kFip = 12, kFcs = 16, kFdp = 20;
                             const uint32_t image = guest::kData + 0x100;
                             CHECK(DwordAt(o, image + kFip) == o.gpr[kEsi]);
                             CHECK(WordAt(o, image + kFcs) == rings::Code(cpl));
                             CHECK(DwordAt(o, image + kFdp) == guest::kData + 0x40);
                           }});
    }
  }
  RunEverywhere(scenarios);
}

namespace {

/// The same code and data on the host's processor, at CPL 3, in memory that may be written.
OracleResult Natively(const Bytes& code) {
  OracleState state;
  state.eip = guest::kCode;
  state.gpr[kEsp] = guest::kStack + guest::kStackBytes / 2;
  Bytes text(guest::kCodeBytes, 0xCC);
  std::copy(code.begin(), code.end(), text.begin());
  state.regions = {{guest::kCode, std::move(text)},
                   {guest::kData, Bytes(guest::kDataBytes, 0xCC)},
                   {guest::kStack, Bytes(guest::kStackBytes)}};
  return RunOracle(state);
}

}  // namespace

TEST_CASE("a string instruction overwrites itself, as on the processor") {
  // Whether the rest of the run is executed tells an emulator that looks at each iteration.
  for (bool movs : {false, true}) {
    for (bool backwards : {false, true}) {
      const Bytes code = Assemble(guest::kCode, [=](Assembler& a) {
        Label itself = a.newLabel();
        if (backwards) a.std();
        a.xor_(ebx, ebx);
        a.mov(al, 0x90);
        a.mov(ecx, 24);
        a.mov(esi, guest::kData + 0x100);
        a.lea(edi, ptr(itself, backwards ? 14 : -9));
        for (int i = 0; i < 9; ++i) a.nop();
        a.bind(itself);
        movs ? a.rep().movsb() : a.rep().stosb();
        for (int i = 0; i < 13; ++i) a.inc(ebx);
        a.cld();
        a.int3();
      });
      const OracleResult native = Natively(code);
      const Scenario scenario = {"overwritten",
                                 [&](TestMachine& m) {
                                   LoadChangingCode(m, 3, code);
                                   m.Write(guest::kDataFrames, Bytes(guest::kDataBytes, 0xCC));
                                 },
                                 [&](TestMachine&, const Outcome& o) {
                                   CHECK(o.vector == native.vector);
                                   CHECK(o.gpr[kEcx] == native.state.gpr[kEcx]);
                                   CHECK(o.gpr[kEbx] == native.state.gpr[kEbx]);
                                   CHECK(o.gpr[kEdi] == native.state.gpr[kEdi]);
                                   CHECK(o.eip == native.state.eip);
                                 }};
      RunEverywhere(scenario);
    }
  }
}

TEST_CASE("a store into the next instruction is seen by it, as on the processor") {
  for (unsigned distance : {0u, 1u, 5u, 14u, 40u, 100u}) {
    const Bytes code = Assemble(guest::kCode, [=](Assembler& a) {
      Label patched = a.newLabel();
      a.xor_(ebx, ebx);
      a.lea(edi, ptr(patched));
      a.mov(byte_ptr(edi), 0x4B);  // dec ebx
      for (unsigned i = 0; i < distance; ++i) a.nop();
      a.bind(patched);
      a.inc(ebx);
      a.int3();
    });
    const OracleResult native = Natively(code);
    CHECK(native.state.gpr[kEbx] == 0xFFFF'FFFF);
    const Scenario scenario = {"patched", [&](TestMachine& m) { LoadChangingCode(m, 3, code); },
                               [&](TestMachine&, const Outcome& o) {
                                 CHECK(o.gpr[kEbx] == native.state.gpr[kEbx]);
                                 CHECK(o.eip == native.state.eip);
                               }};
    RunEverywhere(scenario);
  }
}
