// Changes of the guest's tables and address spaces: what is dropped when, and what survives.
#include <catch2/catch.hpp>

#include "tests/shadowmmu/shadow_machine.h"

namespace ring3 {
namespace {

constexpr uint64_t kUserPage = kP | kRw | kUs | kA | kD, kKernelPage = kP | kRw | kA | kD;
constexpr uint32_t kKernel = 0xC0000000;
constexpr auto kMapped = FillOutcome::kMapped;

/// Address spaces A and B: one user page each at 0x400000, and kernel page tables in common.
struct TwoSpaces : Machine {
  explicit TwoSpaces(bool pae = false, ShadowMmuOptions options = {}) : Machine(pae, options) {
    for (uint32_t i = 0; i < 2; ++i) {  // far enough apart to be mapped one by one
      tables.SetPte(a, kKernel + i * 0x2000, (0x300000 + i * kPageSize) | kKernelPage);
    }
    tables.SetPde(b, kKernel, tables.Pde(a, kKernel));
    tables.SetPte(a, 0x400000, 0x200000 | kUserPage);
    tables.SetPte(b, 0x400000, 0x210000 | kUserPage);
  }
  const uint32_t a = cr3, b = tables.NewSpace();
};

TEST_CASE("INVLPG drops a changed page, alone, wherever the current address space shows it") {
  for (const bool pae : {false, true}) {
    Machine m(pae);
    for (uint32_t i = 0; i < 3; ++i) m.tables.SetPte(m.cr3, 0x400000 + i * 4096, (0x200000 + i * 4096) | kUserPage);
    m.Read(0x400000, true);
    m.Read(0x400000, false);
    for (uint32_t i = 0; i < 3; ++i) m.tables.SetPte(m.cr3, 0x400000 + i * 4096, (0x300000 + i * 4096) | kUserPage);
    CHECK(m.Mapped(true) == Run(0x400000, 0x200000, 3, true));
    m.Invalidate(0x401FFF);
    const Pages rest = Run(0x400000, 0x200000, 1, true) + Run(0x402000, 0x202000, 1, true);
    CHECK(m.Mapped(true) == rest);
    CHECK(m.Mapped(false) == rest);
    CHECK(m.Taken() == Notices{{0, 0x401000, 1}, {m.mmu.Current(true), 0x401000, 1}});
    CHECK(m.mmu.Stats().pages_dropped == 2);
    CHECK(m.Read(0x401000, true).outcome == kMapped);
    CHECK(m.Mapped(true) == rest + Run(0x401000, 0x301000, 1, true));
    m.Invalidate(0x401000);  // nothing changed since
    m.Invalidate(0x800000);  // nothing there
    CHECK(m.Taken().empty());
  }
}

TEST_CASE("Bits that change nothing drop nothing; A, D and rights taken away do") {
  Machine m;
  const uint64_t page = 0x200000 | kUserPage;
  const auto survives = [&](uint64_t first, uint64_t second) {
    m.tables.SetPte(m.cr3, 0x400000, first);
    m.Invalidate(0x400000);
    CHECK(m.Read(0x400000, true).outcome == kMapped);
    m.tables.SetPte(m.cr3, 0x400000, second);
    m.Invalidate(0x400000);
    const bool there = !m.Mapped(true).empty();
    m.tables.SetPte(m.cr3, 0x400000, 0);
    m.Invalidate(0x400000);
    return there;
  };
  CHECK(survives(page, page | 0xE00 | 0x18));  // available bits, PCD, PWT
  CHECK(survives(page & ~kD, page));
  CHECK_FALSE(survives(page, page & ~kD));
  CHECK_FALSE(survives(page, page & ~kA));
  CHECK_FALSE(survives(page, page & ~kRw));
  CHECK_FALSE(survives(page, page & ~kUs));
  CHECK_FALSE(survives(page, page & ~kP));
  CHECK_FALSE(survives(page, page | kG));
  CHECK_FALSE(survives(page & ~kD & ~kRw, page));  // more than D alone
}

TEST_CASE("D set through another alias of the entry leads to a writable mapping, not to a drop") {
  TwoSpaces m;
  m.tables.SetPte(m.a, 0x400000, 0x200000 | kP | kRw | kUs);
  CHECK(m.Read(0x400000, false).outcome == kMapped);
  CHECK(m.Write(0x400000, true).outcome == kMapped);
  m.Load(m.a);
  CHECK(m.Taken().empty());
  CHECK(m.Mapped(false) == Run(0x400000, 0x200000, 1, false));
  CHECK(m.Write(0x400000, false).outcome == kMapped);
  CHECK(m.Mapped(false) == Run(0x400000, 0x200000, 1, true));
}

TEST_CASE("An entry that changes and changes back between two comparisons of its table is seen") {
  for (const bool pae : {false, true}) {
    for (const FastPaths paths : {FastPaths(), FastPaths::None()}) {
      Machine m(pae, {.fast_paths = paths});
      const uint64_t first = 0x200000 | kP | kRw | kUs | kA, second = 0x210000 | kP | kRw | kUs | kA;
      m.tables.SetPte(m.cr3, 0x400000, first);
      m.tables.SetPte(m.cr3, 0x401000, second);
      m.Read(0x400000, true);
      m.Load(m.cr3);
      m.Load(m.cr3);
      CHECK(m.Mapped(true) == Run(0x400000, 0x200000, 1, false));

      m.tables.SetPte(m.cr3, 0x400000, first | kD);
      m.Invalidate(0x400000);  // follows
      m.tables.SetPte(m.cr3, 0x400000, first);
      m.Load(m.cr3);
      CHECK(m.Mapped(true).empty());

      m.Read(0x400000, true);
      m.Load(m.cr3);
      m.tables.SetPte(m.cr3, 0x401000, 0x220000 | kP | kRw | kUs | kA);
      m.Read(0x401000, true);
      CHECK(m.Mapped(true) == Run(0x400000, 0x200000, 1, false) + Run(0x401000, 0x220000, 1, false));
      m.tables.SetPte(m.cr3, 0x401000, second);
      m.Load(m.cr3);
      CHECK(m.Mapped(true) == Run(0x400000, 0x200000, 1, false));
    }
  }
}

TEST_CASE("Switching A, B, A keeps user windows and the shared kernel, and drops the rest") {
  for (const bool pae : {false, true}) {
    TwoSpaces m(pae);
    const Pages kernel = Run(kKernel, 0x300000, 1, true) + Run(kKernel + 0x2000, 0x301000, 1, true);
    const Pages user_a = Run(0x400000, 0x200000, 1, true), user_b = Run(0x400000, 0x210000, 1, true);
    m.Read(kKernel);
    m.Read(kKernel + 0x2000);
    m.Read(0x400000, false);
    m.Read(0x400000, true);
    CHECK(m.Mapped(false) == user_a + kernel);
    const WindowId window_a = m.mmu.Current(true);
    m.Load(m.b);
    const WindowId window_b = m.mmu.Current(true);
    CHECK(window_a != window_b);
    CHECK(m.Mapped(false) == kernel);
    CHECK(m.Mapped(true).empty());
    CHECK(HostPages(m.mmu, window_a) == user_a);
    CHECK(m.Taken() == Notices{{0, 0x400000, 1}});
    CHECK(m.mmu.HandleFault(m.mmu.Base(window_a) + 0x400000, true).outcome == FillOutcome::kEmulate);
    CHECK(m.Read(0x400000, true).outcome == kMapped);
    CHECK(m.Mapped(true) == user_b);

    m.Load(m.a);
    CHECK(m.mmu.Current(true) == window_a);
    CHECK(m.Mapped(true) == user_a);
    CHECK(HostPages(m.mmu, window_b) == user_b);
    CHECK(m.Taken().empty());

    m.tables.SetPte(m.b, 0x400000, 0x220000 | kUserPage | kG);
    m.Load(m.b);
    CHECK(m.Mapped(true).empty());
    CHECK(m.Taken() == Notices{{window_b, 0x400000, 1}});
    CHECK(m.Read(0x400000, true).outcome == kMapped);
    m.Load(m.a);
    m.tables.SetPte(m.b, 0x400000, 0x230000 | kUserPage | kG);
    m.Invalidate(0x400000);  // reaches global pages of every address space
    m.Load(m.b);
    CHECK(m.Mapped(true).empty());
    CHECK(m.mmu.Stats().cr3_loads == 5);
    CHECK(m.mmu.Stats().window_hits == 4);
    CHECK(m.mmu.Stats().window_evictions == 0);
  }
}

TEST_CASE("Kernel pages that the directories disagree on are dropped") {
  TwoSpaces m;
  m.Read(kKernel);
  m.Read(kKernel + 0x2000);
  m.tables.SetPde(m.b, kKernel, 0);
  m.Load(m.b);
  CHECK(m.Mapped().empty());
  CHECK(m.Taken() == Notices{{0, kKernel, 1}, {0, kKernel + 0x2000, 1}});
}

TEST_CASE("Under PAE a missing PDPTE takes its whole quarter away") {
  TwoSpaces m(true);
  m.Read(kKernel);
  m.paging.pdpte[3] = 0;
  m.mmu.SetPaging(m.paging);
  CHECK(m.Mapped().empty());
  CHECK(m.Read(kKernel).outcome == FillOutcome::kGuestFault);
}

TEST_CASE("Global pages outlive CR3 loads, but not INVLPG, PGE toggles or PGE off") {
  Machine m;
  const uint64_t global = kKernelPage | kG;
  const auto map_and_change = [&] {
    m.tables.SetPte(m.cr3, kKernel, 0x300000 | global);
    m.Invalidate(kKernel);
    CHECK(m.Read(kKernel).outcome == kMapped);
    m.tables.SetPte(m.cr3, kKernel, 0x310000 | global);
  };
  const Pages old = Run(kKernel, 0x300000, 1, true);
  map_and_change();
  m.Load(m.cr3);
  CHECK(m.Mapped() == old);
  m.Invalidate(kKernel);
  CHECK(m.Mapped().empty());

  map_and_change();
  m.paging.cr4 &= ~cr4::kPge;
  m.mmu.SetPaging(m.paging);
  CHECK(m.Mapped().empty());

  map_and_change();
  m.Load(m.cr3);
  CHECK(m.Mapped().empty());

  CHECK(m.Read(kKernel).outcome == kMapped);
  m.Taken();
  m.paging.cr4 |= cr4::kPge;
  m.mmu.SetPaging(m.paging);
  CHECK(m.Taken().empty());  // unchanged entries keep their mappings
  CHECK(m.Mapped() == Run(kKernel, 0x310000, 1, true));
}

TEST_CASE("CR0.WP changes what the supervisor may write, and only that") {
  Machine m;
  m.tables.SetPte(m.cr3, 0x400000, 0x200000 | kP | kUs | kA | kD);
  CHECK(m.Read(0x400000, true).outcome == kMapped);
  CHECK(m.Write(0x400000, false).outcome == FillOutcome::kGuestFault);
  m.paging.cr0 &= ~cr0::kWp;
  m.mmu.SetPaging(m.paging);
  CHECK(m.Write(0x400000, false).outcome == kMapped);
  CHECK(m.Write(0x400000, true).outcome == FillOutcome::kGuestFault);
  CHECK(m.Mapped(false) == Run(0x400000, 0x200000, 1, true));
  CHECK(m.Mapped(true) == Run(0x400000, 0x200000, 1, false));
  m.Taken();
  m.paging.cr0 |= cr0::kWp;
  m.mmu.SetPaging(m.paging);
  CHECK(m.Mapped(false).empty());
  CHECK(m.Mapped(true) == Run(0x400000, 0x200000, 1, false));
  CHECK(m.Taken() == Notices{{0, 0, 0}});
}

TEST_CASE("Bits that paging does not depend on change nothing; those it does empty every window") {
  TwoSpaces m(true);
  m.Read(0x400000, true);
  m.Load(m.b);
  m.Read(0x400000, true);
  m.Read(0x400000, false);
  m.Taken();
  m.paging.cr0 |= cr0::kTs | cr0::kMp;
  m.paging.cr4 |= cr4::kOsfxsr;
  m.mmu.SetPaging(m.paging);
  CHECK(m.mmu.Paging() == m.paging);
  CHECK(m.Taken().empty());
  CHECK(m.Mapped(true).size() == 1);
  SECTION("EFER.NXE") { m.paging.efer = 0; }
  SECTION("CR4.PSE") { m.paging.cr4 &= ~cr4::kPse; }
  SECTION("CR4.PAE") { m.paging.cr4 &= ~cr4::kPae; }
  SECTION("CR0.PG") { m.paging.cr0 &= ~cr0::kPg; }
  SECTION("A20") { m.paging.a20_enabled = false; }
  m.mmu.SetPaging(m.paging);
  m.mmu.CheckInvariants();
  CHECK(m.Taken() == Notices{{0, 0, 0}, {1, 0, 0}, {2, 0, 0}});
  for (WindowId window = 0; window < 3; ++window) CHECK(HostPages(m.mmu, window).empty());
}

TEST_CASE("The pool gives the least recently used window away, emptied") {
  ShadowMmuOptions options;
  options.user_windows = 2;
  TwoSpaces m(false, options);
  const uint32_t c = m.tables.NewSpace();
  m.tables.SetPte(c, 0x500000, 0x220000 | kUserPage);
  m.Read(0x400000, true);
  const WindowId window_a = m.mmu.Current(true);
  m.Load(m.b);
  m.Read(0x400000, true);
  const WindowId window_b = m.mmu.Current(true);
  m.Load(m.a);
  m.Taken();
  m.Load(c);
  CHECK(m.mmu.Current(true) == window_b);
  CHECK(m.Taken() == Notices{{window_b, 0, 0}});
  CHECK(m.mmu.Stats().window_evictions == 1);
  CHECK(m.Read(0x500000, true).outcome == kMapped);
  CHECK(m.Mapped(true) == Run(0x500000, 0x220000, 1, true));
  m.Load(m.b);
  CHECK(m.mmu.Current(true) == window_a);
  CHECK(m.Mapped(true).empty());
  CHECK(m.Read(0x400000, true).outcome == kMapped);
  CHECK(m.Mapped(true) == Run(0x400000, 0x210000, 1, true));
}

TEST_CASE("Sparse drops are one notice for each run and leave the neighbours mapped") {
  Machine m;
  for (uint32_t i = 0; i < 64; ++i) m.tables.SetPte(m.cr3, 0x400000 + i * 4096, (0x200000 + i * 4096) | kUserPage);
  m.Read(0x400000, true);
  m.Taken();
  for (const uint32_t i : {3, 4, 5, 9, 63}) m.tables.SetPte(m.cr3, 0x400000 + i * 4096, 0);
  m.Load(m.cr3);
  const WindowId w = m.mmu.Current(true);
  CHECK(m.Taken() == Notices{{w, 0x403000, 3}, {w, 0x409000, 1}, {w, 0x43F000, 1}});
  CHECK(m.Mapped(true) ==
        Run(0x400000, 0x200000, 3, true) + Run(0x406000, 0x206000, 3, true) + Run(0x40A000, 0x20A000, 53, true));
  for (uint32_t i = 0; i < 64; ++i) m.tables.SetPte(m.cr3, 0x400000 + i * 4096, 0);
  m.Load(m.cr3);
  CHECK(m.Mapped(true).empty());
  CHECK(HostMappingCount(m.At(0, true), m.At(0, true) + (4ull << 30)) <= 1);
}

}  // namespace
}  // namespace ring3
