// The walker against the reference on random tables: outcome, rights and the whole of memory afterwards.
#include <catch2/catch.hpp>
#include <cstring>
#include <random>

#include "tests/shadowmmu/reference_walker.h"

namespace ring3 {
namespace {

constexpr uint32_t kRam = 4u << 20;
constexpr uint32_t kTables = 0x100000, kTablePages = 24;

/// Random tables whose entries point at each other often, at RAM mostly, and now and then anywhere.
class RandomTables {
 public:
  explicit RandomTables(unsigned seed) : random_(seed) {}

  uint64_t Roll(uint64_t sides) { return std::uniform_int_distribution<uint64_t>(0, sides - 1)(random_); }
  bool OneIn(unsigned n) { return Roll(n) == 0; }
  uint64_t TablePage() { return kTables + Roll(kTablePages) * kPageSize; }

  uint64_t Entry(bool pae) {
    uint64_t address = OneIn(3) ? Roll(kRam / kPageSize) * kPageSize : TablePage();
    if (OneIn(12)) address |= 0x4000'0000;  // no RAM there
    uint64_t low = Roll(4096) | (OneIn(8) ? 0 : 1);
    if (!OneIn(3)) low |= 6;
    if (!OneIn(3)) low &= ~uint64_t{0x80};
    if ((low & 0x80) && !OneIn(4)) address &= ~uint64_t{0x3FFFFF};
    uint64_t high = 0;
    if (pae && OneIn(5)) high |= uint64_t{1} << 63;
    if (pae && OneIn(20)) high |= uint64_t{1} << (32 + Roll(31));
    return address | low | high;
  }

  void FillTables(PhysicalMemory& memory, bool pae) {
    for (uint32_t at = kTables; at < kTables + kTablePages * kPageSize; at += pae ? 8 : 4) {
      const uint64_t value = Entry(pae);
      std::memcpy(memory.Flat(GuestPhysical(at)), &value, pae ? 8 : 4);
    }
  }

  PagingState State(bool pae) {
    PagingState state;
    state.cr0 = cr0::kPe | (OneIn(20) ? 0 : cr0::kPg) | (OneIn(2) ? cr0::kWp : 0);
    state.cr3 = static_cast<uint32_t>(OneIn(30) ? 0x8000'0000 : TablePage()) | (OneIn(2) ? 0x18 : 0);
    state.cr4 = (pae ? cr4::kPae : 0) | (OneIn(3) ? 0 : cr4::kPse) | (OneIn(2) ? cr4::kPge : 0);
    state.efer = OneIn(3) ? 0 : efer::kNxe;
    for (uint64_t& pdpte : state.pdpte) pdpte = TablePage() | (OneIn(8) ? 0 : 1);
    state.a20_enabled = !OneIn(8);
    state.pse36 = OneIn(2);
    return state;
  }

  Access RandomAccess() { return {static_cast<AccessType>(Roll(3)), OneIn(2)}; }

 private:
  std::mt19937 random_;
};

std::vector<uint8_t> CopyOfRam(PhysicalMemory& memory) {
  return {memory.Flat(GuestPhysical(0)), memory.Flat(GuestPhysical(0)) + memory.RamBytes()};
}

bool SameOutcome(const WalkResult& walk, const ReferenceWalk& expected, uint32_t linear) {
  if (walk.ok != expected.ok) return false;
  if (!walk.ok) return walk.error_code == expected.error_code;
  const Translation& t = walk.translation;
  return t.page.value + linear % kPageSize == expected.physical && t.page_bytes == expected.page_bytes &&
         t.writable == expected.writable && t.user == expected.user && t.executable == expected.executable &&
         t.global == expected.global && t.dirty == expected.dirty;
}

/// Values and addresses of the consumed entries must be those in memory after the walk.
bool EntriesAsInMemory(PhysicalMemory& memory, const PagingState& paging, const Translation& t) {
  const unsigned bytes = paging.cr4 & cr4::kPae ? 8 : 4;
  uint64_t pde = 0, pte = 0;
  if (t.pde_address.value) memory.Read(t.pde_address, {reinterpret_cast<uint8_t*>(&pde), bytes});
  if (t.pte_address.value) memory.Read(t.pte_address, {reinterpret_cast<uint8_t*>(&pte), bytes});
  return pde == t.pde && pte == t.pte;
}

void CompareWalks(bool pae, unsigned seed) {
  RandomTables tables(seed);
  PhysicalMemory memory(kRam);
  unsigned succeeded = 0, reserved = 0, large = 0;
  for (unsigned round = 0; round < 40; ++round) {
    tables.FillTables(memory, pae);
    std::vector<uint8_t> expected_ram = CopyOfRam(memory);
    for (unsigned i = 0; i < 200; ++i) {
      const PagingState paging = tables.State(pae);
      const auto linear = static_cast<uint32_t>(tables.Roll(1ull << 32));
      const Access access = tables.RandomAccess();
      const ReferenceWalk expected = WalkByTheBook(expected_ram, paging, linear, access);
      const WalkResult walk = Walk(memory, paging, GuestLinear(linear), access);
      INFO("seed " << seed << " round " << round << " walk " << i << " linear " << std::hex << linear << " error "
                   << walk.error_code << " expected " << expected.error_code);
      REQUIRE(SameOutcome(walk, expected, linear));
      if (walk.ok) REQUIRE(EntriesAsInMemory(memory, paging, walk.translation));
      succeeded += walk.ok;
      reserved += (walk.error_code & pferr::kReserved) != 0;
      large += walk.ok && walk.translation.page_bytes > kPageSize;
    }
    REQUIRE(CopyOfRam(memory) == expected_ram);
  }
  CHECK(succeeded > 1000);
  CHECK(reserved > 100);
  CHECK(large > 100);
}

TEST_CASE("Walk agrees with the reference on 32-bit tables") { CompareWalks(false, 1); }
TEST_CASE("Walk agrees with the reference on PAE tables") { CompareWalks(true, 2); }

TEST_CASE("Peek sees what a supervisor read sees and changes nothing") {
  for (const bool pae : {false, true}) {
    RandomTables tables(3);
    PhysicalMemory memory(kRam);
    tables.FillTables(memory, pae);
    const std::vector<uint8_t> before = CopyOfRam(memory);
    for (unsigned i = 0; i < 2000; ++i) {
      const PagingState paging = tables.State(pae);
      const auto linear = static_cast<uint32_t>(tables.Roll(1ull << 32));
      std::vector<uint8_t> scratch = i % 100 == 0 ? before : std::vector<uint8_t>();
      const WalkResult peek = Peek(memory, paging, GuestLinear(linear));
      if (!scratch.empty()) {
        const ReferenceWalk expected = WalkByTheBook(scratch, paging, linear, {AccessType::kRead, false});
        REQUIRE(SameOutcome(peek, expected, linear));
      }
    }
    REQUIRE(CopyOfRam(memory) == before);
  }
}

struct CountingListener final : WriteListener {
  void WatchedPageWritten(GuestPhysical address, uint32_t size) override {
    last = address;
    bytes += size;
  }
  GuestPhysical last;
  uint32_t bytes = 0;
};

TEST_CASE("A and D bits set in a watched page are announced") {
  PhysicalMemory memory(kRam);
  CountingListener listener;
  memory.SetWriteListener(&listener);
  const uint32_t pde = 0x101000 | 7, pte = 0x200000 | 7;
  std::memcpy(memory.Flat(GuestPhysical(0x100000)), &pde, 4);
  std::memcpy(memory.Flat(GuestPhysical(0x101000)), &pte, 4);
  memory.SetWatched(GuestPhysical(0x101000), true);
  PagingState paging;
  paging.cr0 = cr0::kPe | cr0::kPg;
  paging.cr3 = 0x100000;
  REQUIRE(Walk(memory, paging, GuestLinear(0), {AccessType::kWrite, true}).ok);
  CHECK(listener.last == GuestPhysical(0x101000));
  CHECK(listener.bytes == 4);
  REQUIRE(Walk(memory, paging, GuestLinear(0), {AccessType::kWrite, true}).ok);
  CHECK(listener.bytes == 4);  // nothing left to set
}

TEST_CASE("PagingState::From takes what a walk depends on") {
  CpuState cpu;
  cpu.cr0 = 1;
  cpu.cr3 = 2;
  cpu.cr4 = 3;
  cpu.efer = 4;
  cpu.pdpte = {5, 6, 7, 8};
  const PagingState state = PagingState::From(cpu, false, true);
  PagingState expected;
  expected.cr0 = 1;
  expected.cr3 = 2;
  expected.cr4 = 3;
  expected.efer = 4;
  expected.pdpte = {5, 6, 7, 8};
  expected.a20_enabled = false;
  expected.pse36 = true;
  CHECK(state == expected);
}

}  // namespace
}  // namespace ring3
