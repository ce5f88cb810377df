// Far transfers: JMP, CALL, RET and IRET, through gates, between privileges and to tasks.
#include <algorithm>
#include <catch2/catch.hpp>

#include "tests/kvm/comparison.h"

namespace ring3::kvm_test {
namespace {

void Append(std::vector<uint8_t>& code, uint32_t value, unsigned bytes) {
  for (unsigned i = 0; i < bytes; ++i) code.push_back(static_cast<uint8_t>(value >> 8 * i));
}

/// JMP or CALL with the pointer in the instruction.
std::vector<uint8_t> FarDirect(uint8_t opcode, uint16_t selector, uint32_t offset, bool small) {
  std::vector<uint8_t> code;
  if (small) code.push_back(0x66);
  code.push_back(opcode);
  Append(code, offset, small ? 2 : 4);
  Append(code, selector, 2);
  return code;
}

/// What a far transfer's selector is like, for the rows.
enum class Target : uint8_t { kAny, kCode, kGate, kTask, kCount };
constexpr const char* kTargetNames[] = {"any", "code", "gate", "task"};

uint16_t Draw(const Scene& scene, Target target, Random& random) {
  const uint32_t rpl = Below(random, 4), dpl = Below(random, 4) << 5, present = OneIn(random, 8) ? 0 : 0x80;
  const auto variant = [&](uint32_t type) {
    const uint32_t i = type | dpl | present;
    return static_cast<uint16_t>((OneIn(random, 4) ? 8 * i + 4 : kVariants + 8 * i) | rpl);
  };
  switch (target) {
    case Target::kCode:
      return variant(0x18 | Below(random, 8));
    case Target::kGate:
      return variant(Choose<uint32_t>(random, {4, 12}));
    case Target::kTask:
      return variant(Choose<uint32_t>(random, {1, 3, 5, 9, 11}));
    default:
      return scene.AnySelector(random);
  }
}

/// Where to; now and then beyond most limits.
uint32_t DrawOffset(bool small, Random& random) {
  if (small) return arena::kLowStops + 4 * Below(random, 8);
  return (OneIn(random, 8) ? 0x8000'0000u : 0) + arena::kStops + 4 * Below(random, 8);
}

/// Tasks to switch to: their own stacks and flags, CS and EIP at a stop.
void FillTasks(Scene& scene, Random& random) {
  constexpr uint32_t kEip = 32, kFlags = 36, kGpr = 40, kSegments = 72, kLdt = 96, kMap = 100;
  const unsigned cpl = OneIn(random, 2) ? 0 : Below(random, 4);
  for (uint32_t at = 0; at < 0x68; at += 4) scene.Poke<uint32_t>(arena::kTssB + at, 0);
  for (uint32_t level = 0; level < 3; ++level) {
    scene.Poke<uint32_t>(arena::kTssB + 4 + 8 * level, arena::kStackOf[level]);
    scene.Poke<uint32_t>(arena::kTssB + 8 + 8 * level, DataSelector(level));
  }
  scene.Poke<uint32_t>(arena::kTssB + kEip, arena::kStops + 32);
  scene.Poke<uint32_t>(arena::kTssB + kFlags, eflags::kReserved1 | (random() & eflags::kHostHeld & ~eflags::kDf));
  for (uint32_t i = 0; i < kGprCount; ++i)
    scene.Poke<uint32_t>(arena::kTssB + kGpr + 4 * i, static_cast<uint32_t>(random()));
  scene.Poke<uint32_t>(arena::kTssB + kGpr + 4 * kEsp, arena::kTaskStack + 0x800);
  for (uint32_t i = 0; i < kSegCount; ++i) {
    const bool code = i == static_cast<uint32_t>(Seg::kCs);
    uint32_t selector = code ? CodeSelector(cpl) : DataSelector(cpl);
    if (OneIn(random, 20)) selector = scene.AnySelector(random);
    scene.Poke<uint32_t>(arena::kTssB + kSegments + 4 * i, selector);
  }
  scene.Poke<uint32_t>(arena::kTssB + kLdt, OneIn(random, 6) ? scene.AnySelector(random) : kSelLdt);
  scene.Poke<uint32_t>(arena::kTssB + kMap, 0x0068'0000);
  for (uint32_t at = 0; at < 0x2C; at += 2) scene.Poke<uint16_t>(arena::kTss16B + at, 0);
  const uint32_t stack = arena::kStack;  // the 16-bit task runs with a data segment there
  scene.Poke<uint16_t>(arena::kTss16B + 14, 0x1200);
  scene.Poke<uint16_t>(arena::kTss16B + 16, eflags::kReserved1);
  for (uint32_t i = 0; i < kGprCount; ++i)
    scene.Poke<uint16_t>(arena::kTss16B + 18 + 2 * i, static_cast<uint16_t>(random()));
  scene.Poke<uint16_t>(arena::kTss16B + 18 + 2 * kEsp, static_cast<uint16_t>(stack & 0xFFF) | 0x800);
  scene.Poke<uint16_t>(arena::kTss16B + 34, DataSelector(0));
  scene.Poke<uint16_t>(arena::kTss16B + 36, kSelCode16);
  scene.Poke<uint16_t>(arena::kTss16B + 38, kSelData16);
  scene.Poke<uint16_t>(arena::kTss16B + 40, DataSelector(0));
  scene.Poke<uint16_t>(arena::kTss16B + 42, kSelLdt);
}

Scene MakeScene(Random& random) {
  Scene scene(Mode::kProtected, Below(random, 4), random);
  scene.AddVariants(random);
  FillTasks(scene, random);
  return scene;
}

}  // namespace

TEST_CASE("kvm: far JMP and CALL", "[transfers]") {
  Sweep sweep("far JMP and CALL");
  if (!sweep.Usable()) return;
  Random random(10);
  for (int i = 0; i < 1100; ++i) {
    Scene scene = MakeScene(random);
    const Target target = static_cast<Target>(i % static_cast<int>(Target::kCount));
    const uint16_t selector = Draw(scene, target, random);
    const bool call = OneIn(random, 2), small = OneIn(random, 4), indirect = OneIn(random, 3);
    const uint32_t offset = DrawOffset(small, random);
    scene.note = " selector " + std::to_string(selector);
    if (indirect) {
      std::vector<uint8_t> code = small ? std::vector<uint8_t>{0x66} : std::vector<uint8_t>{};
      code.insert(code.end(), {0xFF, static_cast<uint8_t>(call ? 0x1B : 0x2B)});
      scene.Code(code);
      scene.Reg(kEbx) = arena::kData;
      scene.Poke<uint32_t>(arena::kData, offset);
      scene.Poke<uint16_t>(arena::kData + (small ? 2 : 4), selector);
    } else {
      scene.Code(FarDirect(call ? 0x9A : 0xEA, selector, offset, small));
    }
    if (OneIn(random, 6)) scene.state.eflags |= eflags::kNt;
    sweep.Try(std::string(call ? "call" : "jmp") + (small ? " 16 " : " ") + kTargetNames[static_cast<int>(target)],
              scene);
  }
  sweep.Finish();
}

TEST_CASE("kvm: far RET", "[transfers]") {
  Sweep sweep("far RET");
  if (!sweep.Usable()) return;
  Random random(11);
  for (int i = 0; i < 1100; ++i) {
    Scene scene = MakeScene(random);
    const unsigned outer = std::min(3u, scene.state.cpl + Below(random, 3));
    const bool any = OneIn(random, 2), small = OneIn(random, 4), pops = OneIn(random, 2);
    const uint16_t cs = any ? scene.AnySelector(random) : CodeSelector(outer);
    const uint16_t ss = any && OneIn(random, 2) ? scene.AnySelector(random) : DataSelector(outer);
    const uint32_t eip = DrawOffset(small, random);
    if (small) {
      scene.Stack16({ss, 0x4800, 0, 0, cs, static_cast<uint16_t>(eip)});
    } else {
      scene.Stack({ss, arena::kStack + 0x400, 0x11111111, cs, eip});
    }
    std::vector<uint8_t> code = small ? std::vector<uint8_t>{0x66} : std::vector<uint8_t>{};
    if (pops) {
      code.insert(code.end(), {0xCA, 4, 0});
    } else {
      code.push_back(0xCB);
    }
    scene.Code(code);
    sweep.Try(std::string(small ? "retf 16" : "retf") + (pops ? " n" : "") +
                  (any                       ? " any"
                   : outer > scene.state.cpl ? " outer"
                                             : " same"),
              scene);
  }
  sweep.Finish();
}

TEST_CASE("kvm: IRET", "[transfers]") {
  Sweep sweep("IRET");
  if (!sweep.Usable()) return;
  Random random(12);
  for (int i = 0; i < 800; ++i) {
    Scene scene = MakeScene(random);
    const unsigned outer = std::min(3u, scene.state.cpl + Below(random, 3));
    const bool any = OneIn(random, 3), small = OneIn(random, 4), nested = OneIn(random, 8);
    const bool to_v86 = !nested && !small && OneIn(random, 4);
    const uint16_t cs = any ? scene.AnySelector(random) : CodeSelector(outer);
    const uint16_t ss = any && OneIn(random, 2) ? scene.AnySelector(random) : DataSelector(outer);
    const uint32_t flags = random() & (eflags::kDefined & ~eflags::kTf & ~eflags::kVm & ~eflags::kVif & ~eflags::kVip);
    scene.state.eflags |= Below(random, 4) << eflags::kIoplShift;
    if (nested) {
      scene.state.eflags |= eflags::kNt;
      scene.Poke<uint16_t>(arena::kTssA, OneIn(random, 2) ? kSelTssB : scene.AnySelector(random));
      scene.SetGdt(kSelTssB, MakeDescriptor(arena::kTssB, 0x67, 0x8B));
    }
    if (to_v86) {
      constexpr uint32_t kParagraphs = arena::kData >> 4;
      scene.Stack({kParagraphs, kParagraphs, kParagraphs, kParagraphs, arena::kStack >> 4, 0x800, flags | eflags::kVm,
                   arena::kStops >> 4, 0x10});
    } else if (small) {
      scene.Stack16({ss, 0x4800, static_cast<uint16_t>(flags), cs, arena::kLowStops});
    } else {
      scene.Stack({ss, arena::kStack + 0x400, flags, cs, arena::kStops});
    }
    scene.Code(small ? std::vector<uint8_t>{0x66, 0xCF} : std::vector<uint8_t>{0xCF});
    sweep.Try(nested ? "iret nested" : to_v86 ? "iret to V86" : small ? "iret 16" : "iret", scene);
  }
  sweep.Finish();
}

TEST_CASE("kvm: INT n through every gate", "[transfers]") {
  Sweep sweep("INT n");
  if (!sweep.Usable()) return;
  Random random(13);
  for (int i = 0; i < 1100; ++i) {
    Scene scene = MakeScene(random);
    constexpr unsigned kVector = 0x21;
    const unsigned type = OneIn(random, 6) ? Below(random, 16) : Choose(random, {5u, 6u, 7u, 14u, 15u});
    const uint16_t target = type == 5          ? Choose<uint16_t>(random, {kSelTssB, kSelTss16B, 0})
                            : OneIn(random, 3) ? scene.AnySelector(random)
                                               : CodeSelector(Below(random, 4));
    const uint32_t offset = arena::kLowStops + 4 * Below(random, 16);
    scene.SetGate(kVector,
                  MakeGate(target, offset, type, OneIn(random, 2) ? 3 : Below(random, 4), !OneIn(random, 8), 0));
    scene.state.eflags |= (random() & (eflags::kIf | eflags::kIopl | eflags::kNt));
    if (OneIn(random, 10)) scene.state.idtr.limit = static_cast<uint16_t>(8 * kVector + Below(random, 9));
    const uint8_t which = static_cast<uint8_t>(Below(random, 8));
    if (which == 0) {
      scene.SetGate(3, scene.Peek<uint64_t>(arena::kIdt + 8 * kVector));
      scene.Code({0xCC});
    } else if (which == 1) {
      scene.SetGate(4, scene.Peek<uint64_t>(arena::kIdt + 8 * kVector));
      scene.state.eflags |= eflags::kOf;
      scene.Code({0xCE});
    } else {
      scene.Code({0xCD, kVector});
    }
    sweep.Try(which == 0 ? "int3" : which == 1 ? "into" : "int n", scene);
  }
  sweep.Finish();
}

TEST_CASE("kvm: exceptions through every gate", "[transfers]") {
  Sweep sweep("exceptions through every gate");
  if (!sweep.Usable()) return;
  Random random(14);
  for (int i = 0; i < 1100; ++i) {
    Scene scene = MakeScene(random);
    // HLT at CPL 1-3 and UD2 raise what has an error code, and what has none.
    const bool with_code = OneIn(random, 2) && scene.state.cpl != 0;
    const unsigned vector = with_code ? 13 : 6;
    const unsigned type = OneIn(random, 8) ? Below(random, 16) : Choose(random, {6u, 7u, 14u, 15u});
    const uint16_t target = OneIn(random, 3) ? scene.AnySelector(random) : CodeSelector(Below(random, 4));
    scene.SetGate(vector, MakeGate(target, arena::kLowStops, type, Below(random, 4), !OneIn(random, 8), 0));
    if (OneIn(random, 8)) scene.SetGate(8, MakeGate(CodeSelector(0), arena::kStops, 14, 0, false, 0));
    if (OneIn(random, 10)) scene.state.idtr.limit = static_cast<uint16_t>(8 * vector + Below(random, 9));
    if (OneIn(random, 10)) scene.Poke<uint16_t>(arena::kTssA + 8, scene.AnySelector(random));
    scene.state.eflags |= (random() & (eflags::kIf | eflags::kIopl | eflags::kNt));
    if (with_code) {
      scene.Code({0xF4});
    } else {
      scene.Code({0x0F, 0x0B});
    }
    scene.note += " gate type " + std::to_string(type) + " to " + std::to_string(target);
    sweep.Try(with_code ? "gated exception with code" : "gated exception", scene);
  }
  sweep.Finish();
}

}  // namespace ring3::kvm_test
