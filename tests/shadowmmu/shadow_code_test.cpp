// Pages that hold translated code, fetches, and the budget of host mappings.
#include <catch2/catch.hpp>

#include "tests/shadowmmu/shadow_machine.h"

namespace ring3 {
namespace {

constexpr uint64_t kUserPage = kP | kRw | kUs | kA | kD;
constexpr auto kMapped = FillOutcome::kMapped;

TEST_CASE("Protecting a physical page reaches every alias in every window") {
  Machine m;
  const uint32_t other = m.tables.NewSpace();
  m.tables.SetPte(other, 0x700000, 0x201000 | kUserPage);
  for (uint32_t i = 0; i < 3; ++i) m.tables.SetPte(m.cr3, 0x400000 + i * 4096, (0x200000 + i * 4096) | kUserPage);
  m.tables.SetPte(m.cr3, 0x500000, 0x201000 | kUserPage);
  m.Load(other);
  m.Read(0x700000, true);
  const WindowId window_other = m.mmu.Current(true);
  m.Load(m.cr3);
  m.Read(0x400000, true);
  m.Read(0x500000, true);
  m.Read(0x400000, false);
  m.Taken();

  m.mmu.ProtectPage(GuestPhysical(0x201000));
  const Pages run =
      Run(0x400000, 0x200000, 1, true) + Run(0x401000, 0x201000, 1, false) + Run(0x402000, 0x202000, 1, true);
  CHECK(m.Mapped(false) == run);
  CHECK(m.Mapped(true) == run + Run(0x500000, 0x201000, 1, false));
  CHECK(HostPages(m.mmu, window_other) == Run(0x700000, 0x201000, 1, false));
  CHECK(m.Taken().empty());  // code in the page may still be entered
  CHECK_FALSE(CanWrite(m.At(0x401000, true)));

  const FillResult write = m.Write(0x401234, true);
  CHECK(write.outcome == FillOutcome::kCodeWrite);
  CHECK(write.linear == GuestLinear(0x401234));
  CHECK(write.physical == GuestPhysical(0x201234));
  CHECK(m.Mapped(true) == run + Run(0x500000, 0x201000, 1, false));

  m.mmu.UnprotectPage(GuestPhysical(0x201000));
  CHECK(m.Write(0x401234, true).outcome == kMapped);
  CHECK(m.Mapped(true) == Run(0x400000, 0x200000, 3, true) + Run(0x500000, 0x201000, 1, false));
  CHECK(m.Write(0x500000, true).outcome == kMapped);
  CHECK(m.Mapped(true) == Run(0x400000, 0x200000, 3, true) + Run(0x500000, 0x201000, 1, true));
  CHECK(m.mmu.Stats().protections == 1);
  CHECK(m.mmu.Stats().unprotections == 1);
}

TEST_CASE("A protected page is filled read-only, inside large pages too") {
  Machine m(true);
  m.mmu.ProtectPage(GuestPhysical(0x405000));
  m.mmu.ProtectPage(GuestPhysical(0x406000));
  m.tables.SetPde(m.cr3, 0x800000, 0x400000 | kUserPage | kPs);
  CHECK(m.Write(0x800000).outcome == kMapped);
  CHECK(m.Mapped() == Run(0x800000, 0x400000, 5, true));
  CHECK(m.Read(0x805000).outcome == kMapped);
  CHECK(m.Write(0x806000).outcome == FillOutcome::kCodeWrite);
  CHECK(m.Write(0x900000).outcome == kMapped);
  CHECK(m.Mapped() ==
        Run(0x800000, 0x400000, 5, true) + Run(0x805000, 0x405000, 2, false) + Run(0x807000, 0x407000, 505, true));
}

TEST_CASE("A store to protected code that the guest may not make is the guest's page fault") {
  Machine m;
  m.tables.SetPte(m.cr3, 0x400000, 0x200000 | kP | kUs);
  m.mmu.ProtectPage(GuestPhysical(0x200000));
  CHECK(m.Write(0x400000, true).outcome == FillOutcome::kGuestFault);
}

TEST_CASE("Protecting addresses that are not RAM is harmless") {
  Machine m;
  m.mmu.ProtectPage(GuestPhysical(0xFFFFF000));
  m.mmu.UnprotectPage(GuestPhysical(0xFFFFF000));
  m.mmu.UnprotectPage(GuestPhysical(0x200000));
  CHECK(m.mmu.Stats().protections == 0);
  CHECK(m.mmu.Stats().unprotections == 0);
}

TEST_CASE("PrepareFetch tracks the page, and its drop is announced") {
  for (const bool mapped : {false, true}) {
    ShadowMmuOptions options;
    if (mapped) options.fast_paths = options.fast_paths.Without(FastPath::kUnmappedCode);
    Machine m(false, options);
    m.tables.SetPte(m.cr3, 0x400000, 0x200000 | kP | kUs);
    const FillResult fetch = m.Fetch(0x400123, true);
    CHECK(fetch.outcome == kMapped);
    CHECK(fetch.physical == GuestPhysical(0x200123));
    CHECK(m.tables.Pte(m.cr3, 0x400000) == (0x200000 | kP | kUs | kA));
    CHECK(m.Mapped(true) == (mapped ? Run(0x400000, 0x200000, 1, false) : Run(0, 0, 0, false)));
    const ShadowMmuStats before = m.mmu.Stats();
    CHECK(m.Fetch(0x400456, true).physical == GuestPhysical(0x200456));
    CHECK(m.mmu.Stats().fills + m.mmu.Stats().fetched_pages == before.fills + before.fetched_pages);

    m.tables.SetPte(m.cr3, 0x400000, 0x300000 | kP | kUs);
    m.Load(m.cr3);
    CHECK(m.Taken() == Notices{{m.mmu.Current(true), 0x400000, 1}});
    CHECK(m.Fetch(0x400123, true).physical == GuestPhysical(0x300123));
    m.mmu.CheckInvariants();
  }
}

TEST_CASE("a program's code takes no host mapping before it is read, and then one with its neighbours") {
  Machine m;
  for (uint32_t i = 0; i < 3; ++i)
    m.tables.SetPte(m.cr3, 0x400000 + i * kPageSize, 0x200000 + i * kPageSize + kUserPage);
  m.tables.SetPte(m.cr3, 0x402000, 0x302000 | kUserPage);
  REQUIRE(m.Fetch(0x400000, true).outcome == kMapped);
  REQUIRE(m.Fetch(0x401000, true).outcome == kMapped);
  REQUIRE(m.Fetch(0x402000, true).outcome == kMapped);
  CHECK(m.Mapped(true).empty());
  m.tables.SetPte(m.cr3, 0x402000, 0x202000 | kUserPage | kA);  // not flushed yet

  REQUIRE(m.Read(0x400000, true).outcome == kMapped);
  m.mmu.CheckInvariants();
  CHECK(m.Mapped(true) == Run(0x400000, 0x200000, 2, true));
  CHECK(m.Taken().empty());
  CHECK(m.Fetch(0x401008, true).physical == GuestPhysical(0x201008));

  m.Load(m.cr3);
  m.mmu.CheckInvariants();
  CHECK(m.Taken() == Notices{{m.mmu.Current(true), 0x402000, 1}});
  CHECK(m.Mapped(true) == Run(0x400000, 0x200000, 2, true));
}

TEST_CASE("PrepareFetch obeys U/S, NX and presence, and sends code outside RAM to emulation") {
  Machine m(true);
  m.tables.SetPte(m.cr3, 0x400000, 0x200000 | kUserPage | kNx);
  m.tables.SetPte(m.cr3, 0x401000, 0x280000 | kP);
  m.tables.SetPte(m.cr3, 0x402000, 0xA0000 | kP);
  CHECK(m.Read(0x400000, true).outcome == kMapped);
  const FillResult nx = m.Fetch(0x400008, true);
  CHECK(nx.outcome == FillOutcome::kGuestFault);
  CHECK(nx.error_code == (pferr::kPresent | pferr::kUser | pferr::kFetch));
  CHECK(nx.linear == GuestLinear(0x400008));
  CHECK(m.Fetch(0x401000, true).error_code == (pferr::kPresent | pferr::kUser | pferr::kFetch));
  CHECK(m.Fetch(0x401000, false).outcome == kMapped);
  CHECK(m.mmu.PrepareFetch(m.mmu.Current(false), GuestLinear(0x401000), true).outcome == FillOutcome::kGuestFault);
  CHECK(m.Fetch(0x402000, false).outcome == FillOutcome::kEmulate);
  CHECK(m.Fetch(0x403000, false).error_code == pferr::kFetch);

  m.tables.SetPte(m.cr3, 0x400000, 0x200000 | kUserPage);  // NX lifted; no flush is needed to see it
  CHECK(m.Fetch(0x400008, true).outcome == kMapped);
  CHECK(m.Write(0x400008, true).outcome == kMapped);
  CHECK(m.Mapped(true) == Run(0x400000, 0x200000, 1, true));
}

TEST_CASE("Windows are emptied before the budget is passed, the needed one last") {
  ShadowMmuOptions options;
  options.user_windows = 3;
  options.vma_budget = 41;
  Machine m(false, options);
  const auto fill = [&](uint32_t from, uint32_t to, bool user) {
    for (uint32_t i = from; i < to; ++i) {  // every second page: one more mapping and one more gap each
      REQUIRE(m.Read(0x400000 + i * 0x2000, user).outcome == kMapped);
      m.mmu.CheckInvariants();
      const HostAddress first = m.mmu.Base(0) - ShadowMmu::kGuardBelow;
      REQUIRE(HostMappingCount(first, m.mmu.Base(3) + ShadowMmu::kGuardAbove) <= options.vma_budget);
      REQUIRE(CanRead(m.At(0x400000 + i * 0x2000, user)));
    }
  };
  const uint32_t a = m.cr3, b = m.tables.NewSpace();
  for (const uint32_t space : {a, b}) {
    for (uint32_t i = 0; i < 40; ++i) m.tables.SetPte(space, 0x400000 + i * 0x2000, 0x200000 | kUserPage);
  }
  fill(0, 8, true);
  const WindowId window_a = m.mmu.Current(true);
  m.Load(b);
  fill(0, 8, true);
  const WindowId window_b = m.mmu.Current(true);
  m.Taken();
  fill(0, 4, false);
  CHECK(m.Taken().empty());
  fill(4, 8, false);
  CHECK(m.Taken() == Notices{{window_a, 0, 0}});
  CHECK(m.Mapped(true).size() == 8);
  fill(8, 14, false);
  CHECK(m.Taken() == Notices{{window_b, 0, 0}});
  CHECK(m.Mapped(false).size() == 14);
  fill(14, 21, false);
  CHECK(m.Taken() == Notices{{0, 0, 0}});
  CHECK(m.Mapped(false).size() == 1);
  CHECK(m.mmu.Stats().budget_evictions == 3);
}

TEST_CASE("Protecting a page keeps to the budget too") {
  ShadowMmuOptions options;
  options.vma_budget = 12;
  Machine m(false, options);
  for (uint32_t i = 0; i < 16; ++i) m.tables.SetPte(m.cr3, 0x400000 + i * 4096, (0x200000 + i * 4096) | kUserPage);
  m.Read(0x400000, true);
  for (uint32_t i = 1; i < 16; i += 2) {
    m.mmu.ProtectPage(GuestPhysical(0x200000 + i * 4096));
    const Pages pages = m.Mapped(true);
    for (const HostPage& page : pages) {
      const uint32_t number = page.linear >> 12 & 15;
      CHECK(page.writable == !(number % 2 == 1 && number <= i));
    }
    CHECK(HostMappingCount(m.At(0, true), m.At(0, true) + (4ull << 30)) <= options.vma_budget);
  }
  CHECK(m.Write(0x40F000, true).outcome == FillOutcome::kCodeWrite);
}

}  // namespace
}  // namespace ring3
