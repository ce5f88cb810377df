// Every addressing form with loads, stores, read-modify-writes, LEA and the high byte registers.
#include <catch2/catch.hpp>

#include "tests/instructions/trials.h"

using namespace ring3;
using namespace asmjit;

namespace {

struct Form {
  const char* name;
  x86::Mem mem;  // of the middle of a region, whatever ECX (0..15) is
};

constexpr int32_t kMiddle = static_cast<int32_t>(guest::kData) + 0x2000;

std::vector<Form> Forms() {
  using namespace x86;
  return {{"[ebx]", ptr(ebx)},
          {"[ebx+d8]", ptr(ebx, 16)},
          {"[ebx-d8]", ptr(ebx, -16)},
          {"[ebx+d32]", ptr(ebx, 0x400)},
          {"[ebx-d32]", ptr(ebx, -0x400)},
          {"[esp]", ptr(esp)},
          {"[esp+d8]", ptr(esp, 8)},
          {"[esp-d8]", ptr(esp, -64)},
          {"[esp+d32]", ptr(esp, 0x200)},
          {"[ebp]", ptr(ebp)},
          {"[ebp+d8]", ptr(ebp, 0x20)},
          {"[ebp-d32]", ptr(ebp, -0x200)},
          {"[ebx+ecx*1]", ptr(ebx, ecx)},
          {"[ebx+ecx*8]", ptr(ebx, ecx, 3)},
          {"[ebx+ecx*4-d8]", ptr(ebx, ecx, 2, -32)},
          {"[ebx+ecx*2+d32]", ptr(ebx, ecx, 1, 0x300)},
          {"[esp+ecx*4]", ptr(esp, ecx, 2)},
          {"[esp+ecx*8+d8]", ptr(esp, ecx, 3, 16)},
          {"[ebp+ecx*2]", ptr(ebp, ecx, 1)},
          {"[ebp+ecx*4-d32]", ptr(ebp, ecx, 2, -0x100)},
          {"[ecx+ebx]", ptr(ecx, ebx)},
          {"[ecx+ebp*1]", ptr(ecx, ebp)},
          {"[esi]", ptr(esi)},
          {"[edi+5]", ptr(edi, 5)},
          {"[ecx+d32]", ptr(ecx, kMiddle)},
          {"[ecx*8+d32]", ptr(uint64_t{kMiddle}, ecx, 3)},
          {"[d32]", ptr(uint64_t{kMiddle})}};
}

void SmallIndex(Program& p) { p.gpr[kEcx] &= 15; }

x86::Mem Sized(x86::Mem mem, unsigned bytes) {
  mem.setSize(bytes);
  return mem;
}

}  // namespace

TEST_CASE("loads, stores and read-modify-writes in every addressing form") {
  Trials trials;
  trials.seeds = 2;
  trials.adjust = SmallIndex;
  using namespace x86;
  for (const Form& form : Forms()) {
    for (const Gp& reg : {eax, edx, esi, esp, ebp, ecx}) {
      const std::string name = std::string(form.name) + " r" + std::to_string(reg.id());
      const bool wild = reg == esp || reg == ebp;  // a load makes a wild pointer of it, which is compared all the same
      trials.Try("mov r, " + name, [&](Assembler& a) { a.mov(reg, Sized(form.mem, 4)); });
      trials.Try("mov " + name, [&](Assembler& a) { a.mov(Sized(form.mem, 4), reg); });
      trials.Try("add r, " + name, [&](Assembler& a) { a.add(reg, Sized(form.mem, 4)); });
      trials.Try("sub " + name, [&](Assembler& a) { a.sub(Sized(form.mem, 4), reg); });
      trials.Try("lea " + name, [&](Assembler& a) { a.lea(reg, form.mem); });
      trials.Try("mov16 r, " + name, [&](Assembler& a) { a.mov(reg.r16(), Sized(form.mem, 2)); });
      trials.Try("mov16 " + name, [&](Assembler& a) { a.mov(Sized(form.mem, 2), reg.r16()); });
      trials.Try("cmp " + name, [&](Assembler& a) { a.cmp(reg, Sized(form.mem, 4)); });
      if (!wild) trials.Try("xchg " + name, [&](Assembler& a) { a.xchg(Sized(form.mem, 4), reg); });
    }
    trials.Try(std::string("mov imm ") + form.name, [&](Assembler& a) { a.mov(Sized(form.mem, 4), 0x89ABCDEF); });
    trials.Try(std::string("add imm8 ") + form.name, [&](Assembler& a) { a.add(Sized(form.mem, 4), -3); });
    trials.Try(std::string("mov imm16 ") + form.name, [&](Assembler& a) { a.mov(Sized(form.mem, 2), 0x1234); });
    trials.Try(std::string("inc ") + form.name, [&](Assembler& a) { a.inc(Sized(form.mem, 4)); });
    trials.Try(std::string("lock add ") + form.name, [&](Assembler& a) { a.lock().add(Sized(form.mem, 4), edx); });
  }
  trials.Report(6000);
}

TEST_CASE("high byte registers with every addressing form") {
  Trials trials;
  trials.seeds = 2;
  trials.adjust = SmallIndex;
  using namespace x86;
  for (const Form& form : Forms()) {
    for (const Gp& reg : std::initializer_list<Gp>{ah, bh, ch, dh, al, bl}) {
      const std::string name = std::string(form.name) + " r" + std::to_string(reg.id());
      trials.Try("mov r8, " + name, [&](Assembler& a) { a.mov(reg, Sized(form.mem, 1)); });
      trials.Try("mov8 " + name, [&](Assembler& a) { a.mov(Sized(form.mem, 1), reg); });
      trials.Try("xor r8, " + name, [&](Assembler& a) { a.xor_(reg, Sized(form.mem, 1)); });
      trials.Try("adc8 " + name, [&](Assembler& a) { a.adc(Sized(form.mem, 1), reg); });
      trials.Try("cmpxchg8 " + name, [&](Assembler& a) { a.cmpxchg(Sized(form.mem, 1), reg); });
    }
  }
  trials.Report(3000);
}

TEST_CASE("16-bit addressing, as seen against the interpreter") {
  // Effective addresses below 64 KiB are the supervisor's; natively they are not ours at all.
  Trials trials;
  trials.cpl3 = false;
  for (uint8_t modrm = 0; modrm < 0xC0; ++modrm) {
    const uint8_t mod = modrm >> 6, rm = modrm & 7;
    Bytes code = {0x67, 0x8D, modrm};  // lea r32, m
    const unsigned displacement = mod == 1 ? 1 : mod == 2 || (mod == 0 && rm == 6) ? 2 : 0;
    for (unsigned i = 0; i < displacement; ++i) code.push_back(static_cast<uint8_t>(0xF4 + i));
    trials.TryBytes("lea 16", code, Reference::kBoth);
    code[1] = 0x8B;  // mov r32, m
    trials.TryBytes("mov 16", code, Reference::kInterpreter);
  }
  trials.Report(1000);
}

TEST_CASE("segments with a base: TLS with positive, negative and wrapping offsets") {
  Trials trials;
  trials.adjust = SmallIndex;
  using namespace x86;
  for (const Gp& seg_reg : {eax, ebp, esp, edx}) {
    for (bool gs_not_fs : {false, true}) {
      for (int32_t offset : {0, 4, -4, -8, 0x100, -0x100, -0x1000}) {
        const auto at = [&](Mem mem) {
          mem.setSegment(gs_not_fs ? gs : fs);
          mem.setSize(4);
          return mem;
        };
        const uint64_t absolute = static_cast<uint32_t>(offset);
        trials.Try(
            "mov r, seg:[d]", [&](Assembler& a) { a.mov(seg_reg, at(ptr(absolute))); }, Reference::kInterpreter);
        trials.Try(
            "mov seg:[d], r", [&](Assembler& a) { a.mov(at(ptr(absolute)), seg_reg); }, Reference::kInterpreter);
        trials.Try(
            "add seg:[ecx+d]", [&](Assembler& a) { a.add(at(ptr(ecx, offset)), seg_reg); }, Reference::kInterpreter);
        trials.Try(
            "cmp seg:[ecx*4+d]", [&](Assembler& a) { a.cmp(at(ptr(absolute, ecx, 2)), seg_reg); },
            Reference::kInterpreter);
        trials.Try(
            "push seg:[d]", [&](Assembler& a) { a.push(at(ptr(absolute))); }, Reference::kInterpreter);
        trials.Try(
            "pop seg:[d]", [&](Assembler& a) { a.pop(at(ptr(absolute))); }, Reference::kInterpreter);
        trials.Try(
            "movzx ah form",
            [&](Assembler& a) {
              Mem byte = at(ptr(absolute));
              byte.setSize(1);
              a.mov(ah, byte);
              a.mov(byte, dh);
            },
            Reference::kInterpreter);
      }
    }
  }
  trials.Try(
      "movaps seg:",
      [](Assembler& a) {
        Mem m = ptr(uint64_t{0}, 16);
        m.setSegment(gs);
        a.movaps(xmm3, m);
      },
      Reference::kInterpreter);
  trials.Report(1500);
}

TEST_CASE("segment overrides that name flat segments change nothing") {
  Trials trials;
  for (uint8_t prefix : {0x26, 0x2E, 0x36, 0x3E}) {
    trials.TryBytes("mov eax, seg:[ebx]", {prefix, 0x8B, 0x03});
    trials.TryBytes("mov eax, seg:[esp+4]", {prefix, 0x8B, 0x44, 0x24, 0x04});
    trials.TryBytes("mov eax, seg:[ebp-4]", {prefix, 0x8B, 0x45, 0xFC});
    trials.TryBytes("mov seg:[moffs], al", {prefix, 0xA0, 0x08, 0x20, 0x01, 0x10});
    trials.TryBytes("two overrides", {0x3E, prefix, 0x8B, 0x03});
    if (prefix == 0x2E) continue;
    trials.TryBytes("mov seg:[ebx], eax", {prefix, 0x89, 0x03});
    trials.TryBytes("movsd with override", {prefix, 0xA5});
    trials.TryBytes("rep lodsb with override", {prefix, 0xF3, 0xAC});
  }
  // A code segment cannot be written to.
  trials.TryBytes("mov cs:[ebx], eax", {0x2E, 0x89, 0x03});
  trials.Report(180);
}

TEST_CASE("absolute addresses in both halves of the address space") {
  Trials trials;
  for (uint8_t top : {0x10, 0x7F, 0x80, 0xC0, 0xFF}) {
    for (const Bytes& opcode :
         {Bytes{0xA1}, Bytes{0xA3}, Bytes{0xA0}, Bytes{0xA2}, Bytes{0x66, 0xA1}, Bytes{0x66, 0xA3}, Bytes{0x8B, 0x0D},
          Bytes{0x89, 0x25}, Bytes{0x88, 0x35}, Bytes{0xFF, 0x05}, Bytes{0x8B, 0x04, 0x8D}, Bytes{0x8A, 0x3C, 0x0D}}) {
      Bytes code = opcode;
      code.insert(code.end(), {0x08, 0x20, 0x01, top});
      trials.TryBytes("absolute", code);
    }
  }
  trials.Report(300);
}
