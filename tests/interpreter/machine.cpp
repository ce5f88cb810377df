#include "tests/interpreter/machine.h"

#include <algorithm>

namespace ring3 {
namespace {

constexpr uint32_t kPresentWritableUser = 7;
constexpr uint16_t kFlatData = 0xC093, kFlatCode = 0xC09B;  // attributes: G, B/D, present, S, accessed

uint64_t Descriptor(uint32_t base, uint32_t limit20, uint16_t attributes) {
  return (limit20 & 0xFFFFu) | uint64_t{base & 0xFF'FFFF} << 16 | uint64_t{attributes & 0xFFu} << 40 |
         uint64_t{limit20 >> 16} << 48 | uint64_t{attributes & 0xF000u} << 40 | uint64_t{base >> 24} << 56;
}

SegmentRegister FlatSegment(uint16_t selector, uint16_t attributes, unsigned dpl) {
  return {.selector = selector,
          .attributes = static_cast<uint16_t>(attributes | dpl << segattr::kDplShift),
          .base = 0,
          .limit = 0xFFFF'FFFF};
}

}  // namespace

Machine::Machine(const char* model)
    : cpu{.state = {}, .model = FindCpuModel(model), .memory = memory_, .mmu = mmu_, .ports = ports_} {
  cpu.state.Reset();
  constexpr uint16_t kDpl3 = 0x60;
  Set<uint64_t>(kGdt + selectors::kCode0, Descriptor(0, 0xFFFFF, kFlatCode));
  Set<uint64_t>(kGdt + selectors::kData0, Descriptor(0, 0xFFFFF, kFlatData));
  Set<uint64_t>(kGdt + (selectors::kCode3 & ~7), Descriptor(0, 0xFFFFF, kFlatCode | kDpl3));
  Set<uint64_t>(kGdt + (selectors::kData3 & ~7), Descriptor(0, 0xFFFFF, kFlatData | kDpl3));
  Set<uint64_t>(kGdt + (selectors::kSmall & ~7), Descriptor(kData, 0xFF, 0x4093 | kDpl3));  // 256 bytes of kData
  Set<uint64_t>(kGdt + selectors::kCode16, Descriptor(kCode, 0xFFFF, 0x009B));
  Set<uint64_t>(kGdt + selectors::kTss, Descriptor(kTss, 0x67, 0x008B));
  Set<uint64_t>(kGdt + (selectors::kReadOnly & ~7), Descriptor(0, 0xFFFFF, 0xC091 | kDpl3));
  Set<uint32_t>(kTss + 4, kStack + kRegionBytes);
  Set<uint16_t>(kTss + 8, selectors::kData0);
  Set<uint16_t>(kTss + 102, 0x68);  // no I/O bitmap
}

void Machine::EnterFlat(unsigned cpl) {
  CpuState& s = cpu.state;
  s.cr0 = cr0::kPe | cr0::kEt | cr0::kNe | cr0::kMp;
  s.cr4 = cr4::kOsfxsr | cr4::kOsxmmexcpt;
  s.cpl = static_cast<uint8_t>(cpl);
  s.gdtr = {kGdt, 0xFF};
  s.idtr = {kIdt, 0x7FF};
  s.tr = {.selector = selectors::kTss, .attributes = 0x8B, .base = kTss, .limit = 0x67};
  const uint16_t code = cpl == 3 ? selectors::kCode3 : selectors::kCode0;
  const uint16_t data = cpl == 3 ? selectors::kData3 : selectors::kData0;
  for (SegmentRegister& segment : s.seg) segment = FlatSegment(data, kFlatData, cpl);
  s.Segment(Seg::kCs) = FlatSegment(code, kFlatCode, cpl);
  s.eip = kCode;
  s.eflags = eflags::kReserved1 | eflags::kIf;
  s.gpr[kEsp] = kStack + kRegionBytes / 2;
  cpu.PagingChanged();
}

void Machine::EnterReal(uint16_t cs, uint16_t ip) {
  CpuState& s = cpu.state;
  s.cr0 = cr0::kEt | cr0::kNe;
  s.cr4 = cr4::kOsfxsr | cr4::kOsxmmexcpt;
  s.cpl = 0;
  for (SegmentRegister& segment : s.seg) segment = {.selector = 0, .attributes = 0x93, .base = 0, .limit = 0xFFFF};
  s.Segment(Seg::kCs) = {.selector = cs, .attributes = 0x9B, .base = uint32_t{cs} << 4, .limit = 0xFFFF};
  s.idtr = {0, 0x3FF};
  s.eip = ip;
  s.eflags = eflags::kReserved1;
  cpu.PagingChanged();
}

void Machine::EnablePaging() {
  constexpr uint32_t kBytesPerTable = 4u << 20;
  for (uint32_t base = 0; base < kRam; base += kBytesPerTable) {
    const uint32_t table = kPageTables + (base >> 22) * kPageSize;
    Set<uint32_t>(kPageDirectory + (base >> 22) * 4, table | kPresentWritableUser);
    for (uint32_t page = base; page < base + kBytesPerTable; page += kPageSize) MapPage(page, kPresentWritableUser);
  }
  cpu.state.cr3 = kPageDirectory;
  cpu.state.cr0 |= cr0::kPg | cr0::kWp;
  cpu.PagingChanged();
}

void Machine::MapPage(uint32_t linear, uint32_t flags) {
  const uint32_t table = kPageTables + (linear >> 22) * kPageSize;
  Set<uint32_t>(table + ((linear >> 12) & 0x3FF) * 4, (linear & ~kPageMask) | flags);
  memory_.InvalidatePage(GuestLinear(linear));
}

void Machine::Put(uint32_t physical, std::initializer_list<uint8_t> bytes) {
  std::copy(bytes.begin(), bytes.end(), physical_.Flat(GuestPhysical(physical)));
}

void Machine::Put(uint32_t physical, const std::vector<uint8_t>& bytes) {
  std::copy(bytes.begin(), bytes.end(), physical_.Flat(GuestPhysical(physical)));
}

StepResult Machine::Step(std::initializer_list<uint8_t> code) {
  Put(cpu.state.Segment(Seg::kCs).base + cpu.state.eip, code);
  return StepInstruction(cpu);
}

}  // namespace ring3
