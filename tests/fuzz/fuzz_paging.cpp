// Page tables: entries, control registers and accesses in any order. The walker must agree with the reference walker,
// and what the shadow MMU answers and maps with the walk.
#include <fmt/core.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <utility>
#include <vector>

#include "tests/fuzz/input.h"
#include "tests/shadowmmu/host_view.h"
#include "tests/shadowmmu/reference_walker.h"

namespace ring3::fuzz {
namespace {

constexpr uint64_t kRam = 2u << 20;
constexpr uint32_t kTables = 0x100000, kTablePages = 12, kTableBytes = kTablePages * kPageSize;
constexpr uint32_t kRomPage = 0x1F0000, kMmioPage = 0x1F1000;
constexpr unsigned kMostSteps = 200;
/// Where entries are set and accesses go, so that they meet.
constexpr uint32_t kSlots[] = {0, 1, 2, 3, 511, 512, 768, 1023};

struct World {
  World() {
    memory.SetKind(GuestPhysical(kRomPage), kPageSize, PageKind::kRom);
    memory.SetKind(GuestPhysical(kMmioPage), kPageSize, PageKind::kMmio);
    std::fill_n(&reference[kMmioPage], kPageSize, uint8_t{0xFF});  // the reference knows RAM alone
  }
  PhysicalMemory memory{kRam};
  ShadowMmu mmu{memory, {.user_windows = 2}};
  std::vector<uint8_t> reference = std::vector<uint8_t>(kRam);  // what the reference walks
};
World& TheWorld() {
  static World world;
  return world;
}

class Trial {
 public:
  Trial(World& world, Input& input) : w_(world), input_(input) {
    std::memset(w_.memory.Flat(GuestPhysical(kTables)), 0, kTableBytes);
    CopyTables();
    paging_.cr0 = cr0::kPe | cr0::kPg;
    paging_.cr3 = kTables;
    for (uint64_t& pdpte : paging_.pdpte) pdpte = kTables | 1;
    ChangeControl();
  }

  void Run() {
    for (unsigned steps = 0; !input_.Empty() && steps < kMostSteps; ++steps) Step();
    Flush();
    w_.mmu.CheckInvariants();
    CheckWindows();
    for (const uint64_t page : protected_) w_.mmu.UnprotectPage(GuestPhysical(page));
    Require(SameTables(), "A and D bits in memory are not those of the walks");
  }

 private:
  void Step() {
    switch (input_.Below(8)) {
      case 0:
      case 1:
      case 2:
        return SetEntry();
      case 3:
        return CompareWalk();
      case 4:
      case 5:
        return AccessWindow();
      case 6:
        return input_.Bit() ? ChangeControl() : ChangeSpace();
      default:
        return input_.Bit() ? Protect() : Fetch();
    }
  }

  bool Pae() const { return paging_.cr4 & cr4::kPae; }
  uint8_t* Table() { return w_.memory.Flat(GuestPhysical(kTables)); }
  void CopyTables() { std::memcpy(&w_.reference[kTables], Table(), kTableBytes); }
  bool SameTables() { return std::memcmp(&w_.reference[kTables], Table(), kTableBytes) == 0; }

  void SetEntry() {
    const uint32_t page = input_.Below(kTablePages), slot = kSlots[input_.Below(8)];
    const uint8_t to = input_.Byte();
    uint64_t value = to < 0x40   ? kTables + to % kTablePages * kPageSize
                     : to < 0x48 ? kRomPage
                     : to < 0x50 ? kMmioPage
                     : to < 0x58 ? 0xA0000
                     : to < 0x60 ? 0x4000'0000
                                 : (to & 0xFull) * 0x11000;
    value |= input_.Take<uint16_t>() & 0x1FF;
    if (const uint8_t high = input_.Byte(); Pae())
      value |= static_cast<uint64_t>(high & 0x81) << 56 | (high & 2ull) << 34;
    if (to & 0x80) value &= ~uint64_t{0x1F'F000};  // fit for a large page
    std::memcpy(Table() + page * kPageSize + (Pae() ? slot % 512 * 8 : slot * 4), &value, Pae() ? 8 : 4);
    CopyTables();
    stale_ = true;
  }

  uint32_t Linear() {
    const uint32_t directory = kSlots[input_.Below(8)], table = kSlots[input_.Below(8)];
    const uint32_t offset = input_.Byte() * 17u % kPageSize;
    if (!Pae()) return directory << 22 | table << 12 | offset;
    return (input_.Byte() & 3u) << 30 | directory % 512 << 21 | table % 512 << 12 | offset;
  }

  Access AnyAccess() {
    const uint8_t bits = input_.Byte();
    return {static_cast<AccessType>(bits % 3), (bits & 4) != 0};
  }

  [[noreturn]] void Differ(const std::string& what, uint32_t linear, const ReferenceWalk& expected) {
    Fail(fmt::format("{} at {:08x}: expected ok {} error {} physical {:x} (cr0 {:x} cr3 {:x} cr4 {:x})", what, linear,
                     expected.ok, expected.error_code, expected.physical, paging_.cr0, paging_.cr3, paging_.cr4));
  }

  void CompareWalk() {
    const uint32_t linear = Linear();
    const Access access = AnyAccess();
    const ReferenceWalk expected = WalkByTheBook(w_.reference, paging_, linear, access);
    const WalkResult walk = Walk(w_.memory, paging_, GuestLinear(linear), access);
    const Translation& t = walk.translation;
    bool same = walk.ok == expected.ok;
    if (same && !walk.ok) same = walk.error_code == expected.error_code;
    if (same && walk.ok) {
      same = t.page.value + linear % kPageSize == expected.physical && t.page_bytes == expected.page_bytes &&
             t.writable == expected.writable && t.user == expected.user && t.executable == expected.executable &&
             t.global == expected.global && t.dirty == expected.dirty;
    }
    if (!same) Differ("the walk", linear, expected);
    Require(SameTables(), "the walk wrote other entries");
  }

  /// As software must before it relies on what it changed; global pages, too.
  void Flush() {
    if (!std::exchange(stale_, false)) return;
    PagingState other = paging_;
    other.cr4 ^= cr4::kPge;
    w_.mmu.SetPaging(other);
    w_.mmu.SetPaging(paging_);
    CopyTables();  // A may be set ahead of use
  }

  FillOutcome OutcomeOf(const ReferenceWalk& walk, Access access) {
    if (!walk.ok) return FillOutcome::kGuestFault;
    const bool write = access.type == AccessType::kWrite;
    const PageKind kind = w_.memory.KindOf(GuestPhysical(walk.physical));
    if (kind == PageKind::kMmio || (kind == PageKind::kRom && write)) return FillOutcome::kEmulate;
    const bool code = write && protected_.contains(walk.physical & ~uint64_t{kPageMask});
    return code ? FillOutcome::kCodeWrite : FillOutcome::kMapped;
  }

  void AccessWindow() {
    Flush();
    const uint32_t linear = Linear();
    const Access access{input_.Bit() ? AccessType::kWrite : AccessType::kRead, input_.Bit()};
    const bool write = access.type == AccessType::kWrite;
    const HostAddress host = w_.mmu.Base(w_.mmu.Current(access.user)) + linear;
    const auto reachable = [&] { return write ? CanWrite(host) : CanRead(host); };
    const ReferenceWalk expected = WalkByTheBook(w_.reference, paging_, linear, access);
    if (reachable()) {
      if (OutcomeOf(expected, access) != FillOutcome::kMapped) Differ("reachable", linear, expected);
      return;
    }
    const FillResult result = w_.mmu.HandleFault(host, write);
    if (result.outcome != OutcomeOf(expected, access) || result.error_code != expected.error_code ||
        reachable() != (result.outcome == FillOutcome::kMapped)) {
      Differ(fmt::format("the shadow MMU's answer (outcome {}, error {}, reachable {})",
                         static_cast<int>(result.outcome), result.error_code, reachable()),
             linear, expected);
    }
    Require(SameTables(), "the shadow MMU wrote other entries");
  }

  void Fetch() {
    Flush();
    const uint32_t linear = Linear();
    const Access access{AccessType::kFetch, input_.Bit()};
    const ReferenceWalk expected = WalkByTheBook(w_.reference, paging_, linear, access);
    const FillResult result = w_.mmu.PrepareFetch(w_.mmu.Current(access.user), GuestLinear(linear), access.user);
    if (result.outcome != OutcomeOf(expected, access) || result.error_code != expected.error_code) {
      Differ("the fetch", linear, expected);
    }
    if (result.outcome == FillOutcome::kMapped && result.physical.value != expected.physical) {
      Differ("the fetched address", linear, expected);
    }
  }

  void ChangeControl() {
    const uint8_t bits = input_.Byte();
    paging_.cr0 = cr0::kPe | (bits & 1 ? 0 : cr0::kPg) | (bits & 2 ? cr0::kWp : 0);
    paging_.cr4 = (bits & 4 ? cr4::kPae : 0) | (bits & 8 ? cr4::kPse : 0) | (bits & 16 ? cr4::kPge : 0);
    paging_.efer = bits & 32 ? efer::kNxe : 0;
    paging_.a20_enabled = !(bits & 64);
    paging_.pse36 = bits & 128;
    w_.mmu.SetPaging(paging_);
    CopyTables();
    stale_ = true;
  }

  void ChangeSpace() {
    paging_.cr3 = kTables + input_.Below(kTablePages) * kPageSize;
    for (uint64_t& pdpte : paging_.pdpte)
      pdpte = kTables + input_.Below(kTablePages) * kPageSize + (input_.Byte() ? 1 : 0);
    w_.mmu.LoadCr3(paging_);
    CopyTables();
    stale_ = true;
  }

  void Protect() {
    const uint64_t page = input_.Bit() ? kTables + input_.Below(kTablePages) * kPageSize : input_.Below(16) * 0x11000;
    if (w_.memory.KindOf(GuestPhysical(page)) != PageKind::kRam) return;
    if (protected_.erase(page)) {
      w_.mmu.UnprotectPage(GuestPhysical(page));
    } else {
      protected_.insert(page);
      w_.mmu.ProtectPage(GuestPhysical(page));
    }
  }

  void CheckWindows() {
    for (const bool user : {false, true}) {
      for (const HostPage& page : HostPages(w_.mmu, w_.mmu.Current(user))) {
        const WalkResult walk = Peek(w_.memory, paging_, GuestLinear(page.linear));
        const Translation& t = walk.translation;
        const bool right = walk.ok && t.page.value == page.physical && (t.user || !user) &&
                           w_.memory.KindOf(t.page) != PageKind::kMmio;
        const bool may_write = t.writable || (!user && !(paging_.cr0 & cr0::kWp));
        const bool dirty = t.dirty || !(paging_.cr0 & cr0::kPg);
        const bool writable =
            may_write && dirty && w_.memory.KindOf(t.page) == PageKind::kRam && !protected_.contains(page.physical);
        if (!right || (page.writable && !writable)) Fail(fmt::format("page {:08x} is mapped wrongly", page.linear));
      }
    }
  }

  World& w_;
  Input& input_;
  PagingState paging_;
  std::set<uint64_t> protected_;
  bool stale_ = false;
};

}  // namespace

void Run(Input input) { Trial(TheWorld(), input).Run(); }

}  // namespace ring3::fuzz
