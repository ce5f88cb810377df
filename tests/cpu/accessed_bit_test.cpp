// Accessed bits in descriptors: set by loads that succeed, left alone by those that fault, however late.
#include "tests/cpu/guest.h"

namespace ring3::test {
namespace {

constexpr uint32_t kFrame = kKernelStack - 64, kFlags = eflags::kReserved1 | eflags::kIf;
constexpr uint16_t kAccessedBit = segattr::kAccessed;
constexpr uint16_t kCode32 = 0xC09A, kSmallCode32 = 0x409A, kData32 = 0xC092, kDpl3 = 3 << 5;

bool Accessed(const Guest& guest, uint16_t selector) { return guest.Peek<uint8_t>(kGdt + selector + 5) & kAccessedBit; }

void PutFrame(Guest& guest, const std::vector<uint32_t>& frame) {
  for (unsigned i = 0; i < frame.size(); ++i) guest.Poke<uint32_t>(kFrame + i * 4, frame[i]);
  guest.state.gpr[kEsp] = kFrame;
}

/// A transfer that loads kConformingCode (by another meaning) as CS and, where `stack` says so, kRing1Data as SS.
struct Transfer {
  const char* name;
  void (*prepare)(Guest&);
  void (*run)(Guest&);
  void (*spoil)(Guest&);  // makes the last thing but the load itself fault
  bool stack = false;
};

constexpr uint16_t kCs = kConformingCode, kSs = kRing1Data;

void ShrinkCode(Guest& guest) { guest.SetGdt(kCs, MakeDescriptor(0, 0xFFF, kSmallCode32)); }
void ShrinkUserCode(Guest& guest) { guest.SetGdt(kCs, MakeDescriptor(0, 0xFFF, kSmallCode32 | kDpl3)); }
void EndStack(Guest& guest) {
  guest.state.Segment(Seg::kSs) = guest.Loaded(kSmallStack);
  guest.state.gpr[kEsp] = 6;
}
void EndInnerStack(Guest& guest) {
  guest.SetGdt(kSs, MakeDescriptor(0, 0xF, 0x4092));
  guest.Poke<uint32_t>(kTssA + 4, 0xC);
}

const Transfer kTransfers[] = {
    {"far jump", [](Guest&) {}, [](Guest& g) { FarJump(g.cpu, kCs, 0x5000, OperandSize::k32, 0); }, ShrinkCode},
    {"far call", [](Guest&) {}, [](Guest& g) { FarCall(g.cpu, kCs, 0x5000, OperandSize::k32, 0); }, EndStack},
    {"far return",
     [](Guest& g) {
       PutFrame(g, {0x5000, kCs});
     },
     [](Guest& g) { FarReturn(g.cpu, OperandSize::k32, 0); }, ShrinkCode},
    {"interrupt return",
     [](Guest& g) {
       PutFrame(g, {0x5000, kCs, kFlags});
     },
     [](Guest& g) { InterruptReturn(g.cpu, OperandSize::k32); }, ShrinkCode},
    {"call gate", [](Guest& g) { g.SetGdt(kCallGate, MakeGate(kCs, 0x5000, 12, 3)); },
     [](Guest& g) { FarCall(g.cpu, kCallGate, 0, OperandSize::k32, 0); }, EndStack},
    {"interrupt", [](Guest& g) { g.SetIdt(0x40, MakeGate(kCs, 0x5000, 14, 3)); },
     [](Guest& g) { RaiseSoftwareInterrupt(g.cpu, 0x40, SoftwareInterrupt::kIntN, 0); }, EndStack},
    {"call gate to an inner level",
     [](Guest& g) {
       g.SetGdt(kCallGate, MakeGate(kCs, 0x5000, 12, 3));
       g.Poke<uint16_t>(kTssA + 8, kSs);
       g.EnterUser();
     },
     [](Guest& g) { FarCall(g.cpu, kCallGate, 0, OperandSize::k32, 0); }, EndInnerStack, true},
    {"interrupt to an inner level",
     [](Guest& g) {
       g.SetIdt(0x40, MakeGate(kCs, 0x5000, 14, 3));
       g.Poke<uint16_t>(kTssA + 8, kSs);
       g.EnterUser();
     },
     [](Guest& g) { RaiseSoftwareInterrupt(g.cpu, 0x40, SoftwareInterrupt::kIntN, 0); }, EndInnerStack, true},
    {"interrupt return to an outer level",
     [](Guest& g) {
       g.SetGdt(kCs, MakeDescriptor(0, 0xFFFF'FFFF, kCode32 | kDpl3));
       g.SetGdt(kSs, MakeDescriptor(0, 0xFFFF'FFFF, kData32 | kDpl3));
       PutFrame(g, {0x5000, kCs | 3, kFlags, kUserStack, kSs | 3});
     },
     [](Guest& g) { InterruptReturn(g.cpu, OperandSize::k32); }, ShrinkUserCode, true},
    {"far return to an outer level",
     [](Guest& g) {
       g.SetGdt(kCs, MakeDescriptor(0, 0xFFFF'FFFF, kCode32 | kDpl3));
       g.SetGdt(kSs, MakeDescriptor(0, 0xFFFF'FFFF, kData32 | kDpl3));
       PutFrame(g, {0x5000, kCs | 3, kUserStack, kSs | 3});
     },
     [](Guest& g) { FarReturn(g.cpu, OperandSize::k32, 0); }, ShrinkUserCode, true},
};

/// The guest that `transfer` starts from, with accessed bits clear in what it will load.
void Prepare(Guest& guest, const Transfer& transfer) {
  guest.SetGdt(kCs, MakeDescriptor(0, 0xFFFF'FFFF, kCode32));
  guest.SetGdt(kSs, MakeDescriptor(0, 0xFFFF'FFFF, kData32));
  transfer.prepare(guest);
}

}  // namespace

TEST_CASE("a transfer sets the accessed bits of the segments it loads") {
  for (const Transfer& transfer : kTransfers) {
    INFO(transfer.name);
    Guest guest;
    Prepare(guest, transfer);
    transfer.run(guest);
    CHECK(guest.state.eip == 0x5000);
    CHECK(Accessed(guest, kCs));
    CHECK(Accessed(guest, kSs) == transfer.stack);
    CHECK(guest.state.Segment(Seg::kCs).attributes & kAccessedBit);
  }
}

TEST_CASE("a transfer that faults at the last moment sets no accessed bit") {
  for (const Transfer& transfer : kTransfers) {
    INFO(transfer.name);
    Guest guest;
    Prepare(guest, transfer);
    transfer.spoil(guest);
    const CpuState before = guest.state;
    CHECK(FaultOf([&] { transfer.run(guest); }) != "none");
    CHECK(Diff(guest.state, before) == "");
    CHECK_FALSE(Accessed(guest, kCs));
    CHECK_FALSE(Accessed(guest, kSs));
  }
}

TEST_CASE("a transfer that cannot write the accessed bit faults with its state unchanged") {
  for (const Transfer& transfer : kTransfers) {
    INFO(transfer.name);
    Guest guest;
    Prepare(guest, transfer);
    guest.EnablePaging({});
    guest.Poke<uint32_t>(kPageTable + (kGdt >> 12) * 4, (kGdt & ~0xFFFu) | 5);  // read-only
    guest.cpu.PagingChanged();
    const CpuState before = guest.state;
    CHECK(FaultOf([&] { transfer.run(guest); }) == Fault(Vector::kPageFault, 3));
    CpuState after = guest.state;
    after.cr2 = before.cr2;
    CHECK(Diff(after, before) == "");
  }
}

TEST_CASE("a task switch that cannot write a descriptor's busy bit changes nothing") {
  Guest guest;
  guest.EnablePaging({});
  guest.Poke<uint32_t>(kTssB + 0x1C, kPageDirectory);
  guest.Poke<uint32_t>(kPageTable + (kGdt >> 12) * 4, (kGdt & ~0xFFFu) | 5);
  guest.cpu.PagingChanged();
  guest.state.eip = 0x4444;
  CHECK_FAULT(guest, Fault(Vector::kPageFault, 3), FarJump(guest.cpu, kSelTssB, 0, OperandSize::k32, 0));
  CHECK_FAULT(guest, Fault(Vector::kPageFault, 3), FarCall(guest.cpu, kSelTssB, 0, OperandSize::k32, 0));
  CHECK(guest.Peek<uint32_t>(kTssA + 0x20) == 0);  // nothing was saved
}

}  // namespace ring3::test
