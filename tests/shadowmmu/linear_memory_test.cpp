#include "shadowmmu/linear_memory.h"

#include <catch2/catch.hpp>

#include "monitor/cpu/fault.h"
#include "tests/shadowmmu/guest_tables.h"

namespace ring3 {
namespace {

constexpr Access kRead{AccessType::kRead, false}, kWrite{AccessType::kWrite, false}, kFetch{AccessType::kFetch, false};
constexpr Access kUserRead{AccessType::kRead, true}, kUserWrite{AccessType::kWrite, true};

struct Guest {
  explicit Guest(bool pae = false) : tables(memory, 0x100000, pae), cr3(tables.NewSpace()), paging(tables.State(cr3)) {
    linear.SetPaging(paging);
  }
  void Flush() { linear.SetPaging(paging); }

  PhysicalMemory memory{8u << 20};
  GuestTables tables;
  uint32_t cr3;
  PagingState paging;
  LinearMemory linear{memory};
};

/// cr2 and error code of the fault, packed; ~0 when there was none.
template <class Action>
uint64_t FaultOf(Action action) {
  try {
    action();
  } catch (const GuestFault& fault) {
    CHECK(fault.vector == Vector::kPageFault);
    return uint64_t{fault.cr2} << 32 | *fault.error_code;
  }
  return ~uint64_t{0};
}

constexpr uint64_t Fault(uint32_t cr2, uint32_t code) { return uint64_t{cr2} << 32 | code; }
constexpr uint64_t kNone = ~uint64_t{0};

TEST_CASE("Data goes where the tables say, in every size") {
  Guest g;
  g.tables.SetPte(g.cr3, 0x400000, 0x200000 | kP | kRw);
  g.linear.Write<uint64_t>(GuestLinear(0x400010), 0x1122334455667788, kWrite);
  CHECK(*reinterpret_cast<uint64_t*>(g.memory.Flat(GuestPhysical(0x200010))) == 0x1122334455667788);
  CHECK(g.linear.Read<uint8_t>(GuestLinear(0x400010), kRead) == 0x88);
  CHECK(g.linear.Read<uint16_t>(GuestLinear(0x400011), kRead) == 0x6677);
  CHECK(g.linear.Read<uint32_t>(GuestLinear(0x400012), kRead) == 0x33445566);
  CHECK(g.linear.Translate(GuestLinear(0x400FFF), kRead) == GuestPhysical(0x200FFF));
  CHECK(g.linear.TryDirect(GuestLinear(0x400123), kWrite) == g.memory.Flat(GuestPhysical(0x200123)));
}

TEST_CASE("A page-crossing access names the first byte that faults, and moves nothing") {
  Guest g;
  g.tables.SetPte(g.cr3, 0x400000, 0x200000 | kP | kRw | kUs);
  g.tables.SetPte(g.cr3, 0x401000, 0x300000 | kP | kUs);
  CHECK(FaultOf([&] { g.linear.Write<uint32_t>(GuestLinear(0x400FFE), ~0u, kUserWrite); }) ==
        Fault(0x401000, pferr::kPresent | pferr::kWrite | pferr::kUser));
  CHECK(FaultOf([&] { g.linear.CheckWritable(GuestLinear(0x400FFE), 4, false); }) ==
        Fault(0x401000, pferr::kPresent | pferr::kWrite));
  CHECK(*reinterpret_cast<uint16_t*>(g.memory.Flat(GuestPhysical(0x200FFE))) == 0);
  CHECK(FaultOf([&] { g.linear.Read<uint32_t>(GuestLinear(0x400FFE), kUserRead); }) == kNone);
  CHECK(FaultOf([&] { g.linear.Read<uint64_t>(GuestLinear(0x401FFC), kUserRead); }) == Fault(0x402000, pferr::kUser));
  CHECK(FaultOf([&] { g.linear.Read<uint64_t>(GuestLinear(0x3FFFFC), kUserRead); }) == Fault(0x3FFFFC, pferr::kUser));
}

TEST_CASE("Accesses wrap at 4 GiB") {
  Guest g;
  g.tables.SetPte(g.cr3, 0xFFFFF000, 0x200000 | kP | kRw);
  CHECK(FaultOf([&] { g.linear.Write<uint32_t>(GuestLinear(0xFFFFFFFE), 0, kWrite); }) == Fault(0, pferr::kWrite));
  g.tables.SetPte(g.cr3, 0, 0x300000 | kP | kRw);
  g.linear.Write<uint32_t>(GuestLinear(0xFFFFFFFE), 0x44332211, kWrite);
  CHECK(g.memory.Flat(GuestPhysical(0x200FFE))[0] == 0x11);
  CHECK(g.memory.Flat(GuestPhysical(0x300001))[0] == 0x44);
  CHECK(g.linear.Read<uint32_t>(GuestLinear(0xFFFFFFFE), kRead) == 0x44332211);
  g.paging.cr0 = 0;
  g.Flush();
  CHECK(g.linear.Read<uint32_t>(GuestLinear(0xFFFFFFFE), kRead) == 0xFFFF);  // all ones above, RAM at 0 below
}

TEST_CASE("A cached read does not stand in for rights or bits that a write, fetch or user access needs") {
  Guest g(true);
  g.tables.SetPte(g.cr3, 0x400000, 0x200000 | kP | kRw | kNx);
  g.linear.Read<uint8_t>(GuestLinear(0x400000), kRead);
  CHECK(g.tables.Pte(g.cr3, 0x400000) == (0x200000 | kP | kRw | kNx | kA));
  CHECK(FaultOf([&] { g.linear.Read<uint8_t>(GuestLinear(0x400000), kFetch); }) ==
        Fault(0x400000, pferr::kPresent | pferr::kFetch));
  CHECK(FaultOf([&] { g.linear.Read<uint8_t>(GuestLinear(0x400000), kUserRead); }) ==
        Fault(0x400000, pferr::kPresent | pferr::kUser));
  g.linear.CheckWritable(GuestLinear(0x400000), 1, false);
  CHECK(g.tables.Pte(g.cr3, 0x400000) == (0x200000 | kP | kRw | kNx | kA | kD));
  CHECK(g.memory.Flat(GuestPhysical(0x200000))[0] == 0);
}

TEST_CASE("CR0.WP decides over supervisor writes to read-only pages") {
  Guest g;
  g.tables.SetPte(g.cr3, 0x400000, 0x200000 | kP | kUs);
  CHECK(FaultOf([&] { g.linear.Write<uint8_t>(GuestLinear(0x400000), 1, kWrite); }) ==
        Fault(0x400000, pferr::kPresent | pferr::kWrite));
  g.paging.cr0 &= ~cr0::kWp;
  g.Flush();
  CHECK(FaultOf([&] { g.linear.Write<uint8_t>(GuestLinear(0x400000), 1, kWrite); }) == kNone);
  CHECK(FaultOf([&] { g.linear.Write<uint8_t>(GuestLinear(0x400000), 2, kUserWrite); }) ==
        Fault(0x400000, pferr::kPresent | pferr::kWrite | pferr::kUser));
  CHECK(g.memory.Flat(GuestPhysical(0x200000))[0] == 1);
}

TEST_CASE("Translations are cached until INVLPG, and INVLPG reaches all of a large page") {
  Guest g;
  g.memory.Flat(GuestPhysical(0x200000))[0] = 2;
  g.memory.Flat(GuestPhysical(0x300000))[0] = 3;
  g.tables.SetPte(g.cr3, 0x400000, 0x200000 | kP);
  CHECK(g.linear.Read<uint8_t>(GuestLinear(0x400000), kRead) == 2);
  g.tables.SetPte(g.cr3, 0x400000, 0x300000 | kP);
  CHECK(g.linear.Read<uint8_t>(GuestLinear(0x400000), kRead) == 2);
  g.linear.InvalidatePage(GuestLinear(0x400FFF));
  CHECK(g.linear.Read<uint8_t>(GuestLinear(0x400000), kRead) == 3);

  g.tables.SetPde(g.cr3, 0x800000, 0x000000 | kP | kPs);
  CHECK(g.linear.Read<uint8_t>(GuestLinear(0xA00000), kRead) == 2);
  CHECK(g.linear.Read<uint8_t>(GuestLinear(0x800000), kRead) == 0);
  g.tables.SetPde(g.cr3, 0x800000, 0);
  g.linear.InvalidatePage(GuestLinear(0x800000));
  CHECK(FaultOf([&] { g.linear.Read<uint8_t>(GuestLinear(0xA00000), kRead); }) == Fault(0xA00000, 0));
}

TEST_CASE("A flush empties the TLB, also after its generations have run out once") {
  Guest g;
  g.tables.SetPte(g.cr3, 0x400000, 0x200000 | kP);
  g.linear.Read<uint8_t>(GuestLinear(0x400000), kRead);
  g.tables.SetPte(g.cr3, 0x400000, 0);
  for (unsigned i = 0; i < 4095; ++i) g.Flush();  // back at the generation the translation was cached in
  CHECK(FaultOf([&] { g.linear.Read<uint8_t>(GuestLinear(0x400000), kRead); }) == Fault(0x400000, 0));
}

struct CountingListener final : WriteListener {
  void WatchedPageWritten(GuestPhysical address, uint32_t size) override { calls.push_back({address.value, size}); }
  std::vector<std::pair<uint64_t, uint32_t>> calls;
};

TEST_CASE("Writes to watched pages are announced although the translation is cached") {
  Guest g;
  CountingListener listener;
  g.memory.SetWriteListener(&listener);
  g.tables.SetPte(g.cr3, 0x400000, 0x200000 | kP | kRw);
  g.linear.Write<uint32_t>(GuestLinear(0x400000), 1, kWrite);
  g.memory.SetWatched(GuestPhysical(0x200000), true);
  CHECK(g.linear.TryDirect(GuestLinear(0x400000), kWrite) == nullptr);
  CHECK(g.linear.TryDirect(GuestLinear(0x400000), kRead) != nullptr);
  g.linear.Write<uint32_t>(GuestLinear(0x400004), 2, kWrite);
  CHECK(listener.calls == std::vector<std::pair<uint64_t, uint32_t>>{{0x200004, 4}});
  CHECK(g.linear.Read<uint32_t>(GuestLinear(0x400004), kRead) == 2);
}

TEST_CASE("ROM can be read directly and ignores writes; a change of kind is seen at once") {
  Guest g;
  g.memory.SetKind(GuestPhysical(0x200000), kPageSize, PageKind::kRom);
  g.memory.Flat(GuestPhysical(0x200000))[0] = 9;
  g.tables.SetPte(g.cr3, 0x400000, 0x200000 | kP | kRw);
  g.linear.Write<uint8_t>(GuestLinear(0x400000), 1, kWrite);
  CHECK(g.linear.Read<uint8_t>(GuestLinear(0x400000), kRead) == 9);
  CHECK(g.linear.TryDirect(GuestLinear(0x400000), kWrite) == nullptr);
  CHECK(*g.linear.TryDirect(GuestLinear(0x400000), kRead) == 9);
  g.memory.SetKind(GuestPhysical(0x200000), kPageSize, PageKind::kMmio);
  CHECK(g.linear.Read<uint16_t>(GuestLinear(0x400000), kRead) == 0xFFFF);
  CHECK(g.linear.TryDirect(GuestLinear(0x400000), kRead) == nullptr);
  g.memory.SetKind(GuestPhysical(0x200000), kPageSize, PageKind::kRam);
  g.linear.Write<uint8_t>(GuestLinear(0x400000), 1, kWrite);
  CHECK(g.linear.Read<uint8_t>(GuestLinear(0x400000), kRead) == 1);
}

TEST_CASE("Loading CR3 keeps global translations alone, and only with CR4.PGE; toggling PGE drops them") {
  Guest g;
  g.paging.cr4 |= cr4::kPge;
  g.Flush();
  g.tables.SetPte(g.cr3, 0x400000, 0x200000 | kP | kRw | kG);
  g.tables.SetPte(g.cr3, 0x401000, 0x201000 | kP | kRw);
  const auto translate = [&](uint32_t address) { return g.linear.Translate(GuestLinear(address), kRead).value; };
  const auto move_both = [&](uint32_t to) {
    g.tables.SetPte(g.cr3, 0x400000, to | kP | kRw | kG);
    g.tables.SetPte(g.cr3, 0x401000, (to + 0x1000) | kP | kRw);
  };
  CHECK(translate(0x400000) == 0x200000);
  CHECK(translate(0x401000) == 0x201000);
  move_both(0x210000);
  g.Flush();  // the same CR3 again
  CHECK(translate(0x400000) == 0x200000);
  CHECK(translate(0x401000) == 0x211000);
  g.linear.InvalidatePage(GuestLinear(0x400000));
  CHECK(translate(0x400000) == 0x210000);
  move_both(0x220000);
  g.paging.cr4 &= ~cr4::kPge;
  g.Flush();
  CHECK(translate(0x400000) == 0x220000);
  move_both(0x230000);
  g.Flush();
  CHECK(translate(0x400000) == 0x230000);
}

TEST_CASE("With A20 off the second megabyte is the first") {
  Guest g;
  g.paging = PagingState{};
  g.paging.a20_enabled = false;
  g.Flush();
  g.linear.Write<uint8_t>(GuestLinear(0x100500), 0x42, kWrite);
  CHECK(g.memory.Flat(GuestPhysical(0x500))[0] == 0x42);
}

TEST_CASE("A block of many pages is checked whole before it moves") {
  Guest g;
  for (uint32_t i = 0; i < 3; ++i) g.tables.SetPte(g.cr3, 0x400000 + i * kPageSize, (0x200000 + i * 0x2000) | kP | kRw);
  std::vector<uint8_t> data(3 * kPageSize, 0xAB), back(data.size());
  CHECK(FaultOf([&] { g.linear.WriteBytes(GuestLinear(0x400001), data, kWrite); }) == Fault(0x403000, pferr::kWrite));
  CHECK(g.memory.Flat(GuestPhysical(0x200001))[0] == 0);
  g.linear.WriteBytes(GuestLinear(0x400000), data, kWrite);
  g.linear.ReadBytes(GuestLinear(0x400000), back, kRead);
  CHECK(back == data);
}

}  // namespace
}  // namespace ring3
