// Real mode, unreal mode, and V86 mode.
#include <catch2/catch.hpp>

#include "tests/kvm/comparison.h"

namespace ring3::kvm_test {
namespace {

struct Row {
  const char* name;
  std::vector<uint8_t> code;
};

constexpr uint8_t kLowSegment = arena::kData >> 4 & 0xFF, kHighSegment = arena::kData >> 12;
constexpr uint8_t kLowOffset = arena::kLowStops & 0xFF, kHighOffset = arena::kLowStops >> 8;

const std::vector<Row>& Rows() {
  static const std::vector<Row> rows = {
      {"mov ds", {0x8E, 0xD8}},
      {"mov ss", {0x8E, 0xD0}},
      {"pop es", {0x07}},
      {"push ds", {0x1E}},
      {"lds", {0xC5, 0x07}},
      {"load", {0x8B, 0x07}},
      {"store", {0x89, 0x07}},
      {"load 32-bit address", {0x67, 0x8B, 0x03}},
      {"store 32-bit address", {0x67, 0x66, 0x89, 0x03}},
      {"jmp far", {0xEA, kLowOffset, kHighOffset, 0, 0}},
      {"jmp far 32", {0x66, 0xEA, kLowOffset, kHighOffset, 0, 0, 0, 0}},
      {"call far", {0x9A, 0, 0, kLowSegment, kHighSegment}},
      {"retf", {0xCB}},
      {"retf n", {0xCA, 4, 0}},
      {"retf 32", {0x66, 0xCB}},
      {"iret", {0xCF}},
      {"iret 32", {0x66, 0xCF}},
      {"int", {0xCD, 0x21}},
      {"int3", {0xCC}},
      {"into", {0xCE}},
      {"pushf", {0x9C}},
      {"pushf 32", {0x66, 0x9C}},
      {"popf", {0x9D}},
      {"popf 32", {0x66, 0x9D}},
      {"cli", {0xFA}},
      {"sti", {0xFB, 0x90}},
      {"in", {0xEC}},
      {"out", {0xEE}},
      {"insb", {0x6C}},
      {"hlt", {0xF4}},
      {"ud2", {0x0F, 0x0B}},
      {"sgdt", {0x0F, 0x01, 0x07}},
      {"smsw", {0x0F, 0x01, 0xE0}},
      {"lmsw", {0x0F, 0x01, 0xF0}},
      {"lidt", {0x0F, 0x01, 0x1F}},
      {"sldt", {0x0F, 0x00, 0xC0}},
      {"str", {0x0F, 0x00, 0xC8}},
      {"lldt", {0x0F, 0x00, 0xD0}},
      {"ltr", {0x0F, 0x00, 0xD8}},
      {"lar", {0x0F, 0x02, 0xC8}},
      {"verr", {0x0F, 0x00, 0xE0}},
      {"arpl", {0x63, 0xC8}},
      {"mov from cr0", {0x0F, 0x20, 0xC1}},
      {"mov to cr0", {0x0F, 0x22, 0xC0}},
      {"sysenter", {0x0F, 0x34}},
      {"push sp", {0x54}},
      {"pusha", {0x60}},
      {"call near", {0xE8, 0, 0}},
      {"push 32", {0x66, 0x50}},
      {"bad lock", {0xF0, 0x90}},
  };
  return rows;
}

void Prepare(Scene& scene, const Row& row, Random& random) {
  scene.Reg(kEbx) = OneIn(random, 6) ? 0xFFFF - Below(random, 5) : 0x100;
  if (OneIn(random, 10)) scene.Reg(kEbx) += 0x10000;
  scene.Reg(kEdx) = 0x300;
  scene.Reg(kEdi) = 0x200;
  scene.Reg(kEax) = (random() & 0xFFFF0000) | arena::kData >> 4;
  if (std::string(row.name) == "lmsw" || std::string(row.name) == "mov to cr0")
    scene.Reg(kEax) = random() & (cr0::kMp | cr0::kEm | cr0::kTs) | cr0::kEt | cr0::kNe;
  if (OneIn(random, 8)) scene.Reg(kEsp) = Choose<uint32_t>(random, {0, 1, 2, 3, 0xFFFF, 0xFFFE});
  scene.state.eflags |= random() & (eflags::kIf | eflags::kIopl | eflags::kNt);
  const uint32_t stack = scene.state.Segment(Seg::kSs).base + (scene.Reg(kEsp) & 0xFFFF);
  for (uint32_t word = 0; word < 6; ++word) {
    // Whatever is popped may be CS, IP or flags: a stop either way.
    constexpr uint16_t kWords[] = {0x200, arena::kData >> 4, 0x0202, 0, 0x0046, 0x200};
    if (stack + 2 * word + 2 <= arena::kBytes) scene.Poke<uint16_t>(stack + 2 * word, kWords[word]);
  }
  scene.Code(row.code);
}

}  // namespace

TEST_CASE("kvm: real mode", "[real]") {
  Sweep sweep("real mode");
  if (!sweep.Usable()) return;
  Random random(40);
  for (int i = 0; i < 1500; ++i) {
    const Row& row = Rows()[Below(random, static_cast<uint32_t>(Rows().size()))];
    Scene scene(Mode::kReal, 0, random);
    Prepare(scene, row, random);
    const bool short_idt = OneIn(random, 12), odd_stack = scene.Reg(kEsp) & 1;
    if (short_idt) scene.state.idtr.limit = static_cast<uint16_t>(Choose(random, {0x83u, 0x86u, 0x87u, 0x17u, 0u}));
    sweep.Try(std::string(short_idt ? "real short IDT " : odd_stack ? "real odd SP " : "real ") + row.name, scene);
  }
  sweep.Finish();
}

TEST_CASE("kvm: unreal mode", "[real]") {
  Sweep sweep("unreal mode");
  if (!sweep.Usable()) return;
  Random random(41);
  const Row rows[] = {
      {"load", {0x67, 0x8B, 0x03}}, {"store", {0x67, 0x89, 0x03}}, {"mov ds, load", {0x8E, 0xD8, 0x67, 0x8B, 0x0B}}};
  for (int i = 0; i < 600; ++i) {
    const Row& row = rows[Below(random, std::size(rows))];
    Scene scene(Mode::kReal, 0, random);
    SegmentRegister& ds = scene.state.Segment(Seg::kDs);
    ds.limit = Choose<uint32_t>(random, {0xFFFFFFFF, 0xFFFF, 0x1FFFF, 0x7FFF});
    ds.attributes = static_cast<uint16_t>(ds.attributes | (ds.limit == 0xFFFFFFFF ? segattr::kG : 0));
    ds.base = 0;
    ds.selector = 0;
    scene.Reg(kEax) = 0;
    scene.Reg(kEbx) = Choose<uint32_t>(random, {arena::kData, 0x1FFFE, 0x20001, 0xFFFE, 0x7FFD});
    scene.Code(row.code);
    sweep.Try(std::string("unreal ") + row.name, scene);
  }
  sweep.Finish();
}

TEST_CASE("kvm: into protected mode and back", "[real]") {
  Sweep sweep("into protected mode and back");
  if (!sweep.Usable()) return;
  Random random(42);
  for (int i = 0; i < 400; ++i) {
    const bool enter = OneIn(random, 2);
    Scene scene(enter ? Mode::kReal : Mode::kProtected, 0, random);
    if (enter) {
      // mov cr0, eax; mov fs, cx; jmp code0:stops
      scene.Reg(kEax) = cr0::kEt | cr0::kPe | (random() & (cr0::kMp | cr0::kTs | cr0::kWp));
      scene.Reg(kEcx) = OneIn(random, 2) ? DataSelector(0) : scene.AnySelector(random);
      scene.Code({0x0F, 0x22, 0xC0, 0x8E, 0xE1, 0x66, 0xEA, arena::kStops & 0xFF, arena::kStops >> 8 & 0xFF,
                  arena::kStops >> 16, 0, CodeSelector(0), 0});
    } else {
      // mov cr0, eax; mov fs, cx: hidden parts stay as they were but for what is loaded.
      scene.Reg(kEax) = cr0::kEt | (random() & (cr0::kMp | cr0::kTs | cr0::kWp));
      scene.Reg(kEcx) = static_cast<uint32_t>(random());
      scene.Code({0x0F, 0x22, 0xC0, 0x8E, 0xE1});
    }
    sweep.Try(enter ? "enter protected mode" : "leave protected mode", scene);
  }
  sweep.Finish();
}

TEST_CASE("kvm: V86 mode", "[real]") {
  Sweep sweep("V86 mode");
  if (!sweep.Usable()) return;
  Random random(43);
  for (int i = 0; i < 1500; ++i) {
    const Row& row = Rows()[Below(random, static_cast<uint32_t>(Rows().size()))];
    Scene scene(Mode::kV86, 3, random);
    Prepare(scene, row, random);
    scene.memory[arena::kTssA + 0x68 + 0x300 / 8] = static_cast<uint8_t>(random());
    sweep.Try(std::string("V86 ") + row.name, scene);
  }
  sweep.Finish();
}

}  // namespace ring3::kvm_test
