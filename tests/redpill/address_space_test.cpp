// The guest's 4 GiB hold what the guest's tables put there and nothing of the monitor, page by page: reads, writes and
// jumps everywhere, with paging and without.
#include <catch2/catch.hpp>
#include <cstring>
#include <random>

#include "tests/redpill/rings.h"
#include "tests/shadowmmu/host_view.h"

using namespace ring3;
using namespace asmjit;
using namespace asmjit::x86;

namespace {

constexpr uint32_t kLargeBytes = 4u << 20, kLarge = 0x80, kAccessed = 0x20, kDirty = 0x40;
constexpr uint32_t kEvenFrame = 0x80'0000, kOddFrame = 0xC0'0000, kKey = 0xA5C3'9617;
/// The 4 MiB that hold the tables, and those with code, data and stack, have small pages of their own.
constexpr uint32_t kLowEnd = kLargeBytes, kRegions = guest::kCode & ~(kLargeBytes - 1);

bool IsOwn(uint32_t linear) { return linear < kLowEnd || linear - kRegions < kLargeBytes; }

void SetLargePages(TestMachine& m, uint32_t even_frame, uint32_t odd_frame) {
  for (uint32_t i = 0; i < 1024; ++i) {
    if (IsOwn(i << 22)) continue;
    m.Set<uint32_t>(guest::kPageDirectory + 4 * i, (i % 2 ? odd_frame : even_frame) | kOpenPage | kLarge);
  }
  m.State().cr4 |= cr4::kPse;
  m.GetCpu().PagingChanged();
}

/// Two of the frames, a dword of each address different from every other.
void FillFrames(TestMachine& m) {
  std::vector<uint32_t> words(2 * kLargeBytes / 4);
  for (uint32_t i = 0; i < words.size(); ++i) words[i] = (4 * i) ^ kKey;
  m.Write(kEvenFrame, {reinterpret_cast<const uint8_t*>(words.data()), 4 * words.size()});
}

/// EBX goes to EBP through all pages (or each one in `stride`) but the guest's own; `body` may use EAX, ECX and EDX.
Bytes ForEachPage(const std::function<void(Assembler&)>& body, uint32_t stride = 1) {
  return Assemble(guest::kCode, [&](Assembler& a) {
    Label top = a.newLabel(), elsewhere = a.newLabel();
    a.xor_(edi, edi);
    a.xor_(esi, esi);
    a.bind(top);
    a.cmp(ebx, kRegions);
    a.jne(elsewhere);
    a.add(ebx, kLargeBytes);
    a.bind(elsewhere);
    body(a);
    a.inc(esi);
    a.add(ebx, stride * kPageSize);
    a.cmp(ebx, ebp);
    a.jne(top);
    a.int3();
  });
}

constexpr uint32_t kPages = (1u << 20) - 2 * (kLargeBytes >> kPageShift);

struct Tally {
  uint32_t pages = 0, differences = 0;  // ESI, EDI
};

/// Runs such a program over the 4 GiB, a quarter at a time.
Tally RunQuarters(TestMachine& m, unsigned cpl, const Bytes& code, uint32_t even_frame, uint32_t odd_frame) {
  constexpr uint32_t kQuarter = 1u << 30;
  Tally tally;
  for (uint32_t quarter = 0; quarter < 4; ++quarter) {
    EnterRing(m, cpl, code);
    SetLargePages(m, even_frame, odd_frame);
    m.Reg(kEbx) = quarter ? quarter * kQuarter : kLowEnd;
    m.Reg(kEbp) = (quarter + 1) * kQuarter;
    const Outcome out = m.Run();
    CHECK(out.vector == 3u);
    tally.pages += out.gpr[kEsi];
    tally.differences |= out.gpr[kEdi];
  }
  return tally;
}

/// Memory of the monitor's own, of which a copy is kept.
class Canaries {
 public:
  explicit Canaries(TestMachine& machine) : cache_(machine.GetTranslator().Cache()) {
    for (size_t i = 0; i < kWords; ++i) heap_[i] = stack_[i] = static_[i] = Value(i);
    std::memcpy(stubs_.data(), cache_.Base(), stubs_.size());
  }
  bool Untouched() const {
    for (size_t i = 0; i < kWords; ++i) {
      if (heap_[i] != Value(i) || stack_[i] != Value(i) || static_[i] != Value(i)) return false;
    }
    return std::memcmp(stubs_.data(), cache_.Base(), stubs_.size()) == 0;
  }

 private:
  static constexpr size_t kWords = 4096;
  static uint64_t Value(size_t i) { return 0x6361'6E61'7279'0000 + i; }

  static uint64_t static_[kWords];
  std::vector<uint64_t> heap_ = std::vector<uint64_t>(kWords);
  uint64_t stack_[kWords];
  CodeCache& cache_;
  std::array<uint8_t, Stubs::kBytes> stubs_;
};
uint64_t Canaries::static_[Canaries::kWords];

/// Everything around the windows is out of reach for the host itself; what the windows show is guest RAM.
void CheckGuards(TestMachine& m) {
  for (bool user : {false, true}) {
    const HostAddress base = m.Mmu().Base(m.Mmu().Current(user));
    CHECK(AllInaccessible(base - ShadowMmu::kGuardBelow, base));
    CHECK(AllInaccessible(base + (4ull << 30), base + ShadowMmu::kGuardAbove));
  }
}

}  // namespace

TEST_CASE("reads of every page of 4 GiB find the guest's memory") {
  TestMachine machine;
  FillFrames(machine);
  const Bytes code = ForEachPage([](Assembler& a) {
    for (int offset : {0, 0xFFC}) {
      a.lea(edx, ptr(ebx, offset));
      a.and_(edx, 2 * kLargeBytes - 1);
      a.xor_(edx, kKey);
      a.xor_(edx, ptr(ebx, offset));
      a.or_(edi, edx);
    }
  });
  for (unsigned cpl : {3u, 0u}) {
    const Tally tally = RunQuarters(machine, cpl, code, kEvenFrame, kOddFrame);
    CHECK(tally.differences == 0);
    CHECK(tally.pages == kPages);
    CHECK(machine.Get<uint32_t>(guest::kPageDirectory + 4 * 1023) == (kOddFrame | kOpenPage | kLarge | kAccessed));
    CheckGuards(machine);
  }
}

TEST_CASE("writes to every page of 4 GiB reach the guest's memory and no other") {
  TestMachine machine;
  for (unsigned cpl : {3u, 0u}) {
    const uint32_t stride = cpl == 3 ? 1 : 8;
    // All large pages show one frame; each leaves its addresses in a dword of its own in each small page.
    const Bytes code = ForEachPage(
        [](Assembler& a) {
          a.mov(eax, ebx);
          a.shr(eax, 22);
          a.lea(eax, ptr(ebx, eax, 2));
          a.mov(ptr(eax), eax);
        },
        stride);
    machine.Write(kOddFrame, Bytes(kLargeBytes));
    const Canaries canaries(machine);
    CHECK(RunQuarters(machine, cpl, code, kOddFrame, kOddFrame).pages == kPages / stride);
    CHECK(canaries.Untouched());
    CheckGuards(machine);
    uint32_t wrong = 0;
    const uint8_t* frame = machine.Physical().Flat(GuestPhysical(kOddFrame));
    for (uint32_t page = 0; page < 1024; ++page) {
      for (uint32_t i = 0; i < 1024; ++i) {
        const uint32_t linear = i << 22 | page << kPageShift | 4 * i;
        uint32_t value;
        std::memcpy(&value, frame + page * kPageSize + 4 * i, sizeof value);
        wrong += value != (IsOwn(linear) || page % stride ? 0 : linear);
      }
    }
    CHECK(wrong == 0);
    CHECK(machine.Get<uint32_t>(guest::kPageDirectory + 4 * 1023) ==
          (kOddFrame | kOpenPage | kLarge | kAccessed | kDirty));
  }
}

TEST_CASE("without paging, reads and writes beyond RAM find nothing") {
  TestMachine machine;
  machine.Reset(0, false);
  static constexpr uint32_t kEnd = guest::kRamBytes, kStride = 4;
  machine.Write(guest::kLowCode, Assemble(guest::kLowCode, [](Assembler& a) {
                  Label top = a.newLabel();
                  a.mov(edi, 0xFFFF'FFFF);
                  a.xor_(esi, esi);
                  a.mov(ebx, kEnd);
                  a.bind(top);
                  a.and_(edi, ptr(ebx, 0x10));
                  a.mov(dword_ptr(ebx, 0x10), 0x12345678);
                  a.and_(edi, ptr(ebx, 0x10));
                  a.inc(esi);
                  a.add(ebx, kStride * kPageSize);
                  a.jnz(top);
                  a.hlt();
                }));
  machine.State().eip = guest::kLowCode;
  const uint8_t* ram = machine.Physical().Flat(GuestPhysical(0));
  const Bytes before(ram, ram + kEnd);
  const Canaries canaries(machine);
  const Outcome out = machine.Run();
  CHECK(out.gpr[kEdi] == 0xFFFF'FFFF);
  CHECK(out.gpr[kEsi] == ((1u << 20) - (kEnd >> kPageShift)) / kStride);
  CHECK(std::memcmp(before.data(), ram, kEnd) == 0);
  CHECK(canaries.Untouched());
  CheckGuards(machine);
}

namespace {

constexpr uint32_t kStep = 16, kTargets = 3000;

/// Random addresses, and the low halves of addresses that mean something to the host.
std::vector<uint32_t> JumpTargets(TestMachine& m) {
  std::mt19937 random(20);
  std::vector<uint32_t> targets = {0xFFFF'FFF0, 0xFFFF'FFFF, 0x7FFF'FFFF, 0x8000'0000};
  const auto near = [&](const void* address) {
    for (uint64_t i = 0; i < 32; ++i) targets.push_back(static_cast<uint32_t>(reinterpret_cast<uint64_t>(address) + i));
  };
  const uint8_t* cache = m.GetTranslator().Cache().Base();
  for (uint32_t at = 0; at < Stubs::kBytes; at += 64) near(cache + at);
  near(cache + m.GetTranslator().Cache().Bytes() - 32);
  near(&m.GetVcpu());
  near(reinterpret_cast<const void*>(&std::memcpy));
  near(&random);  // the host's stack
  near(m.Physical().Flat(GuestPhysical(0)));
  std::erase_if(targets, IsOwn);
  while (targets.size() < kTargets) {
    if (const uint32_t target = static_cast<uint32_t>(random()); !IsOwn(target)) targets.push_back(target);
  }
  return targets;
}

}  // namespace

TEST_CASE("jumps to any address execute what the guest has there") {
  for (const MachineKind& kind : MachineKinds()) {
    if (kind.options.interpreter) continue;
    TestMachine machine(kind.options);
    for (unsigned cpl : {3u, 0u}) {
      // Everywhere the same: fifteen times INC ECX, then RET; so ECX tells where the calls went.
      Bytes frame(kLargeBytes, 0x41);
      for (uint32_t at = kStep - 1; at < kLargeBytes; at += kStep) frame[at] = 0xC3;
      EnterRing(machine, cpl, Assemble(guest::kCode, [](Assembler& a) {
                  Label top = a.newLabel();
                  a.xor_(ecx, ecx);
                  a.bind(top);
                  a.call(dword_ptr(esi));
                  a.add(esi, 4);
                  a.cmp(esi, edi);
                  a.jne(top);
                  a.int3();
                }));
      machine.Write(kOddFrame, frame);
      SetLargePages(machine, kOddFrame, kOddFrame);
      const std::vector<uint32_t> targets = JumpTargets(machine);
      uint32_t expected = 0;
      for (uint32_t target : targets) expected += kStep - 1 - target % kStep;
      machine.Write(guest::kDataFrames, {reinterpret_cast<const uint8_t*>(targets.data()), 4 * targets.size()});
      machine.Reg(kEsi) = guest::kData;
      machine.Reg(kEdi) = guest::kData + static_cast<uint32_t>(4 * targets.size());
      const Canaries canaries(machine);
      const Outcome out = machine.Run();
      INFO(kind.name);
      CHECK(out.vector == 3u);
      CHECK(out.gpr[kEcx] == expected);
      CHECK(canaries.Untouched());
    }
  }
}

TEST_CASE("jumps to where nothing is fault there") {
  std::mt19937 random(21);
  std::vector<Scenario> scenarios;
  const uint64_t host = reinterpret_cast<uint64_t>(&random);
  for (uint32_t i = 0; i < 24; ++i) {
    uint32_t target = i ? static_cast<uint32_t>(random()) : static_cast<uint32_t>(host);
    if (IsOwn(target)) target ^= 0x8000'0000;
    for (unsigned cpl : {3u, 0u}) {
      scenarios.push_back({"jump",
                           [=](TestMachine& m) {
                             const uint8_t modrm = i % 2 ? 0xE0 : 0xD0;  // jmp eax, call eax
                             EnterRing(m, cpl, {0xFF, modrm, 0xCC});
                             m.Reg(kEax) = target;
                           },
                           [=](TestMachine&, const Outcome& o) {
                             CHECK(o.vector == 14u);
                             CHECK(o.cr2 == target);
                             CHECK(o.eip == target);
                             CHECK(o.error_code == (cpl == 3 ? 4u : 0u));
                           }});
    }
  }
  RunEverywhere(scenarios);
}

TEST_CASE("EIP and instructions wrap at 4 GiB") {
  // From the last page into the first: INC EBX up to the end, and MOV EAX, imm32 across it.
  constexpr uint32_t kTopFrame = 0x20'0000, kBottomFrame = 0x20'1000, kStart = 0xFFFF'FFF0;
  std::vector<Scenario> scenarios;
  for (unsigned cpl : {3u, 0u}) {
    scenarios.push_back({"wrap",
                         [=](TestMachine& m) {
                           EnterRing(m, cpl, {0xCC});
                           Bytes top(16, 0x43);  // inc ebx
                           top[15] = 0x90;
                           m.Write(kTopFrame + kPageSize - 16, top);
                           m.Write(kBottomFrame, Bytes{0x43, 0xB8, 0x44, 0x33, 0x22, 0x11, 0xCC});
                           m.Map(0xFFFF'F000, kTopFrame, kOpenPage);
                           m.Map(0, kBottomFrame, kOpenPage);
                           m.State().eip = kStart;
                           m.Reg(kEbx) = 0;
                         },
                         [](TestMachine& m, const Outcome& o) {
                           m.Unmap(0xFFFF'F000);
                           CHECK(o.vector == 3u);
                           CHECK(o.eip == 7);
                           CHECK(o.gpr[kEbx] == 16);
                           CHECK(o.gpr[kEax] == 0x1122'3344);
                         }});
  }
  RunEverywhere(scenarios);
}

TEST_CASE("a stale translation is the old one or the new one, and after INVLPG the new one") {
  constexpr uint32_t kLinear = 0x6000'0000, kOldFrame = 0x20'0000, kNewFrame = 0x20'1000;
  for (const MachineKind& kind : MachineKinds()) {
    TestMachine machine(kind.options);
    const uint32_t entry = machine.EntryAddress(kLinear);
    EnterRing(machine, 0, Assemble(guest::kCode, [=](Assembler& a) {
                a.mov(eax, ptr(uint64_t{kLinear}));
                a.mov(dword_ptr(uint64_t{entry}), kNewFrame | kOpenPage);
                a.mov(ebx, ptr(uint64_t{kLinear}));
                a.invlpg(ptr(uint64_t{kLinear}));
                a.mov(ecx, ptr(uint64_t{kLinear}));
                a.mov(dword_ptr(uint64_t{entry}), kOldFrame | kOpenPage);
                a.mov(edx, cr3);
                a.mov(cr3, edx);
                a.mov(edx, ptr(uint64_t{kLinear}));
                a.int3();
              }));
    machine.Set<uint32_t>(kOldFrame, 1);
    machine.Set<uint32_t>(kNewFrame, 2);
    machine.Map(kLinear, kOldFrame, kOpenPage);
    const Outcome out = machine.Run();
    INFO(kind.name);
    CHECK(out.gpr[kEax] == 1);
    CHECK((out.gpr[kEbx] == 1 || out.gpr[kEbx] == 2));
    CHECK(out.gpr[kEcx] == 2);
    CHECK(out.gpr[kEdx] == 1);
  }
}
