#include "tests/cpu/guest.h"

#include <cstring>
#include <sstream>

#include "monitor/cpu/segment_checks.h"

namespace ring3::test {
namespace {

struct Machine {
  PhysicalMemory physical{PhysicalMemory::kMinRam};
  LinearMemory memory{physical};
  ShadowMmu mmu{physical};
  PortBus ports;
};

/// One for all tests: reserving windows is slow, and every Guest starts by clearing RAM.
Machine& SharedMachine() {
  static Machine machine;
  return machine;
}

constexpr uint16_t kCode32 = 0xC09B, kData32 = 0xC093, kDpl1 = 1 << 5, kDpl3 = 3 << 5;

void FillGdt(Guest& guest) {
  constexpr uint32_t kAll = 0xFFFF'FFFF;
  guest.SetGdt(kKernelCode, MakeDescriptor(0, kAll, kCode32));
  guest.SetGdt(kKernelData, MakeDescriptor(0, kAll, kData32));
  guest.SetGdt(kUserCode, MakeDescriptor(0, kAll, kCode32 | kDpl3));
  guest.SetGdt(kUserData, MakeDescriptor(0, kAll, kData32 | kDpl3));
  guest.SetGdt(kSelTssA, MakeDescriptor(kTssA, 0x6B, 0x8B));  // current, so busy
  guest.SetGdt(kSelTssB, MakeDescriptor(kTssB, 0x67, 0x89));
  guest.SetGdt(kSelTss16, MakeDescriptor(kTss16, 0x2B, 0x81));
  guest.SetGdt(kSelLdt, MakeDescriptor(kLdt, 0x1F, 0x82));
  guest.SetGdt(kConformingCode, MakeDescriptor(0, kAll, kCode32 | 4));
  guest.SetGdt(kAbsentData, MakeDescriptor(0, kAll, kData32 & ~0x80));
  guest.SetGdt(kReadOnlyData, MakeDescriptor(0, kAll, kData32 & ~2));
  guest.SetGdt(kStack16, MakeDescriptor(0x20000, 0xFFFF, 0x0093));
  guest.SetGdt(kCode16, MakeDescriptor(0, 0xFFFF, 0x009B));
  guest.SetGdt(kExecuteOnly, MakeDescriptor(0, kAll, kCode32 & ~2));
  guest.SetGdt(kRing1Code, MakeDescriptor(0, kAll, kCode32 | kDpl1));
  guest.SetGdt(kRing1Data, MakeDescriptor(0, kAll, kData32 | kDpl1));
  guest.SetGdt(kTaskGateB, MakeGate(kSelTssB, 0, 5, 0));
  guest.SetGdt(kSmallCode, MakeDescriptor(0, 0xFFF, 0x409B));
  guest.SetGdt(kExpandDown, MakeDescriptor(0, 0xFFF, 0x4097));
  guest.SetGdt(kAbsentCode, MakeDescriptor(0, kAll, kCode32 & ~0x80));
  guest.SetGdt(kUserStack16, MakeDescriptor(0, 0xFFFF, 0x00F3));
  guest.SetGdt(kSmallStack, MakeDescriptor(0, 0xF, 0x4093));
}

void Show(std::ostringstream& out, const char* name, uint64_t actual, uint64_t expected) {
  if (actual != expected) out << name << std::hex << ": " << actual << " instead of " << expected << '\n';
}

void Show(std::ostringstream& out, const char* name, const SegmentRegister& a, const SegmentRegister& b) {
  if (a == b) return;
  const auto print = [&](const SegmentRegister& s) {
    out << std::hex << s.selector << " {attr " << s.attributes << " base " << s.base << " limit " << s.limit << "}";
  };
  out << name << ": ";
  print(a);
  out << " instead of ";
  print(b);
  out << '\n';
}

}  // namespace

uint64_t MakeDescriptor(uint32_t base, uint32_t limit, uint16_t attributes) {
  const uint64_t raw_limit = attributes & segattr::kG ? limit >> 12 : limit;
  return (raw_limit & 0xFFFF) | (raw_limit & 0xF0000) << 32 | uint64_t{base & 0xFF'FFFF} << 16 |
         uint64_t{base & 0xFF00'0000} << 32 | uint64_t{attributes} << 40;
}

uint64_t MakeGate(uint16_t selector, uint32_t offset, unsigned type, unsigned dpl, unsigned parameters) {
  return (offset & 0xFFFF) | uint64_t{selector} << 16 | uint64_t{parameters} << 32 |
         uint64_t{0x80 | dpl << 5 | type} << 40 | uint64_t{offset & 0xFFFF'0000} << 32;
}

Guest::Guest(const char* model)
    : cpu{{}, FindCpuModel(model), SharedMachine().memory, SharedMachine().mmu, SharedMachine().ports} {
  std::memset(SharedMachine().physical.Flat(GuestPhysical(0)), 0, 0xA0000);
  FillGdt(*this);
  state.Reset();
  state.cr0 = cr0::kPe | cr0::kEt | cr0::kNe;
  state.gdtr = {kGdt, 0xBF};
  state.idtr = {kIdt, 0x7FF};
  state.ldtr = NullSegment(0);
  state.tr = Loaded(kSelTssA);
  for (Seg s : {Seg::kEs, Seg::kSs, Seg::kDs, Seg::kFs, Seg::kGs}) state.Segment(s) = Loaded(kKernelData);
  state.Segment(Seg::kCs) = Loaded(kKernelCode);
  state.eip = kCode;
  state.eflags = eflags::kReserved1 | eflags::kIf | eflags::kCf;
  state.gpr = {0xA0, 0xA1, 0xA2, 0xA3, kKernelStack, 0xA5, 0xA6, 0xA7};
  Poke<uint32_t>(kTssA + 4, kKernelStack);
  Poke<uint16_t>(kTssA + 8, kKernelData);
  Poke<uint32_t>(kTssA + 12, kRing1Stack);
  Poke<uint16_t>(kTssA + 16, kRing1Data | 1);
  cpu.PagingChanged();
}

void Guest::EnterUser() {
  for (Seg s : {Seg::kEs, Seg::kSs, Seg::kDs, Seg::kFs, Seg::kGs}) state.Segment(s) = Loaded(kUserData | 3);
  state.Segment(Seg::kCs) = Loaded(kUserCode | 3);
  state.cpl = 3;
  state.gpr[kEsp] = kUserStack;
}

void Guest::EnterV86(unsigned iopl) {
  state.eflags |= eflags::kVm | iopl << eflags::kIoplShift;
  state.cpl = 3;
  state.Segment(Seg::kCs) = V86Segment(Seg::kCs, 0x700);
  state.Segment(Seg::kSs) = V86Segment(Seg::kSs, 0x900);
  state.Segment(Seg::kEs) = V86Segment(Seg::kEs, 0xA00);
  state.Segment(Seg::kDs) = V86Segment(Seg::kDs, 0xB00);
  state.Segment(Seg::kFs) = V86Segment(Seg::kFs, 0xC00);
  state.Segment(Seg::kGs) = V86Segment(Seg::kGs, 0xD00);
  state.eip = 0x10;
  state.gpr[kEsp] = 0x100;
}

void Guest::EnterRealMode() {
  state.Reset();
  state.cr0 = cr0::kEt;
  state.idtr = {0, 0x3FF};
  LoadSegment(cpu, Seg::kSs, 0x900);
  FarJump(cpu, 0x700, 0x10, OperandSize::k16, 0);
  state.gpr[kEsp] = 0x100;
  cpu.PagingChanged();
}

void Guest::EnablePaging(std::initializer_list<uint32_t> absent) {
  constexpr uint32_t kPresentWritableUser = 7;
  Poke<uint32_t>(kPageDirectory, kPageTable | kPresentWritableUser);
  for (uint32_t page = 0; page < 0xA0; ++page) Poke<uint32_t>(kPageTable + page * 4, page << 12 | kPresentWritableUser);
  for (uint32_t address : absent) Poke<uint32_t>(kPageTable + (address >> 12) * 4, 0);
  state.cr3 = kPageDirectory;
  state.cr0 |= cr0::kPg | cr0::kWp;
  cpu.PagingChanged();
}

std::vector<uint32_t> Guest::Dwords(uint32_t address, unsigned count) const {
  std::vector<uint32_t> values;
  for (unsigned i = 0; i < count; ++i) values.push_back(Peek<uint32_t>(address + i * 4));
  return values;
}

std::vector<uint32_t> Guest::Words(uint32_t address, unsigned count) const {
  std::vector<uint32_t> values;
  for (unsigned i = 0; i < count; ++i) values.push_back(Peek<uint16_t>(address + i * 2));
  return values;
}

SegmentRegister Guest::Loaded(uint16_t selector) const {
  return Descriptor{Peek<uint64_t>(kGdt + (selector & 0xFFF8))}.Load(selector);
}

std::string Diff(const CpuState& actual, const CpuState& expected) {
  if (actual == expected) return "";
  static constexpr const char* kGprNames[] = {"eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"};
  static constexpr const char* kSegNames[] = {"es", "cs", "ss", "ds", "fs", "gs"};
  std::ostringstream out;
  for (unsigned i = 0; i < kGprCount; ++i) Show(out, kGprNames[i], actual.gpr[i], expected.gpr[i]);
  Show(out, "eip", actual.eip, expected.eip);
  Show(out, "eflags", actual.eflags, expected.eflags);
  for (unsigned i = 0; i < kSegCount; ++i) Show(out, kSegNames[i], actual.seg[i], expected.seg[i]);
  Show(out, "ldtr", actual.ldtr, expected.ldtr);
  Show(out, "tr", actual.tr, expected.tr);
  Show(out, "cr0", actual.cr0, expected.cr0);
  Show(out, "cr2", actual.cr2, expected.cr2);
  Show(out, "cr3", actual.cr3, expected.cr3);
  Show(out, "cr4", actual.cr4, expected.cr4);
  for (unsigned i = 0; i < 8; ++i) Show(out, "dr", actual.dr[i], expected.dr[i]);
  Show(out, "efer", actual.efer, expected.efer);
  Show(out, "cpl", actual.cpl, expected.cpl);
  Show(out, "halted", actual.halted, expected.halted);
  Show(out, "interrupt_shadow", actual.interrupt_shadow, expected.interrupt_shadow);
  const std::string text = out.str();
  return text.empty() ? "tables, MSRs, PDPTEs or FPU state" : text;
}

}  // namespace ring3::test
