#include "tests/redpill/rings.h"

#include <cstring>

namespace ring3 {
namespace {

constexpr uint16_t kFlatCode = 0xC09B, kFlatData = 0xC093, kLdtType = 0x0082;
constexpr uint8_t kFill = 0xCC;

uint16_t WithDpl(uint16_t attributes, unsigned dpl) {
  return static_cast<uint16_t>(attributes | dpl << segattr::kDplShift);
}

void ExtendTables(TestMachine& machine) {
  constexpr uint32_t kAll = 0xFFFFF;
  SetDescriptor(machine, rings::kCode1, RawDescriptor(0, kAll, WithDpl(kFlatCode, 1)));
  SetDescriptor(machine, rings::kData1, RawDescriptor(0, kAll, WithDpl(kFlatData, 1)));
  SetDescriptor(machine, rings::kCode2, RawDescriptor(0, kAll, WithDpl(kFlatCode, 2)));
  SetDescriptor(machine, rings::kData2, RawDescriptor(0, kAll, WithDpl(kFlatData, 2)));
  SetDescriptor(machine, rings::kLdt, RawDescriptor(rings::kLdtBase, rings::kLdtLimit, kLdtType));
  machine.Write(rings::kLdtBase, Bytes(rings::kLdtLimit + 1));
  machine.State().gdtr.limit = rings::kGdtLimit;
  machine.State().ldtr = {rings::kLdt, kLdtType, rings::kLdtBase, rings::kLdtLimit};
}

}  // namespace

namespace rings {

uint16_t Code(unsigned cpl) {
  constexpr uint16_t kByRing[] = {guest::kCode0, kCode1 | 1, kCode2 | 2, guest::kCode3};
  return kByRing[cpl];
}

uint16_t Data(unsigned cpl) {
  constexpr uint16_t kByRing[] = {guest::kData0, kData1 | 1, kData2 | 2, guest::kData3};
  return kByRing[cpl];
}

}  // namespace rings

uint64_t RawDescriptor(uint32_t base, uint32_t limit20, uint16_t attributes) {
  return (limit20 & 0xFFFFu) | uint64_t{limit20 & 0xF0000} << 32 | uint64_t{base & 0xFF'FFFF} << 16 |
         uint64_t{base >> 24} << 56 | uint64_t{attributes} << 40;
}

uint64_t RawGate(uint16_t selector, uint32_t offset, unsigned type, unsigned dpl, unsigned parameters) {
  return (offset & 0xFFFFu) | uint64_t{selector} << 16 | uint64_t{parameters} << 32 |
         uint64_t{0x80u | dpl << 5 | type} << 40 | uint64_t{offset >> 16} << 48;
}

void SetDescriptor(TestMachine& machine, uint16_t selector, uint64_t descriptor) {
  machine.Set<uint64_t>(guest::kGdt + (selector & ~7u), descriptor);
}

void EnterRing(TestMachine& machine, unsigned cpl, const Bytes& code) {
  machine.Reset(cpl == 3 ? 3 : 0);
  machine.LoadCode(code, 0);
  machine.Write(guest::kDataFrames, Bytes(guest::kDataBytes, kFill));
  ExtendTables(machine);
  if (cpl == 0 || cpl == 3) return;
  CpuState& s = machine.State();
  s.cpl = static_cast<uint8_t>(cpl);
  for (Seg seg : {Seg::kEs, Seg::kDs, Seg::kSs}) {
    s.Segment(seg) = {rings::Data(cpl), WithDpl(kFlatData, cpl), 0, 0xFFFF'FFFF};
  }
  s.Segment(Seg::kCs) = {rings::Code(cpl), WithDpl(kFlatCode, cpl), 0, 0xFFFF'FFFF};
}

void EnterV86(TestMachine& machine, unsigned iopl, const Bytes& code) {
  machine.Reset(3);
  ExtendTables(machine);
  for (uint32_t page = rings::kV86Code; page <= rings::kV86Stack; page += kPageSize) {
    machine.Map(page, page, kOpenPage);
    machine.Write(page, Bytes(kPageSize, kFill));
  }
  machine.Write(rings::kV86Code, code);
  CpuState& s = machine.State();
  s.eflags |= eflags::kVm | iopl << eflags::kIoplShift;
  constexpr uint16_t kAttributes = 0x00F3;  // SDM 3A 20.1: present, DPL 3, writable data, limit 64 KiB
  const auto segment = [](uint16_t value) { return SegmentRegister{value, kAttributes, uint32_t{value} << 4, 0xFFFF}; };
  for (SegmentRegister& seg : s.seg) seg = segment(rings::kV86Ds);
  s.Segment(Seg::kCs) = segment(rings::kV86Cs);
  s.Segment(Seg::kSs) = segment(rings::kV86Ss);
  s.eip = 0;
  s.gpr[kEsp] = rings::kV86Sp;
}

Bytes ThreeTimes(const std::function<void(asmjit::x86::Assembler&)>& body) {
  using namespace asmjit::x86;
  return Assemble(guest::kCode, [&](Assembler& a) {
    asmjit::Label top = a.newLabel();
    a.mov(dword_ptr(uint64_t{guest::kData}), 3);
    a.bind(top);
    body(a);
    a.dec(dword_ptr(uint64_t{guest::kData}));
    a.jnz(top);
    a.int3();
  });
}

uint32_t DwordAt(const Outcome& outcome, uint32_t address) {
  uint32_t value;
  std::memcpy(&value, &outcome.data.at(address - guest::kData), sizeof value);
  return value;
}

uint16_t WordAt(const Outcome& outcome, uint32_t address) { return static_cast<uint16_t>(DwordAt(outcome, address)); }

}  // namespace ring3
