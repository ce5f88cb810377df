// Paging: who may do what, with which error code, and the accessed and dirty bits that it leaves.
#include <catch2/catch.hpp>

#include "tests/kvm/comparison.h"

namespace ring3::kvm_test {
namespace {

constexpr uint32_t kP = 1, kW = 2, kU = 4, kA = 0x20, kD = 0x40, kPs = 0x80;
constexpr uint64_t kNx = 1ull << 63;
/// Where accesses go; mapped to kData by the entries under test.
constexpr uint32_t kTarget = 0x0070'0000, kTargetDirectoryIndex = kTarget >> 22,
                   kTargetTableIndex = kTarget >> 12 & 0x3FF;

enum class Kind : uint8_t { kLoad, kStore, kModify, kFetch, kCrossing, kCount };
constexpr const char* kKinds[] = {"load", "store", "modify", "fetch", "crossing"};

void AccessTarget(Scene& scene, Kind kind, Random& random) {
  scene.Reg(kEbx) = kTarget + 8 * Below(random, 64);
  switch (kind) {
    case Kind::kLoad:
      return scene.Code({0x8B, 0x03});
    case Kind::kStore:
      return scene.Code({0x89, 0x03});
    case Kind::kModify:
      return scene.Code({0x01, 0x03});
    case Kind::kFetch:
      return scene.Code({0xFF, 0xE3});  // jmp ebx
    case Kind::kCrossing:
      scene.Reg(kEbx) = kTarget + 4096 - 2;
      return scene.Code(OneIn(random, 2) ? std::vector<uint8_t>{0x89, 0x03} : std::vector<uint8_t>{0x8B, 0x03});
    default:
      return;
  }
}

uint32_t Rights(Random& random) { return (OneIn(random, 6) ? 0 : kP) | (random() & (kW | kU | kA | kD)); }

}  // namespace

TEST_CASE("kvm: two-level paging", "[paging]") {
  Sweep sweep("two-level paging");
  if (!sweep.Usable()) return;
  Random random(30);
  for (int i = 0; i < 1200; ++i) {
    Scene scene(Mode::kProtected, OneIn(random, 2) ? 3 : Below(random, 3), random);
    scene.EnablePaging();
    if (OneIn(random, 2)) scene.state.cr0 |= cr0::kWp;
    const bool pse = OneIn(random, 3);
    if (pse) scene.state.cr4 |= cr4::kPse;
    const Kind kind = static_cast<Kind>(Below(random, static_cast<uint32_t>(Kind::kCount)));
    constexpr uint32_t kTable = arena::kPaeTable;  // PAE is off: its page serves as a second table
    for (uint32_t at = 0; at < 4096; at += 4) scene.Poke<uint32_t>(kTable + at, 0);
    const bool large = pse && OneIn(random, 2);
    // A large page maps the arena's 4 MiB again, so that the target lies behind the arena, where stops are.
    const uint32_t directory = large ? kPs | (OneIn(random, 8) ? 1u << (13 + Below(random, 9)) : 0) : kTable;
    scene.Poke<uint32_t>(arena::kPageDirectory + 4 * kTargetDirectoryIndex,
                         directory | Rights(random) | (!pse && OneIn(random, 8) ? kPs : 0));
    for (uint32_t page = 0; page < 2; ++page)
      scene.Poke<uint32_t>(kTable + 4 * (kTargetTableIndex + page), (arena::kData + 4096 * page) | Rights(random));
    AccessTarget(scene, kind, random);
    sweep.Try(std::string(large ? "4 MiB page " : "page ") + kKinds[static_cast<int>(kind)], scene);
  }
  sweep.Finish();
}

TEST_CASE("kvm: PAE paging", "[paging]") {
  Sweep sweep("PAE paging");
  if (!sweep.Usable()) return;
  Random random(31);
  for (int i = 0; i < 1200; ++i) {
    Scene scene(Mode::kProtected, OneIn(random, 2) ? 3 : Below(random, 3), random);
    scene.EnablePae();
    if (OneIn(random, 2)) scene.state.cr0 |= cr0::kWp;
    const bool nx = OneIn(random, 2);
    if (nx) scene.state.efer |= efer::kNxe;
    const Kind kind = static_cast<Kind>(Below(random, static_cast<uint32_t>(Kind::kCount)));
    constexpr uint32_t kTable = arena::kPageTable, kIndex = kTarget >> 21, kLowIndex = kTarget >> 12 & 0x1FF;
    for (uint32_t at = 0; at < 4096; at += 4) scene.Poke<uint32_t>(kTable + at, 0);
    const bool large = OneIn(random, 3);
    const auto high = [&]() -> uint64_t {  // NX, now and then a reserved bit
      return (OneIn(random, 4) ? kNx : 0) | (OneIn(random, 16) ? 1ull << (36 + Below(random, 16)) : 0);
    };
    scene.Poke<uint64_t>(
        arena::kPaeDirectory + 8 * kIndex,
        (large ? kPs | (OneIn(random, 8) ? 1u << (13 + Below(random, 8)) : 0) : kTable) | Rights(random) | high());
    for (uint32_t page = 0; page < 2; ++page)
      scene.Poke<uint64_t>(kTable + 8 * (kLowIndex + page), (arena::kData + 4096 * page) | Rights(random) | high());
    AccessTarget(scene, kind, random);
    sweep.Try(std::string(large ? "2 MiB page " : "PAE page ") + kKinds[static_cast<int>(kind)], scene);
  }
  sweep.Finish();
}

TEST_CASE("kvm: loading CR3 under PAE", "[paging]") {
  Sweep sweep("loading CR3 under PAE");
  if (!sweep.Usable()) return;
  Random random(32);
  for (int i = 0; i < 400; ++i) {
    Scene scene(Mode::kProtected, 0, random);
    scene.EnablePae();
    constexpr uint32_t kOther = arena::kPdpt + 0x400;
    for (uint32_t entry = 0; entry < 4; ++entry) {
      uint64_t value = OneIn(random, 2) ? 0 : arena::kPaeDirectory | kP;
      if (entry == 0) value = arena::kPaeDirectory | kP;
      if (OneIn(random, 4)) value |= 1ull << Below(random, 64);
      scene.Poke<uint64_t>(kOther + 8 * entry, value);
    }
    scene.Reg(kEax) = kOther | (random() & 0x1F);
    scene.Code({0x0F, 0x22, 0xD8});
    sweep.Try("mov cr3 under PAE", scene);
  }
  sweep.Finish();
}

TEST_CASE("kvm: implicit accesses under paging", "[paging]") {
  Sweep sweep("implicit accesses under paging");
  if (!sweep.Usable()) return;
  Random random(33);
  for (int i = 0; i < 500; ++i) {
    // Descriptor tables, the TSS and the stack of the handler on pages that forbid something.
    Scene scene(Mode::kProtected, OneIn(random, 2) ? 3 : 0, random);
    scene.AddVariants(random);
    scene.EnablePaging();
    if (OneIn(random, 2)) scene.state.cr0 |= cr0::kWp;
    const uint32_t page =
        Choose<uint32_t>(random, {arena::kGdt, arena::kLdt, arena::kStack, arena::kStackOf[0] - 4096});
    const uint32_t rights = (OneIn(random, 3) ? 0 : kP) | (random() & (kW | kU));
    // Translated code looks into the GDT ahead of use, which is within a processor's rights.
    scene.Poke<uint32_t>(arena::kPageTable + 4 * (page >> 12), page | rights | (page == arena::kGdt ? kA : 0));
    const uint16_t selector = scene.AnySelector(random);
    scene.note = " page " + std::to_string(page >> 12) + " rights " + std::to_string(rights) + ",";
    switch (Below(random, 3)) {
      case 0:
        scene.Reg(kEax) = selector;
        scene.Code({0x8E, 0xE0});
        sweep.Try("implicit mov fs", scene);
        break;
      case 1:
        scene.Stack({selector});
        scene.Code({0x0F, 0xA1});
        sweep.Try("implicit pop fs", scene);
        break;
      default:
        scene.Code({0x0F, 0x0B});
        sweep.Try("implicit ud2", scene);
    }
  }
  sweep.Finish();
}

}  // namespace ring3::kvm_test
