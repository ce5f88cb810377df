// Instructions of the system: control, debug and table registers, flags by privilege, ports, SYSENTER.
#include <catch2/catch.hpp>

#include "tests/kvm/comparison.h"

namespace ring3::kvm_test {
namespace {

constexpr uint8_t ModRm(unsigned reg, unsigned rm) { return static_cast<uint8_t>(0xC0 | reg << 3 | rm); }

/// Mostly the bits that exist, sometimes any.
uint32_t DrawCr0(Random& random, bool wild) {
  uint32_t value = cr0::kPe | cr0::kEt | (random() & (cr0::kMp | cr0::kEm | cr0::kTs | cr0::kNe | cr0::kWp | cr0::kAm));
  if (OneIn(random, 3)) value |= random() & (cr0::kCd | cr0::kNw);
  if (wild) value ^= 1u << Below(random, 31);
  return value;
}

}  // namespace

TEST_CASE("kvm: MOV to and from control registers", "[system]") {
  Sweep sweep("MOV to and from control registers");
  if (!sweep.Usable()) return;
  Random random(20);
  for (int i = 0; i < 1000; ++i) {
    Scene scene(Mode::kProtected, OneIn(random, 6) ? Below(random, 4) : 0, random);
    if (OneIn(random, 3)) scene.EnablePaging();
    const unsigned reg = Choose(random, {0u, 0u, 0u, 2u, 3u, 4u, 4u});
    const bool read = OneIn(random, 4), wild = OneIn(random, 4);
    uint32_t value = static_cast<uint32_t>(random());
    if (reg == 0) value = DrawCr0(random, wild) | (scene.state.cr0 & cr0::kPg && !OneIn(random, 4) ? cr0::kPg : 0);
    if (reg == 3) value = arena::kPageDirectory | (random() & 0xFFF);
    constexpr uint32_t kCr4 =
        cr4::kTsd | cr4::kDe | cr4::kPse | cr4::kPge | cr4::kPce | cr4::kOsfxsr | cr4::kOsxmmexcpt;
    if (reg == 4) value &= kCr4;
    scene.Reg(kEax) = value;
    scene.state.cr2 = static_cast<uint32_t>(random());
    if (read) {
      scene.Code({0x0F, 0x20, ModRm(reg, kEcx)});
    } else {
      scene.Code({0x0F, 0x22, ModRm(reg, kEax)});
    }
    sweep.Try((read ? "mov from cr" : "mov to cr") + std::to_string(reg), scene);
  }
  for (unsigned reg : {1u, 5u, 6u, 7u}) {
    for (uint8_t opcode : {0x20, 0x22}) {
      Scene scene(Mode::kProtected, 0, random);
      scene.Code({0x0F, opcode, ModRm(reg, kEax)});
      sweep.Try("no such control register", scene);
    }
  }
  sweep.Finish();
}

TEST_CASE("kvm: MOV to and from debug registers", "[system]") {
  Sweep sweep("MOV to and from debug registers");
  if (!sweep.Usable()) return;
  Random random(21);
  for (int i = 0; i < 1000; ++i) {
    Scene scene(Mode::kProtected, OneIn(random, 8) ? Below(random, 4) : 0, random);
    const unsigned reg = Below(random, 8);
    const bool read = OneIn(random, 2);
    for (unsigned d = 0; d < 4; ++d) scene.state.dr[d] = static_cast<uint32_t>(random());
    if (OneIn(random, 3)) scene.state.cr4 |= cr4::kDe;
    if (OneIn(random, 6)) scene.state.dr[7] |= dr7::kGd;
    // Nothing armed: matches have tests of their own.
    scene.Reg(kEax) = static_cast<uint32_t>(random()) & ~(reg == 7 || reg == 5 ? 0xFFu : 0u);
    scene.Code({0x0F, static_cast<uint8_t>(read ? 0x21 : 0x23), ModRm(reg, kEax)});
    sweep.Try((read ? "mov from dr" : "mov to dr") + std::to_string(reg), scene);
  }
  sweep.Finish();
}

TEST_CASE("kvm: descriptor table registers, SMSW, LMSW, CLTS and INVLPG", "[system]") {
  Sweep sweep("table registers and the machine status word");
  if (!sweep.Usable()) return;
  struct Row {
    const char* name;
    std::vector<uint8_t> code;
  };
  const Row rows[] = {{"sgdt", {0x0F, 0x01, 0x03}},
                      {"sidt", {0x0F, 0x01, 0x0B}},
                      {"sgdt 16", {0x66, 0x0F, 0x01, 0x03}},
                      {"sidt 16", {0x66, 0x0F, 0x01, 0x0B}},
                      {"lgdt", {0x0F, 0x01, 0x13}},
                      {"lidt", {0x0F, 0x01, 0x1B}},
                      {"lgdt 16", {0x66, 0x0F, 0x01, 0x13}},
                      {"lidt 16", {0x66, 0x0F, 0x01, 0x1B}},
                      {"smsw", {0x0F, 0x01, 0xE1}},
                      {"smsw 16", {0x66, 0x0F, 0x01, 0xE1}},
                      {"smsw mem", {0x0F, 0x01, 0x23}},
                      {"lmsw", {0x0F, 0x01, 0xF0}},
                      {"lmsw mem", {0x0F, 0x01, 0x33}},
                      {"clts", {0x0F, 0x06}},
                      {"invlpg", {0x0F, 0x01, 0x3B}},
                      {"invlpg reg", {0x0F, 0x01, 0xF8}},
                      {"sgdt reg", {0x0F, 0x01, 0xC3}},
                      {"lgdt reg", {0x0F, 0x01, 0xD3}},
                      {"invd", {0x0F, 0x08}},
                      {"wbinvd", {0x0F, 0x09}},
                      {"lock sgdt", {0xF0, 0x0F, 0x01, 0x03}}};
  Random random(22);
  for (int i = 0; i < 1000; ++i) {
    const Row& row = rows[Below(random, std::size(rows))];
    Scene scene(Mode::kProtected, OneIn(random, 4) ? Below(random, 4) : 0, random);
    scene.state.cr0 = DrawCr0(random, false) & ~cr0::kNw & ~cr0::kCd;
    scene.Reg(kEbx) = arena::kData;
    scene.Poke<uint32_t>(arena::kData, static_cast<uint32_t>(random()));
    scene.Poke<uint16_t>(arena::kData + 4, static_cast<uint16_t>(random()));
    scene.Code(row.code);
    sweep.Try(row.name, scene);
  }
  sweep.Finish();
}

TEST_CASE("kvm: flags by privilege", "[system]") {
  Sweep sweep("flags by privilege");
  if (!sweep.Usable()) return;
  struct Row {
    const char* name;
    std::vector<uint8_t> code;
  };
  const Row rows[] = {{"cli", {0xFA}},  {"sti", {0xFB, 0x90}},     {"pushf", {0x9C}}, {"pushf 16", {0x66, 0x9C}},
                      {"popf", {0x9D}}, {"popf 16", {0x66, 0x9D}}, {"lahf", {0x9F}},  {"sahf", {0x9E}},
                      {"cld", {0xFC}}};
  Random random(23);
  for (int i = 0; i < 900; ++i) {
    const Row& row = rows[Below(random, std::size(rows))];
    Scene scene(Mode::kProtected, Below(random, 4), random);
    constexpr uint32_t kChanged = eflags::kDefined & ~eflags::kTf & ~eflags::kVif & ~eflags::kVip & ~eflags::kAc;
    scene.state.eflags |= random() & (eflags::kIopl | eflags::kIf | eflags::kNt | eflags::kId);
    scene.Stack({static_cast<uint32_t>(random()) & kChanged});
    scene.Code(row.code);
    sweep.Try(row.name, scene);
  }
  sweep.Finish();
}

TEST_CASE("kvm: ports by IOPL and the I/O bitmap", "[system]") {
  Sweep sweep("ports");
  if (!sweep.Usable()) return;
  struct Row {
    const char* name;
    std::vector<uint8_t> code;
  };
  const Row rows[] = {{"in al", {0xEC}},
                      {"in ax", {0x66, 0xED}},
                      {"in eax", {0xED}},
                      {"out al", {0xEE}},
                      {"out ax", {0x66, 0xEF}},
                      {"out eax", {0xEF}},
                      {"insb", {0x6C}},
                      {"insw", {0x66, 0x6D}},
                      {"insd", {0x6D}},
                      {"outsb", {0x6E}},
                      {"outsd", {0x6F}},
                      {"rep outsb", {0xF3, 0x6E}},
                      {"rep insw", {0xF3, 0x66, 0x6D}}};
  Random random(24);
  for (int i = 0; i < 900; ++i) {
    const Row& row = rows[Below(random, std::size(rows))];
    Scene scene(Mode::kProtected, Below(random, 4), random);
    scene.state.eflags |= Below(random, 4) << eflags::kIoplShift;
    const uint32_t port = OneIn(random, 6) ? 0xFFF0 + Below(random, 13) : 0x100 + Below(random, 64);
    scene.Reg(kEdx) = (random() & 0xFFFF0000) | port;
    scene.Reg(kEcx) = Below(random, 4);
    scene.Reg(kEsi) = scene.Reg(kEdi) = arena::kData;
    constexpr uint32_t kMap = arena::kTssA + 0x68;
    scene.memory[kMap + port / 8] = static_cast<uint8_t>(random() & random());
    scene.memory[kMap + port / 8 + 1] = static_cast<uint8_t>(port / 8 + 1 == 0x2000 ? 0xFF : random() & random());
    const bool short_tss = OneIn(random, 6);
    if (short_tss)
      scene.state.tr.limit = OneIn(random, 3) ? 0x66 + Below(random, 3) : 0x68 + port / 8 + Below(random, 3);
    scene.Code(row.code);
    sweep.Try(std::string(short_tss ? "short TSS " : "") + row.name, scene);
  }
  sweep.Finish();
}

TEST_CASE("kvm: SYSENTER and SYSEXIT", "[system]") {
  Sweep sweep("SYSENTER and SYSEXIT");
  if (!sweep.Usable()) return;
  Random random(25);
  for (int i = 0; i < 400; ++i) {
    Scene scene(Mode::kProtected, Below(random, 4), random);
    const bool enter = OneIn(random, 2);
    scene.state.sysenter_cs = OneIn(random, 6) ? Below(random, 4) : 0x08 | Below(random, 4);
    if (OneIn(random, 6)) scene.state.sysenter_cs |= static_cast<uint32_t>(random()) << 16;
    scene.state.sysenter_eip = scene.Reg(kEdx) = arena::kStops;
    scene.state.sysenter_esp = scene.Reg(kEcx) = arena::kTaskStack + 0x800;
    scene.state.eflags |= random() & (eflags::kIf | eflags::kNt | eflags::kIopl);
    if (enter) {
      scene.Code({0x0F, 0x34});
    } else {
      scene.Code({0x0F, 0x35});
    }
    sweep.Try(enter ? "sysenter" : "sysexit", scene);
  }
  sweep.Finish();
}

TEST_CASE("kvm: privileged instructions by CPL", "[system]") {
  Sweep sweep("privileged instructions by CPL");
  if (!sweep.Usable()) return;
  struct Row {
    const char* name;
    std::vector<uint8_t> code;
  };
  const Row rows[] = {{"hlt", {0xF4}},         {"rdmsr", {0x0F, 0x32}},    {"wrmsr", {0x0F, 0x30}},
                      {"rdpmc", {0x0F, 0x33}}, {"invd", {0x0F, 0x08}},     {"ud2", {0x0F, 0x0B}},
                      {"clts", {0x0F, 0x06}},  {"lock hlt", {0xF0, 0xF4}}, {"rsm", {0x0F, 0xAA}}};
  Random random(26);
  for (const Row& row : rows) {
    for (unsigned cpl = 0; cpl < 4; ++cpl) {
      for (uint32_t msr : {0x174u, 0x175u, 0x176u, 0xDEADu}) {
        Scene scene(Mode::kProtected, cpl, random);
        scene.Reg(kEcx) = msr;
        scene.Reg(kEdx) = 0;
        scene.state.eflags |= random() & eflags::kIopl;
        scene.Code(row.code);
        sweep.Try(row.name, scene);
      }
    }
  }
  sweep.Finish();
}

}  // namespace ring3::kvm_test
