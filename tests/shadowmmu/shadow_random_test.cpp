// Random guests: after every step each host mapping must be one that the guest's tables allow, each access must end as
// the reference walker says, and nothing that was fetched from may have changed unannounced.
#include <catch2/catch.hpp>
#include <cstring>
#include <map>
#include <random>

#include "tests/shadowmmu/reference_walker.h"
#include "tests/shadowmmu/shadow_machine.h"

namespace ring3 {
namespace {

constexpr uint32_t kUserArea = 0x400000, kTopArea = 0x7FFFE000, kLargeArea = 0x800000, kKernelArea = 0xC0000000;
constexpr uint32_t kAreaPages = 12;
constexpr uint32_t kFrames = 0x200000, kFrameCount = 24;  // frames that tables point at; the last ones become ROM, MMIO
constexpr uint32_t kTables = 0x100000, kTableBytes = 0x40000;
constexpr unsigned kSpaces = 3, kSteps = 1000;

class RandomGuest {
 public:
  RandomGuest(bool pae, unsigned seed) : random_(seed), m_(pae, {.user_windows = 2, .vma_budget = 24}) {
    spaces_.push_back(m_.cr3);
    while (spaces_.size() < kSpaces) spaces_.push_back(m_.tables.NewSpace());
    for (uint32_t i = 0; i < kAreaPages; ++i) m_.tables.SetPte(spaces_[0], kKernelArea + i * kPageSize, RandomPte());
    for (const uint32_t space : spaces_) {
      m_.tables.SetPde(space, kKernelArea, m_.tables.Pde(spaces_[0], kKernelArea));
      for (uint32_t i = 0; i < kAreaPages; ++i) {
        m_.tables.SetPte(space, kUserArea + i * kPageSize, RandomPte());
        m_.tables.SetPte(space, kTopArea + i * kPageSize, RandomPte());
      }
    }
    m_.Load(m_.cr3);
    SetKind(kFrameCount - 1, PageKind::kRom);
    SetKind(kFrameCount - 2, PageKind::kMmio);
    ram_.assign(Ram(), Ram() + m_.memory.RamBytes());
  }

  void Run() {
    for (unsigned step = 0; step < kSteps; ++step) {
      INFO("step " << step);
      Step();
      Settle();
      CheckWindows();
      CheckFetched();
    }
    REQUIRE(std::memcmp(Ram(), ram_.data(), ram_.size()) == 0);
  }

  const ShadowMmuStats& Stats() const { return m_.mmu.Stats(); }

 private:
  struct Fetched {
    uint64_t physical;
    bool user;
  };

  uint32_t Roll(uint32_t sides) { return std::uniform_int_distribution<uint32_t>(0, sides - 1)(random_); }
  bool OneIn(uint32_t n) { return Roll(n) == 0; }
  uint8_t* Ram() { return m_.memory.Flat(GuestPhysical(0)); }

  uint64_t RandomPte() {
    uint64_t pte = kFrames + Roll(kFrameCount) * kPageSize;
    for (const uint64_t bit : {kP, kRw, kUs, kA}) pte |= OneIn(8) ? 0 : bit;
    if (OneIn(3)) pte |= kD;
    if (OneIn(6)) pte |= kG;
    if ((m_.paging.cr4 & cr4::kPae) && OneIn(6)) pte |= kNx;
    return pte;
  }

  uint32_t RandomLinear() {
    if (OneIn(2)) return last_linear_;  // so that reads are followed by writes, and changes by accesses
    return last_linear_ = FreshLinear();
  }

  uint32_t FreshLinear() {
    constexpr uint32_t kAreas[] = {kUserArea, kUserArea, kTopArea, kKernelArea};
    if (OneIn(6)) return kLargeArea + Roll(0x400000);
    return kAreas[Roll(4)] + Roll(kAreaPages) * kPageSize + Roll(kPageSize);
  }

  void Step() {
    const uint32_t kind = Roll(100);
    if (kind < 75) return AccessMemory();
    if (kind < 85) return ChangePte();
    if (kind < 88) return ChangePde();
    if (kind < 93) return m_.Load(spaces_[Roll(kSpaces)]);
    if (kind < 97) return ProtectSome();
    if (kind < 98) return SetKind(Roll(kFrameCount), static_cast<PageKind>(Roll(3)));
    ChangeControl();
  }

  void ChangePte() {
    RequireSameRam();
    const uint32_t space = spaces_[Roll(kSpaces)];
    uint32_t linear = RandomLinear();
    while (linear >= kLargeArea && linear < kLargeArea + 0x400000) linear = FreshLinear();
    const uint64_t old = m_.tables.Pte(space, linear);
    uint64_t pte = RandomPte();
    if (OneIn(2)) pte = old ^ (OneIn(2) ? kRw : OneIn(2) ? kA | kD : kP);
    m_.tables.SetPte(space, linear, pte);
    // A page of another address space needs no flush before that one is loaded, unless it is global.
    if (space == m_.paging.cr3 || linear >= kKernelArea || ((old | pte) & kG)) m_.Invalidate(linear);
    CopyRam();
  }

  void ChangePde() {
    RequireSameRam();
    const uint32_t space = spaces_[Roll(kSpaces)];
    uint64_t pde = 0x400000 | kPs | kP;
    for (const uint64_t bit : {kRw, kUs, kA, kD}) pde |= OneIn(4) ? 0 : bit;
    if (OneIn(8)) pde |= 1u << 13;  // reserved
    if (OneIn(4)) pde = 0;
    const uint32_t linear = OneIn(2) ? kLargeArea : kUserArea;
    if (linear == kUserArea) pde = m_.tables.Pde(space, linear) ^ (OneIn(3) ? kP : OneIn(2) ? kUs : kRw);
    m_.tables.SetPde(space, linear, pde);
    if (space == m_.paging.cr3) {
      if (OneIn(2)) {
        m_.Load(space);
      } else {
        m_.Invalidate(linear);
      }
    }
    CopyRam();
  }

  void ProtectSome() {
    const uint32_t base = OneIn(3) ? 0x400000 : kFrames;
    const GuestPhysical page(base + Roll(kFrameCount) * kPageSize);
    bool& is_protected = protected_[page.value];
    is_protected = !is_protected;
    if (is_protected) {
      m_.mmu.ProtectPage(page);
    } else {
      m_.mmu.UnprotectPage(page);
    }
  }

  void SetKind(uint32_t frame, PageKind kind) {
    m_.memory.SetKind(GuestPhysical(kFrames + frame * kPageSize), kPageSize, kind);
  }

  void ChangeControl() {
    switch (Roll(4)) {
      case 0:
        m_.paging.cr0 ^= cr0::kWp;
        break;
      case 1:
        m_.paging.cr4 ^= cr4::kPge;
        break;
      case 2:
        m_.paging.efer ^= efer::kNxe;
        break;
      case 3:
        m_.paging.cr0 ^= cr0::kTs;
        break;
    }
    m_.mmu.SetPaging(m_.paging);
  }

  void AccessMemory() {
    const uint32_t linear = RandomLinear();
    const bool user = last_user_ ^= OneIn(4);
    const Access access{static_cast<AccessType>(Roll(3)), user};
    INFO("linear " << std::hex << linear << " user " << user << " type " << static_cast<int>(access.type));
    if (access.type == AccessType::kFetch) return Fetch(linear, access);
    const bool write = access.type == AccessType::kWrite;
    const HostAddress host = m_.At(linear, user);
    const auto reachable = [&] { return write ? CanWrite(host) : CanRead(host); };
    const ReferenceWalk expected = WalkByTheBook(ram_, m_.paging, linear, access);
    if (reachable()) {
      REQUIRE(expected.ok);
      return;
    }
    const FillResult result = m_.mmu.HandleFault(host, write);
    REQUIRE(result.outcome == Outcome(expected, access));
    REQUIRE(result.linear == GuestLinear(linear));
    REQUIRE(result.error_code == expected.error_code);
    REQUIRE(reachable() == (result.outcome == FillOutcome::kMapped));
  }

  void Fetch(uint32_t linear, Access access) {
    const ReferenceWalk expected = WalkByTheBook(ram_, m_.paging, linear, access);
    const FillResult result = m_.Fetch(linear, access.user);
    REQUIRE(result.outcome == Outcome(expected, access));
    REQUIRE(result.error_code == expected.error_code);
    Settle();  // filling may have evicted windows, before it mapped this page
    if (result.outcome != FillOutcome::kMapped) return;
    REQUIRE(result.physical.value == expected.physical);
    fetched_[{m_.mmu.Current(access.user), linear & ~kPageMask}] = {expected.physical & ~uint64_t{kPageMask},
                                                                    access.user};
  }

  FillOutcome Outcome(const ReferenceWalk& walk, Access access) {
    if (!walk.ok) return FillOutcome::kGuestFault;
    const bool write = access.type == AccessType::kWrite;
    const PageKind kind = m_.memory.KindOf(GuestPhysical(walk.physical));
    if (kind == PageKind::kMmio || (kind == PageKind::kRom && write)) return FillOutcome::kEmulate;
    return write && IsProtected(walk.physical) ? FillOutcome::kCodeWrite : FillOutcome::kMapped;
  }

  bool IsProtected(uint64_t physical) {
    const auto found = protected_.find(physical & ~uint64_t{kPageMask});
    return found != protected_.end() && found->second;
  }

  /// Table changes made by the guest go to the copy that the reference walks as well.
  void CopyRam() { std::memcpy(ram_.data() + kTables, Ram() + kTables, kTableBytes); }
  void RequireSameRam() { REQUIRE(std::memcmp(Ram() + kTables, ram_.data() + kTables, kTableBytes) == 0); }

  /// Forgets what was announced as dropped.
  void Settle() {
    for (const Notice& notice : m_.Taken()) {
      const uint32_t first = notice.page;
      const uint64_t bytes = notice.pages == 0 ? 1ull << 32 : uint64_t{notice.pages} << kPageShift;
      std::erase_if(fetched_, [&](const auto& item) {
        return item.first.first == notice.window && item.first.second >= first && item.first.second - first < bytes;
      });
    }
  }

  void CheckWindows() {
    m_.mmu.CheckInvariants();
    for (const bool user : {false, true}) {
      for (const HostPage& page : HostPages(m_.mmu, m_.mmu.Current(user))) {
        if (MayBeMapped(page, user)) continue;
        INFO("user " << user << " page " << page);
        FAIL("this mapping is not what the tables say");
      }
    }
  }

  bool MayBeMapped(const HostPage& page, bool user) {
    const WalkResult walk = Peek(m_.memory, m_.paging, GuestLinear(page.linear));
    const Translation& t = walk.translation;
    const bool accessed = (t.pte & kA) && (t.page_bytes > kPageSize || (t.pde & kA));
    const PageKind kind = m_.memory.KindOf(t.page);
    if (!walk.ok || t.page.value != page.physical || !accessed || kind == PageKind::kMmio) return false;
    if (user && !t.user) return false;
    if (!page.writable) return true;
    const bool may_write = t.writable || (!user && !(m_.paging.cr0 & cr0::kWp));
    return may_write && t.dirty && kind == PageKind::kRam && !IsProtected(page.physical);
  }

  void CheckFetched() {
    for (const auto& [where, what] : fetched_) {
      const auto [window, linear] = where;
      INFO("window " << +window << " fetched " << std::hex << linear);
      if (window == m_.mmu.Current(false)) REQUIRE(CanRead(m_.mmu.Base(window) + linear));
      if (window != m_.mmu.Current(false) && window != m_.mmu.Current(true)) continue;
      const WalkResult walk = Peek(m_.memory, m_.paging, GuestLinear(linear));
      REQUIRE(walk.ok);
      REQUIRE(walk.translation.page.value == what.physical);
      REQUIRE(walk.translation.executable);
      REQUIRE((walk.translation.user || !what.user));
    }
  }

  std::mt19937 random_;
  uint32_t last_linear_ = kUserArea;
  bool last_user_ = false;
  Machine m_;
  std::vector<uint32_t> spaces_;
  std::vector<uint8_t> ram_;  // what the reference walks; equal to the guest's after every step
  std::map<uint64_t, bool> protected_;
  std::map<std::pair<WindowId, uint32_t>, Fetched> fetched_;
};

/// Every kind of event must have come up, over all seeds together; else the steps need other odds.
void RunSeeds(bool pae) {
  ShadowMmuStats total;
  for (unsigned seed = 1; seed <= 3; ++seed) {
    INFO("seed " << seed);
    RandomGuest guest(pae, seed);
    guest.Run();
    for (const auto field :
         {&ShadowMmuStats::fills, &ShadowMmuStats::fetched_pages, &ShadowMmuStats::pages_mapped,
          &ShadowMmuStats::dirty_upgrades, &ShadowMmuStats::pages_dropped, &ShadowMmuStats::budget_evictions,
          &ShadowMmuStats::window_evictions, &ShadowMmuStats::window_hits}) {
      total.*field += guest.Stats().*field;
    }
  }
  CHECK(total.pages_mapped > total.fills);
  CHECK(total.fetched_pages > 10);
  CHECK(total.dirty_upgrades > 10);
  CHECK(total.pages_dropped > 300);
  CHECK(total.budget_evictions > 3);
  CHECK(total.window_evictions > 30);
  CHECK(total.window_hits > 30);
}

TEST_CASE("Random guest with 32-bit tables") { RunSeeds(false); }
TEST_CASE("Random guest with PAE tables") { RunSeeds(true); }

}  // namespace
}  // namespace ring3
