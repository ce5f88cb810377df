// Segment registers, LDTR and TR: every type of descriptor, at every privilege.
#include <catch2/catch.hpp>

#include "tests/kvm/comparison.h"

namespace ring3::kvm_test {
namespace {

/// A scene whose tables hold all variants.
Scene WithVariants(unsigned cpl, Random& random) {
  Scene scene(Mode::kProtected, cpl, random);
  scene.AddVariants(random);
  return scene;
}

/// The selector of variant `i` in GDT or LDT.
uint16_t Variant(uint32_t i, bool in_ldt, unsigned rpl) {
  return static_cast<uint16_t>((in_ldt ? 8 * i + 4 : kVariants + 8 * i) | rpl);
}

struct Load {
  const char* name;
  std::vector<uint8_t> code;
};

}  // namespace

TEST_CASE("kvm: MOV to segment registers", "[segments]") {
  Sweep sweep("MOV to segment registers");
  if (!sweep.Usable()) return;
  const Load loads[] = {{"mov es", {0x8E, 0xC0}},
                        {"mov ss", {0x8E, 0xD0}},
                        {"mov ds", {0x8E, 0xD8}},
                        {"mov fs", {0x8E, 0xE0}},
                        {"mov gs", {0x8E, 0xE8}}};
  Random random(1);
  for (uint32_t i = 0; i < kVariantCount; ++i) {
    for (unsigned cpl = 0; cpl < 4; ++cpl) {
      for (unsigned rpl = i % 2; rpl < 4; rpl += 2) {
        const Load& load = loads[(i + cpl + rpl) % 2 ? 1 : Below(random, std::size(loads))];
        Scene scene = WithVariants(cpl, random);
        scene.Code(load.code);
        scene.Reg(kEax) = Variant(i, OneIn(random, 4), rpl);
        sweep.Try(load.name, scene);
      }
    }
  }
  sweep.Finish();
}

TEST_CASE("kvm: POP and far pointer loads of segment registers", "[segments]") {
  Sweep sweep("POP and far pointer loads");
  if (!sweep.Usable()) return;
  const Load loads[] = {{"pop es", {0x07}},          {"pop ss", {0x17}},          {"pop ds", {0x1F}},
                        {"pop fs", {0x0F, 0xA1}},    {"pop gs", {0x0F, 0xA9}},    {"pop gs 16", {0x66, 0x0F, 0xA9}},
                        {"les", {0xC4, 0x03}},       {"lds", {0xC5, 0x03}},       {"lss", {0x0F, 0xB2, 0x03}},
                        {"lfs", {0x0F, 0xB4, 0x03}}, {"lgs", {0x0F, 0xB5, 0x03}}, {"lgs 16", {0x66, 0x0F, 0xB5, 0x03}}};
  Random random(2);
  for (int i = 0; i < 1200; ++i) {
    Scene scene = WithVariants(Below(random, 4), random);
    const Load& load = loads[Below(random, std::size(loads))];
    const uint16_t selector = scene.AnySelector(random);
    scene.Code(load.code);
    scene.Stack({static_cast<uint32_t>(random()), selector});
    scene.Reg(kEbx) = arena::kData;
    scene.Poke<uint32_t>(arena::kData, static_cast<uint32_t>(random()));
    scene.Poke<uint16_t>(arena::kData + 2, selector);
    scene.Poke<uint16_t>(arena::kData + 4, selector);
    sweep.Try(load.name, scene);
  }
  sweep.Finish();
}

TEST_CASE("kvm: LLDT, LTR, SLDT and STR", "[segments]") {
  Sweep sweep("LLDT, LTR, SLDT and STR");
  if (!sweep.Usable()) return;
  const Load loads[] = {{"lldt", {0x0F, 0x00, 0xD0}},          {"lldt mem", {0x0F, 0x00, 0x13}},
                        {"ltr", {0x0F, 0x00, 0xD8}},           {"ltr mem", {0x0F, 0x00, 0x1B}},
                        {"sldt", {0x0F, 0x00, 0xC0}},          {"sldt mem", {0x0F, 0x00, 0x03}},
                        {"sldt 16", {0x66, 0x0F, 0x00, 0xC0}}, {"str", {0x0F, 0x00, 0xC8}},
                        {"str mem", {0x0F, 0x00, 0x0B}},       {"str 16", {0x66, 0x0F, 0x00, 0xC8}}};
  Random random(3);
  for (int i = 0; i < 1000; ++i) {
    Scene scene = WithVariants(OneIn(random, 4) ? Below(random, 4) : 0, random);
    const Load& load = loads[Below(random, std::size(loads))];
    // Half of the selectors name system descriptors in the GDT.
    const uint32_t system = Below(random, 16) | Below(random, 8) << 5;
    const uint16_t selector = OneIn(random, 2) ? Variant(system, false, Below(random, 4)) : scene.AnySelector(random);
    scene.Code(load.code);
    scene.Reg(kEax) = (random() & 0xFFFF0000) | selector;
    scene.Reg(kEbx) = arena::kData;
    scene.Poke<uint16_t>(arena::kData, selector);
    sweep.Try(load.name, scene);
  }
  sweep.Finish();
}

TEST_CASE("kvm: LAR, LSL, VERR, VERW and ARPL", "[segments]") {
  Sweep sweep("LAR, LSL, VERR, VERW and ARPL");
  if (!sweep.Usable()) return;
  const Load loads[] = {{"lar", {0x0F, 0x02, 0xC8}},  {"lar 16", {0x66, 0x0F, 0x02, 0xC8}},
                        {"lsl", {0x0F, 0x03, 0xC8}},  {"lsl 16", {0x66, 0x0F, 0x03, 0xC8}},
                        {"verr", {0x0F, 0x00, 0xE0}}, {"verw", {0x0F, 0x00, 0xE8}},
                        {"arpl", {0x63, 0xC8}}};
  Random random(4);
  for (int i = 0; i < 1200; ++i) {
    Scene scene = WithVariants(Below(random, 4), random);
    const Load& load = loads[Below(random, std::size(loads))];
    scene.Code(load.code);
    scene.Reg(kEax) = (random() & 0xFFFF0000) | scene.AnySelector(random);
    sweep.Try(load.name, scene);
  }
  sweep.Finish();
}

TEST_CASE("kvm: segment registers in accesses", "[segments]") {
  Sweep sweep("segment registers in accesses");
  if (!sweep.Usable()) return;
  const Load loads[] = {{"access load", {0x3E, 0x8B, 0x03}},
                        {"access store", {0x3E, 0x89, 0x03}},
                        {"access load byte", {0x3E, 0x8A, 0x03}},
                        {"access store word", {0x3E, 0x66, 0x89, 0x03}},
                        {"access add", {0x3E, 0x01, 0x03}}};
  Random random(5);
  for (int i = 0; i < 1500; ++i) {
    // Hidden parts as only a load at another time leaves them: any base, limit, direction and right.
    Scene scene(Mode::kProtected, Below(random, 4), random);
    const Load& load = loads[Below(random, std::size(loads))];
    SegmentRegister& ds = scene.state.Segment(Seg::kDs);
    const uint32_t limit = Choose<uint32_t>(random, {0xFFF, 0x100, 0xFFFF, 0xFFFFFFFF, 0});
    const uint16_t type = Choose<uint16_t>(random, {0x91, 0x93, 0x95, 0x97, 0x99, 0x9B});
    ds.base = Choose<uint32_t>(random, {0, arena::kData, arena::kData + 1, 0xFFFFFF00});
    ds.limit = limit;
    ds.attributes =
        static_cast<uint16_t>(type | 0x60 | (limit == 0xFFFFFFFF ? segattr::kG : 0) | Below(random, 2) << 14);
    if (OneIn(random, 10)) ds = {};
    const uint32_t edge = Choose<uint32_t>(random, {limit, 0xFFFF, 0xFFFFFFFF, arena::kData - ds.base, 0x200});
    scene.Reg(kEbx) = edge + Below(random, 9) - 4;
    scene.Code(load.code);
    const uint32_t at = ds.base + scene.Reg(kEbx);
    if (at + 4 > at && at > arena::kBytes - 8) continue;  // no memory of the arena
    if (at < arena::kData) continue;
    sweep.Try(load.name, scene);
  }
  sweep.Finish();
}

}  // namespace ring3::kvm_test
