#include "tests/kvm/scene.h"

#include <algorithm>

namespace ring3::kvm_test {
namespace {

constexpr uint16_t kFlatCode = 0xC09B, kFlatData = 0xC093, kCode16 = 0x009B, kData16 = 0x0093, kTss = 0x89,
                   kTssBusy = 0x8B, kTss16 = 0x81, kLdtType = 0x82, kV86Data = 0xF3;
constexpr uint32_t kTssLimit = 0x67, kTss16Limit = 0x2B, kIoMapOffset = 0x68, kIoMapBytes = 0x2001;
constexpr uint32_t kAccessed = 0x20, kPresentWritableUser = 7 | kAccessed, kPresent = 1;

constexpr uint16_t WithDpl(uint16_t attributes, unsigned dpl) {
  return static_cast<uint16_t>(attributes | dpl << segattr::kDplShift);
}

}  // namespace

uint64_t MakeDescriptor(uint32_t base, uint32_t limit20, uint16_t attributes) {
  return (limit20 & 0xFFFFu) | uint64_t{base & 0xFF'FFFF} << 16 | uint64_t{attributes & 0xFFu} << 40 |
         uint64_t{(limit20 >> 16) & 0xF} << 48 | uint64_t{attributes & 0xF000u} << 40 | uint64_t{base >> 24} << 56;
}

uint64_t MakeGate(uint16_t selector, uint32_t offset, unsigned type, unsigned dpl, bool present, unsigned parameters) {
  return (offset & 0xFFFFu) | uint64_t{selector} << 16 | uint64_t{parameters & 0x1F} << 32 |
         uint64_t{type | dpl << 5 | (present ? 0x80u : 0u)} << 40 | uint64_t{offset >> 16} << 48;
}

Scene::Scene(Mode mode, unsigned cpl, Random& random) : memory(arena::kBytes, arena::kStop) {
  state.Reset();
  state.cr0 = cr0::kEt | cr0::kNe | (mode == Mode::kReal ? 0 : cr0::kPe);
  state.cpl = static_cast<uint8_t>(mode == Mode::kV86 ? 3 : cpl);
  for (uint32_t& r : state.gpr) r = OneIn(random, 4) ? Below(random, 256) : static_cast<uint32_t>(random());
  state.eflags = eflags::kReserved1 | (random() & eflags::kHostHeld & ~eflags::kDf);
  state.gdtr = {arena::kGdt, kGdtBytes - 1};
  state.idtr = {arena::kIdt, 256 * 8 - 1};
  BuildTables();
  BuildTasks();
  state.ldtr = Loaded(kSelLdt);
  state.tr = Loaded(kSelTssA);
  static uint32_t trial = 0;
  const uint32_t code = arena::kCode + trial++ * 4096 % (arena::kCodeEnd - arena::kCode);
  if (mode == Mode::kProtected) {
    for (SegmentRegister& s : state.seg) s = Loaded(DataSelector(cpl));
    state.Segment(Seg::kCs) = Loaded(CodeSelector(cpl));
    state.eip = code;
    state.gpr[kEsp] = arena::kStack + 0x800;
    return;
  }
  const auto paragraph = [&](Seg s, uint32_t base) {
    const uint16_t attributes = mode == Mode::kV86 ? kV86Data : s == Seg::kCs ? kCode16 : kData16;
    state.Segment(s) = {static_cast<uint16_t>(base >> 4), attributes, base, 0xFFFF};
  };
  for (Seg s : {Seg::kEs, Seg::kDs, Seg::kFs, Seg::kGs}) paragraph(s, arena::kData);
  paragraph(Seg::kSs, arena::kStack);
  paragraph(Seg::kCs, code - 0x100);
  state.eip = 0x100;
  state.gpr[kEsp] = 0x800;
  if (mode == Mode::kV86) {
    state.eflags |= eflags::kVm;
    return;
  }
  state.idtr = {0, 0x3FF};
  for (uint32_t v = 0; v < 256; ++v) Poke<uint32_t>(4 * v, (arena::kHandlers >> 4) << 16 | (v * arena::kHandlerStride));
}

void Scene::BuildTables() {
  for (unsigned cpl = 0; cpl < 4; ++cpl) {
    SetGdt(CodeSelector(cpl), MakeDescriptor(0, 0xFFFFF, WithDpl(kFlatCode, cpl)));
    SetGdt(DataSelector(cpl), MakeDescriptor(0, 0xFFFFF, WithDpl(kFlatData, cpl)));
  }
  SetGdt(0, 0);
  SetGdt(kSelTssA, MakeDescriptor(arena::kTssA, kIoMapOffset + kIoMapBytes - 1, kTssBusy));
  SetGdt(kSelTssB, MakeDescriptor(arena::kTssB, kTssLimit, kTss));
  SetGdt(kSelTss16A, MakeDescriptor(arena::kTss16A, kTss16Limit, kTss16));
  SetGdt(kSelTss16B, MakeDescriptor(arena::kTss16B, kTss16Limit, kTss16));
  SetGdt(kSelLdt, MakeDescriptor(arena::kLdt, kLdtBytes - 1, kLdtType));
  SetGdt(kSelCode16, MakeDescriptor(0, 0x3FFFF, kCode16));
  SetGdt(kSelData16, MakeDescriptor(arena::kStack, 0xFFFF, kData16));
  for (uint16_t s = kSelBelow; s < kVariants; s = static_cast<uint16_t>(s + 8)) SetGdt(s, 0);
  for (uint32_t v = 0; v < 256; ++v) {
    SetGate(v, MakeGate(CodeSelector(0), arena::kHandlers + v * arena::kHandlerStride, 14, 3, true, 0));
  }
}

void Scene::BuildTasks() {
  std::fill_n(memory.begin() + arena::kTssA, kIoMapOffset, uint8_t{0});
  for (uint32_t level = 0; level < 3; ++level) {
    Poke<uint32_t>(arena::kTssA + 4 + 8 * level, arena::kStackOf[level]);
    Poke<uint32_t>(arena::kTssA + 8 + 8 * level, DataSelector(level));
    Poke<uint16_t>(arena::kTss16A + 2 + 4 * level, static_cast<uint16_t>(arena::kStackOf[level] & 0xFFFF));
  }
  Poke<uint16_t>(arena::kTssA + 102, kIoMapOffset);
  std::fill_n(memory.begin() + arena::kTssA + kIoMapOffset, kIoMapBytes - 1, uint8_t{0});
  memory[arena::kTssA + kIoMapOffset + kIoMapBytes - 1] = 0xFF;
}

void Scene::Code(const std::vector<uint8_t>& bytes) {
  const uint32_t at = state.Segment(Seg::kCs).base + state.eip;
  std::copy(bytes.begin(), bytes.end(), memory.begin() + at);
  note += " code";
  for (uint8_t b : bytes) {
    static constexpr char kHex[] = "0123456789abcdef";
    note += {' ', kHex[b >> 4], kHex[b & 15]};
  }
}

void Scene::AddVariants(Random& random) {
  for (uint32_t i = 0; i < kVariantCount * 2u; ++i) {
    const unsigned type = i & 0xF, dpl = (i >> 5) & 3;
    const bool ordinary = i & 0x10, present = i & 0x80;
    const uint32_t table = i < kVariantCount ? arena::kGdt + kVariants : arena::kLdt;
    uint64_t raw;
    const bool gate = !ordinary && (type == 4 || type == 5 || type == 6 || type == 7 || type == 12 || type >= 14);
    if (gate) {
      const uint16_t target = type == 5 ? Choose<uint16_t>(random, {kSelTssB, kSelTss16B, kSelTssA, 0})
                                        : Choose<uint16_t>(random, {CodeSelector(0), CodeSelector(1), CodeSelector(3),
                                                                    kSelCode16, DataSelector(0), 0});
      raw = MakeGate(target, arena::kLowStops + 4 * Below(random, 64), type, dpl, present,
                     type == 4 || type == 12 ? Below(random, 5) : 0);
    } else {
      const uint16_t attributes = static_cast<uint16_t>(type | (ordinary ? segattr::kS : 0) | dpl << 5 |
                                                        (present ? segattr::kPresent : 0) | Below(random, 16) << 12);
      const bool tss32 = !ordinary && (type & 13) == 9, tss16 = !ordinary && (type & 13) == 1;
      const uint32_t base = tss32                    ? arena::kTssB
                            : tss16                  ? arena::kTss16B
                            : !ordinary && type == 2 ? arena::kLdt
                                                     : Choose<uint32_t>(random, {0, 0x100, 0x2000});
      const uint32_t limit = tss32   ? Choose<uint32_t>(random, {0x67, 0x67, 0x66, 0xFFFF})
                             : tss16 ? Choose<uint32_t>(random, {0x2B, 0x2B, 0x2A, 0xFFFF})
                                     : Choose<uint32_t>(random, {0xFFFFF, 0x3FFFF, 0xFFFF, 0x12004});
      raw = MakeDescriptor(base, limit, static_cast<uint16_t>(attributes & ~(1u << 13)));
    }
    Poke(table + 8 * (i % kVariantCount), raw);
  }
}

uint16_t Scene::AnySelector(Random& random) const {
  const uint32_t rpl = Below(random, 4);
  switch (Below(random, 16)) {
    case 0:
      return static_cast<uint16_t>(rpl);  // null
    case 1:
      return static_cast<uint16_t>((kGdtBytes + 8 * Below(random, 3)) | rpl);  // beyond the GDT
    case 2:
      return static_cast<uint16_t>((8 * (1 + Below(random, 15))) | rpl);
    case 3:
    case 4:
    case 5:
      return static_cast<uint16_t>((8 * Below(random, kVariantCount)) | 4 | rpl);
    default:
      return static_cast<uint16_t>((kVariants + 8 * Below(random, kVariantCount)) | rpl);
  }
}

void Scene::Stack(std::initializer_list<uint32_t> values) {
  for (uint32_t value : values) {
    state.gpr[kEsp] -= 4;
    Poke(state.Segment(Seg::kSs).base + state.gpr[kEsp], value);
  }
}

void Scene::Stack16(std::initializer_list<uint16_t> values) {
  for (uint16_t value : values) {
    state.gpr[kEsp] -= 2;
    Poke(state.Segment(Seg::kSs).base + state.gpr[kEsp], value);
  }
}

void Scene::EnablePaging() {
  std::fill_n(memory.begin() + arena::kPageDirectory, 4096, uint8_t{0});
  Poke<uint32_t>(arena::kPageDirectory, arena::kPageTable | kPresentWritableUser);
  for (uint32_t i = 0; i < 1024; ++i) Poke<uint32_t>(arena::kPageTable + 4 * i, i << 12 | kPresentWritableUser);
  state.cr3 = arena::kPageDirectory;
  state.cr0 |= cr0::kPg;
}

void Scene::EnablePae() {
  for (uint32_t page : {arena::kPdpt, arena::kPaeDirectory}) std::fill_n(memory.begin() + page, 4096, uint8_t{0});
  Poke<uint64_t>(arena::kPdpt, arena::kPaeDirectory | kPresent);
  Poke<uint64_t>(arena::kPaeDirectory, arena::kPaeTable | kPresentWritableUser);
  for (uint32_t i = 0; i < 512; ++i) Poke<uint64_t>(arena::kPaeTable + 8 * i, i << 12 | kPresentWritableUser);
  state.cr3 = arena::kPdpt;
  state.cr4 |= cr4::kPae;
  state.cr0 |= cr0::kPg;
  state.pdpte = {arena::kPaeDirectory | kPresent, 0, 0, 0};
}

SegmentRegister Scene::Loaded(uint16_t s) const {
  const uint64_t raw = Peek<uint64_t>(arena::kGdt + (s & ~7u));
  const uint16_t attributes = (raw >> 40) & 0xF0FF;
  const uint32_t limit = static_cast<uint32_t>((raw & 0xFFFF) | ((raw >> 32) & 0xF'0000));
  return {.selector = s,
          .attributes = attributes,
          .base = static_cast<uint32_t>(((raw >> 16) & 0xFF'FFFF) | ((raw >> 32) & 0xFF00'0000)),
          .limit = attributes & segattr::kG ? limit << 12 | 0xFFF : limit};
}

}  // namespace ring3::kvm_test
