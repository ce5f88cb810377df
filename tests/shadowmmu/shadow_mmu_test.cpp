// Filling windows: which pages are mapped, with which rights, and what faults answer.
#include "shadowmmu/shadow_mmu.h"

#include <signal.h>
#include <ucontext.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <cstring>

#include "monitor/cpu/fault.h"
#include "tests/shadowmmu/shadow_machine.h"

namespace ring3 {
namespace {

constexpr uint64_t kUserRw = kP | kRw | kUs, kSeen = kUserRw | kA, kWritten = kUserRw | kA | kD;

TEST_CASE("A page is mapped read-only by a read, and writable by the write that sets D") {
  for (const bool pae : {false, true}) {
    Machine m(pae);
    m.tables.SetPte(m.cr3, 0x400000, 0x200000 | kUserRw);
    for (const bool user : {false, true}) {
      CHECK(m.Mapped(user).empty());
      const FillResult read = m.Read(0x400123, user);
      CHECK(read.outcome == FillOutcome::kMapped);
      CHECK(read.linear == GuestLinear(0x400123));
      CHECK(m.tables.Pte(m.cr3, 0x400000) == (0x200000 | kSeen));
      CHECK(m.Mapped(user) == Run(0x400000, 0x200000, 1, false));
      CHECK(CanRead(m.At(0x400000, user)));
      CHECK_FALSE(CanWrite(m.At(0x400000, user)));
      CHECK(m.Write(0x400FFF, user).outcome == FillOutcome::kMapped);
      CHECK(m.tables.Pte(m.cr3, 0x400000) == (0x200000 | kWritten));
      CHECK(m.Mapped(user) == Run(0x400000, 0x200000, 1, true));
      CHECK(CanWrite(m.At(0x400FFF, user)));
      m.tables.SetPte(m.cr3, 0x400000, 0x200000 | kUserRw);
      m.Invalidate(0x400000);
      CHECK(m.Mapped(false).empty());
      CHECK(m.Mapped(true).empty());
    }
    CHECK(m.mmu.Stats().dirty_upgrades == 2);
    CHECK(m.mmu.Stats().fills == 4);
  }
}

TEST_CASE("Neighbours are mapped with the page as long as nothing shows") {
  Machine m;
  for (uint32_t i = 0; i < 16; ++i) {
    m.tables.SetPte(m.cr3, 0x400000 + i * kPageSize, (0x200000 + i * kPageSize) | kWritten);
  }
  m.tables.SetPte(m.cr3, 0x402000, 0x202000 | kUserRw);             // not accessed
  m.tables.SetPte(m.cr3, 0x408000, 0x208000 | kSeen);               // not dirty: would be read-only
  m.tables.SetPte(m.cr3, 0x40C000, 0x300000 | kWritten);            // elsewhere
  m.tables.SetPte(m.cr3, 0x40F000, 0x20F000 | kP | kUs | kA | kD);  // not writable
  CHECK(m.Write(0x405000, true).outcome == FillOutcome::kMapped);
  CHECK(m.Mapped(true) == Run(0x403000, 0x203000, 5, true));
  CHECK(m.Read(0x40A000, true).outcome == FillOutcome::kMapped);
  CHECK(m.Read(0x401000, true).outcome == FillOutcome::kMapped);
  CHECK(m.Read(0x40D000, true).outcome == FillOutcome::kMapped);
  const Pages expected = Run(0x400000, 0x200000, 2, true) + Run(0x403000, 0x203000, 5, true) +
                         Run(0x409000, 0x209000, 3, true) + Run(0x40D000, 0x20D000, 2, true);
  CHECK(m.Mapped(true) == expected);
  CHECK(m.tables.Pte(m.cr3, 0x402000) == (0x202000 | kUserRw));
  CHECK(m.tables.Pte(m.cr3, 0x408000) == (0x208000 | kSeen));
  CHECK(m.Read(0x402000, true).outcome == FillOutcome::kMapped);
  CHECK(m.Mapped(true) == expected + Run(0x402000, 0x202000, 1, false));
}

TEST_CASE("Refused accesses give the guest's page fault and map nothing") {
  Machine m;
  m.tables.SetPte(m.cr3, 0x400000, 0x200000 | kP | kRw);  // supervisor
  m.tables.SetPte(m.cr3, 0x401000, 0x300000 | kP | kUs);  // read-only
  const FillResult user = m.Read(0x400004, true);
  CHECK(user.outcome == FillOutcome::kGuestFault);
  CHECK(user.error_code == (pferr::kPresent | pferr::kUser));
  CHECK(user.linear == GuestLinear(0x400004));
  CHECK(m.Write(0x401000).error_code == (pferr::kPresent | pferr::kWrite));
  CHECK(m.Write(0x402000, true).error_code == (pferr::kWrite | pferr::kUser));
  CHECK(m.Read(0x900000).error_code == 0);
  CHECK(m.Mapped(false).empty());
  CHECK(m.Mapped(true).empty());
  CHECK(m.tables.Pte(m.cr3, 0x400000) == (0x200000 | kP | kRw));

  CHECK(m.Read(0x401000, true).outcome == FillOutcome::kMapped);
  CHECK(m.Write(0x401000, true).outcome == FillOutcome::kGuestFault);
  CHECK(m.Mapped(true) == Run(0x401000, 0x300000, 1, false));  // still right, so still there
}

TEST_CASE("Supervisor pages next to user pages stay out of the user window") {
  Machine m;
  m.tables.SetPte(m.cr3, 0x400000, 0x200000 | kWritten);
  m.tables.SetPte(m.cr3, 0x401000, 0x201000 | kP | kRw | kA | kD);
  m.Read(0x400000, true);
  m.Read(0x400000, false);
  CHECK(m.Mapped(true) == Run(0x400000, 0x200000, 1, true));
  CHECK(m.Mapped(false) == Run(0x400000, 0x200000, 2, true));
}

TEST_CASE("A large page is mapped 2 MiB at a time and follows its one D bit") {
  for (const bool pae : {false, true}) {
    Machine m(pae);
    m.tables.SetPde(m.cr3, 0x800000, 0x400000 | kUserRw | kPs);
    CHECK(m.Read(0x8FF123).outcome == FillOutcome::kMapped);
    CHECK(m.Mapped() == Run(0x800000, 0x400000, 512, false));
    CHECK(m.tables.Pde(m.cr3, 0x800000) == (0x400000 | kSeen | kPs));
    CHECK(m.Write(0x801000).outcome == FillOutcome::kMapped);
    CHECK(m.Mapped() == Run(0x800000, 0x400000, 512, true));
    CHECK(m.tables.Pde(m.cr3, 0x800000) == (0x400000 | kWritten | kPs));
    if (!pae) {
      CHECK(m.Read(0xA00000).outcome == FillOutcome::kMapped);
      CHECK(m.Mapped() == Run(0x800000, 0x400000, 1024, true));
    }
    m.tables.SetPde(m.cr3, 0x800000, 0);
    m.Invalidate(0x812345);
    CHECK(m.Mapped().empty());
    CHECK(m.Taken() == Notices{{0, 0x800000, pae ? 512u : 1024u}});
  }
}

TEST_CASE("With paging off windows show physical memory, holes and ROM as they are") {
  Machine m;
  m.memory.SetKind(GuestPhysical(0xF0000), 0x10000, PageKind::kRom);
  m.paging = PagingState{};
  m.mmu.SetPaging(m.paging);
  CHECK(m.Write(0x7C00).outcome == FillOutcome::kMapped);
  CHECK(m.Mapped() == Run(0, 0, 0xA0, true));
  const FillResult vga = m.Write(0xB8000);
  CHECK(vga.outcome == FillOutcome::kEmulate);
  CHECK(vga.physical == GuestPhysical(0xB8000));
  CHECK(m.Write(0xF0010).outcome == FillOutcome::kEmulate);
  CHECK(m.Read(0xFFFF0).outcome == FillOutcome::kMapped);
  CHECK(m.Write(0xFFFF0).outcome == FillOutcome::kEmulate);
  CHECK(m.Read(0xFFFFFFF0).outcome == FillOutcome::kEmulate);
  CHECK(m.Mapped() == Run(0, 0, 0xA0, true) + Run(0xF0000, 0xF0000, 0x10, false));
  CHECK(m.Read(0x100000, true).outcome == FillOutcome::kMapped);
  CHECK(m.Mapped(true) == Run(0x100000, 0x100000, 0x100, true));

  m.paging.a20_enabled = false;
  m.mmu.SetPaging(m.paging);
  CHECK(m.Mapped().empty());
  CHECK(m.Read(0x100000).outcome == FillOutcome::kMapped);
  CHECK(m.Mapped() == Run(0x100000, 0, 0xA0, true));
}

TEST_CASE("A change of a page's kind reaches its mappings") {
  Machine m;
  m.tables.SetPte(m.cr3, 0x400000, 0x200000 | kWritten);
  m.tables.SetPte(m.cr3, 0x500000, 0x200000 | kWritten);
  m.Read(0x400000, true);
  m.Read(0x500000, false);
  m.Taken();
  m.memory.SetKind(GuestPhysical(0x200000), kPageSize, PageKind::kRom);
  CHECK(m.Taken().size() == 2);
  CHECK(m.Mapped(true).empty());
  CHECK(m.Mapped(false).empty());
  CHECK(m.Write(0x400000, true).outcome == FillOutcome::kEmulate);
  CHECK(m.Read(0x400000, true).outcome == FillOutcome::kMapped);
  CHECK(m.Mapped(true) == Run(0x400000, 0x200000, 1, false));
}

TEST_CASE("Addresses outside a window's 4 GiB are never the guest's") {
  Machine m;
  m.tables.SetPte(m.cr3, 0, 0x200000 | kWritten);
  m.tables.SetPte(m.cr3, 0xFFFFF000, 0x201000 | kWritten);
  constexpr uint64_t kWindow = 4ull << 30;
  for (const bool user : {false, true}) {
    const HostAddress base = m.At(0, user);
    CHECK(base.value % kWindow == 0);
    CHECK(m.Read(0, user).outcome == FillOutcome::kMapped);
    CHECK(m.Read(0xFFFFFFFF, user).outcome == FillOutcome::kMapped);
    for (const HostAddress outside :
         {base - 1, base + kWindow, base - ShadowMmu::kGuardBelow, base + (ShadowMmu::kGuardAbove - 1)}) {
      CHECK(m.mmu.Owner(outside) == m.mmu.Current(user));
      CHECK(m.mmu.HandleFault(outside, true).outcome == FillOutcome::kEmulate);
      CHECK_FALSE(CanRead(outside));
    }
    CHECK(AllInaccessible(base - ShadowMmu::kGuardBelow, base));
    CHECK(AllInaccessible(base + kWindow, base + ShadowMmu::kGuardAbove));
    CHECK(m.Mapped(user) == Run(0, 0x200000, 1, true) + Run(0xFFFFF000, 0x201000, 1, true));
  }
  int local = 0;
  const HostAddress stack(reinterpret_cast<uint64_t>(&local));
  CHECK_FALSE(m.mmu.Owner(stack));
  CHECK(m.mmu.HandleFault(stack, false).outcome == FillOutcome::kNotGuest);
  CHECK(m.mmu.HandleFault(HostAddress(0), false).outcome == FillOutcome::kNotGuest);
}

TEST_CASE("Nothing of a window is executable for the host, and no window before its first fault accessible") {
  ShadowMmuOptions options;
  options.user_windows = 3;
  Machine m(false, options);
  const HostAddress first = m.mmu.Base(0) - ShadowMmu::kGuardBelow;
  const HostAddress end = m.mmu.Base(3) + ShadowMmu::kGuardAbove;
  CHECK(AllInaccessible(first, end));
  CHECK(m.mmu.Owner(end - 1) == WindowId{3});
  CHECK_FALSE(m.mmu.Owner(end));
  CHECK_THROWS_AS(ShadowMmu(m.memory, ShadowMmuOptions{0, 60000}), UsageError);
  CHECK_THROWS_AS(ShadowMmu(m.memory, ShadowMmuOptions{255, 60000}), UsageError);
}

ShadowMmu* faulting_mmu = nullptr;
unsigned signals = 0;

void OnSegv(int, siginfo_t* info, void* context) {
  constexpr uint64_t kWriteFault = 2;
  const auto* state = static_cast<const ucontext_t*>(context);
  const bool write = state->uc_mcontext.gregs[REG_ERR] & kWriteFault;
  const HostAddress address(reinterpret_cast<uint64_t>(info->si_addr));
  ++signals;
  if (faulting_mmu->HandleFault(address, write).outcome != FillOutcome::kMapped) std::abort();
}

TEST_CASE("Loads and stores through a window reach guest RAM, by way of a signal handler") {
  Machine m;
  m.tables.SetPte(m.cr3, 0x400000, 0x200000 | kUserRw);
  m.tables.SetPte(m.cr3, 0x401000, 0x300000 | kUserRw);
  faulting_mmu = &m.mmu;
  signals = 0;
  struct sigaction action = {}, old;
  action.sa_sigaction = OnSegv;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  sigaction(SIGSEGV, &action, &old);
  auto* crossing = reinterpret_cast<volatile uint8_t*>(m.At(0x400FFE, true).value);
  const uint8_t before = crossing[0];
  for (unsigned i = 0; i < 4; ++i) crossing[i] = static_cast<uint8_t>(0xA0 + i);
  const uint8_t after = crossing[3];
  sigaction(SIGSEGV, &old, nullptr);
  CHECK(before == 0);
  CHECK(after == 0xA3);
  CHECK(signals == 3);  // read, write to the same page, write to the next
  CHECK(m.memory.Flat(GuestPhysical(0x200FFF))[0] == 0xA1);
  CHECK(m.memory.Flat(GuestPhysical(0x300000))[0] == 0xA2);
  CHECK(m.Mapped(true) == Run(0x400000, 0x200000, 1, true) + Run(0x401000, 0x300000, 1, true));
}

TEST_CASE("ROM below 4 GiB is mapped like RAM that cannot be written to, with paging and without") {
  constexpr uint64_t kRom = 0x1'0000'0000 - PhysicalMemory::kMaxRom;
  Machine m(false, {}, PhysicalMemory::kMaxRom);
  std::memset(m.memory.Flat(GuestPhysical(kRom)), 0x5A, PhysicalMemory::kMaxRom);
  const auto byte = [&](uint32_t linear) { return *reinterpret_cast<const uint8_t*>(m.At(linear, false).value); };

  m.tables.SetPte(m.cr3, 0x400000, 0xFFFF'F000 | kUserRw);
  CHECK(m.Read(0x400123).outcome == FillOutcome::kMapped);
  CHECK(m.Mapped() == Run(0x400000, 0xFFFF'F000, 1, false));
  CHECK(byte(0x400FFF) == 0x5A);
  const FillResult fetch = m.Fetch(0x400456);
  CHECK(fetch.outcome == FillOutcome::kMapped);
  CHECK(fetch.physical == GuestPhysical(0xFFFF'F456));
  CHECK(m.Write(0x400123).outcome == FillOutcome::kEmulate);
  CHECK(m.tables.Pte(m.cr3, 0x400000) == (0xFFFF'F000 | kWritten));

  m.paging = {};
  m.mmu.SetPaging(m.paging);
  CHECK(m.Fetch(0xFFFF'FFF0).outcome == FillOutcome::kMapped);
  CHECK(m.Mapped() == Run(kRom, kRom, PhysicalMemory::kMaxRom / kPageSize, false));
  CHECK(m.Write(0xFFFF'FFF0).outcome == FillOutcome::kEmulate);
  CHECK(m.Read(kRom - 1).outcome == FillOutcome::kEmulate);  // nothing lies there
  m.mmu.ProtectPage(GuestPhysical(0xFFFF'F000));
  CHECK(m.Read(0xFFFF'FFF0).outcome == FillOutcome::kMapped);
}

TEST_CASE("Page tables in ROM translate, though A and D cannot be set there") {
  Machine m(false, {}, PhysicalMemory::kMaxRom);
  const uint32_t pte = 0x200000 | kUserRw, pde = 0xFFFF'F000 | kUserRw;
  std::memcpy(m.memory.Flat(GuestPhysical(0xFFFF'F004)), &pte, sizeof pte);
  m.tables.SetPde(m.cr3, 0x400000, pde);
  for (const bool write : {false, true}) {
    CHECK((write ? m.Write(0x401000) : m.Read(0x401000)).outcome == FillOutcome::kMapped);
    CHECK(Walk(m.memory, m.paging, GuestLinear(0x401000), {write ? AccessType::kWrite : AccessType::kRead}).ok);
    uint32_t now = 0;
    std::memcpy(&now, m.memory.Flat(GuestPhysical(0xFFFF'F004)), sizeof now);
    CHECK(now == pte);
  }
  CHECK(m.tables.Pde(m.cr3, 0x400000) == (pde | kA));
}

TEST_CASE("Backed memory is mapped like RAM, and its mappings go when it moves") {
  constexpr uint32_t kBytes = 64u << 10, kFirst = 0xE000'0000, kSecond = 0xE800'0000;
  Machine m(false, {}, 0, kBytes);
  BackedMemory& screen = m.memory.AddBacked(kBytes);
  m.paging = {};
  m.mmu.SetPaging(m.paging);
  CHECK(m.Write(kFirst).outcome == FillOutcome::kEmulate);
  REQUIRE(m.memory.AttachBacked(screen, GuestPhysical(kFirst)));
  CHECK(m.Write(kFirst + 0x123).outcome == FillOutcome::kMapped);
  CHECK(m.Mapped() == Run(kFirst, kFirst, kBytes / kPageSize, true));
  *reinterpret_cast<uint8_t*>(m.At(kFirst + 0x123, false).value) = 0x77;
  CHECK(screen.Data()[0x123] == 0x77);
  REQUIRE(m.memory.AttachBacked(screen, GuestPhysical(kSecond)));
  CHECK(m.Mapped().empty());
  CHECK(m.Read(kFirst).outcome == FillOutcome::kEmulate);
  CHECK(m.Read(kSecond).outcome == FillOutcome::kMapped);
  CHECK(*reinterpret_cast<uint8_t*>(m.At(kSecond + 0x123, false).value) == 0x77);
  m.memory.DetachBacked(screen);
  CHECK(m.Mapped().empty());
  CHECK(m.Read(kSecond).outcome == FillOutcome::kEmulate);
}

std::vector<uint64_t> Written(PhysicalMemory& memory, BackedMemory& backed) {
  std::vector<uint64_t> offsets;
  memory.TakeWritten(backed, [&](uint64_t offset) { offsets.push_back(offset); });
  return offsets;
}

TEST_CASE("Writes to tracked memory are noticed once between two looks, in every window") {
  constexpr uint32_t kBytes = 128u << 10, kCluster = 64u << 10, kFirst = 0xE000'0000, kPages = kBytes / kPageSize;
  Machine m(false, {}, 0, kBytes);
  BackedMemory& screen = m.memory.AddBacked(kBytes);
  m.memory.TrackWrites(screen);
  CHECK(Written(m.memory, screen).empty());
  REQUIRE(m.memory.AttachBacked(screen, GuestPhysical(kFirst)));
  CHECK(Written(m.memory, screen).size() == kPages);
  for (uint32_t page = 0; page < kPages; ++page) {
    m.tables.SetPte(m.cr3, 0x400000 + page * kPageSize, (kFirst + page * kPageSize) | kWritten);
  }
  // A read maps it without letting a write pass.
  CHECK(m.Read(0x400000, true).outcome == FillOutcome::kMapped);
  CHECK(m.Mapped(true) == Run(0x400000, kFirst, kPages, false));
  CHECK(m.Write(0x400000 + kCluster, true).outcome == FillOutcome::kMapped);
  CHECK(m.Mapped(true) ==
        Run(0x400000, kFirst, kPages / 2, false) + Run(0x400000 + kCluster, kFirst + kCluster, kPages / 2, true));
  CHECK(m.Write(0x400000 + kCluster, false).outcome == FillOutcome::kMapped);
  std::vector<uint64_t> written = Written(m.memory, screen);
  REQUIRE(written.size() == kPages / 2);
  CHECK(written.front() == kCluster);
  // Looking closes them again.
  for (const bool user : {false, true}) {
    for (const HostPage& page : m.Mapped(user)) CHECK_FALSE(page.writable);
  }
  CHECK(Written(m.memory, screen).empty());
  // The monitor's own writes count.
  const uint8_t byte = 1;
  m.memory.Write(GuestPhysical(kFirst + 5), {&byte, 1});
  CHECK(Written(m.memory, screen).size() == kPages / 2);
  m.memory.DetachBacked(screen);
  m.memory.Write(GuestPhysical(kFirst + 5), {&byte, 1});
  CHECK(Written(m.memory, screen).empty());
}

TEST_CASE("Backed memory shown at a second place is mapped there too, until it is not") {
  constexpr uint32_t kBytes = 128u << 10, kFirst = 0xE000'0000, kAlias = 0xA0000, kShown = 64u << 10;
  Machine m(false, {}, 0, kBytes);
  BackedMemory& screen = m.memory.AddBacked(kBytes);
  m.memory.TrackWrites(screen);
  REQUIRE(m.memory.AttachBacked(screen, GuestPhysical(kFirst)));
  Written(m.memory, screen);
  m.paging = {};
  m.mmu.SetPaging(m.paging);
  CHECK(m.Write(0x9FFFC).outcome == FillOutcome::kMapped);  // the RAM before it
  CHECK(m.Write(kAlias + 4).outcome == FillOutcome::kEmulate);
  m.memory.ShowAlias(screen, 0x8000, GuestPhysical(kAlias), kShown);
  CHECK(m.Write(kAlias + 4).outcome == FillOutcome::kMapped);
  *reinterpret_cast<uint8_t*>(m.At(kAlias + 4, false).value) = 0x5A;
  CHECK(screen.Data()[0x8004] == 0x5A);
  CHECK(Written(m.memory, screen).size() == kBytes / kPageSize / 2);
  m.Mapped();  // and the records agree
  CHECK(m.Read(kFirst + 0x8004).outcome == FillOutcome::kMapped);
  CHECK(*reinterpret_cast<uint8_t*>(m.At(kFirst + 0x8004, false).value) == 0x5A);
  CHECK(m.Write(kAlias + kShown).outcome == FillOutcome::kEmulate);  // behind its end
  // A page table's entry may name the second place as well.
  m.paging = m.tables.State(m.cr3);
  m.mmu.SetPaging(m.paging);
  m.tables.SetPte(m.cr3, 0x400000, (kAlias + 0x1000) | kWritten);
  CHECK(m.Read(0x400000).physical == GuestPhysical(kFirst + 0x9000));
  SECTION("when it is ended") { m.memory.EndAlias(); }
  SECTION("when the memory moves") { CHECK(m.memory.AttachBacked(screen, GuestPhysical(0xE800'0000))); }
  SECTION("when RAM comes to light there") { m.memory.SetKind(GuestPhysical(kAlias), kShown, PageKind::kRam); }
  CHECK_FALSE(m.memory.HasAlias());
  for (const HostPage& page : m.Mapped()) CHECK(page.linear != 0x400000);
}

}  // namespace
}  // namespace ring3
