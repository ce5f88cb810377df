// Random programs: short sequences of instructions, forward branches and small loops, translated, interpreted and
// native. RING3_RANDOM_COUNT says how many, RING3_RANDOM_SEED where to start; a failure prints its seed.
#include <Zydis/Zydis.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <random>

#include "tests/instructions/trials.h"

using namespace ring3;
using namespace asmjit;

namespace {

uint32_t FromEnvironment(const char* name, uint32_t otherwise) {
  const char* text = std::getenv(name);
  return text ? static_cast<uint32_t>(std::strtoul(text, nullptr, 0)) : otherwise;
}

/// Writes one random program. EBX, ESI, EBP and ESP keep pointing into their regions, so that most accesses succeed;
/// the others hold anything.
class Writer {
 public:
  Writer(uint32_t seed, x86::Assembler& a) : random_(seed), a_(a) {}

  void Write() {
    const unsigned instructions = 4 + Random(24);
    for (unsigned i = 0; i < instructions; ++i) One();
    Bind();
  }

 private:
  unsigned Random(unsigned below) { return static_cast<unsigned>(random_() % below); }

  x86::Gp Free() {
    static const x86::Gp kFree[] = {x86::eax, x86::ecx, x86::edx, x86::edi};
    return kFree[Random(4)];
  }
  x86::Gp Any() {
    static const x86::Gp kAll[] = {x86::eax, x86::ecx, x86::edx, x86::ebx, x86::esp, x86::ebp, x86::esi, x86::edi};
    return kAll[Random(8)];
  }
  x86::Gp FreeByte() {
    static const x86::Gp kBytes[] = {x86::al, x86::cl, x86::dl, x86::ah, x86::ch, x86::dh};
    return kBytes[Random(6)];
  }

  x86::Mem Memory(unsigned bytes) {
    const auto displacement = static_cast<int32_t>(Random(512)) - 256;
    x86::Mem m;
    switch (Random(8)) {
      case 0:
        m = x86::ptr(x86::esp, displacement);
        break;
      case 1:
        m = x86::ptr(x86::ebp, displacement);
        break;
      case 2:
        m = x86::ptr(x86::esi, displacement);
        break;
      case 3:
        m = x86::ptr(uint64_t{guest::kData + 0x1000 + Random(0x2000)});
        break;
      case 4:
        m = x86::ptr(x86::ebx, x86::ecx, Random(4), displacement);
        break;
      case 5:
        m = x86::ptr(x86::esp, x86::ecx, Random(3), displacement);
        break;
      default:
        m = x86::ptr(x86::ebx, displacement);
        break;
    }
    m.setSize(bytes);
    return m;
  }

  void Branch() {
    static const uint32_t kJumps[] = {x86::Inst::kIdJo,  x86::Inst::kIdJb, x86::Inst::kIdJz, x86::Inst::kIdJbe,
                                      x86::Inst::kIdJs,  x86::Inst::kIdJp, x86::Inst::kIdJl, x86::Inst::kIdJle,
                                      x86::Inst::kIdJnz, x86::Inst::kIdJnl};
    Label label = a_.newLabel();
    if (Random(6) == 0) {
      a_.jmp(label);
    } else {
      a_.emit(kJumps[Random(10)], label);
    }
    pending_.push_back(label);
  }

  /// A loop of up to four rounds that counts in memory.
  void Loop() {
    const x86::Mem counter = x86::dword_ptr(uint64_t{guest::kData + 0x3F00});
    Label top = a_.newLabel();
    a_.mov(counter, 1 + Random(4));
    a_.bind(top);
    One(false);
    One(false);
    a_.dec(counter);
    a_.jnz(top);
  }

  void CallReturn() {
    Label function = a_.newLabel(), end = a_.newLabel();
    a_.call(function);
    a_.jmp(end);
    a_.bind(function);
    Arithmetic();
    a_.ret();
    a_.bind(end);
  }

  void Arithmetic() {
    static const uint32_t kTwo[] = {x86::Inst::kIdAdd,  x86::Inst::kIdAdc, x86::Inst::kIdSub, x86::Inst::kIdSbb,
                                    x86::Inst::kIdAnd,  x86::Inst::kIdOr,  x86::Inst::kIdXor, x86::Inst::kIdCmp,
                                    x86::Inst::kIdTest, x86::Inst::kIdMov};
    const uint32_t id = kTwo[Random(10)];
    switch (Random(6)) {
      case 0:
        a_.emit(id, Free(), Any());
        break;
      case 1:
        a_.emit(id, Memory(4), Any());
        break;
      case 2:
        a_.emit(id, Memory(1), FreeByte());
        break;
      case 3:
        a_.emit(id, Free().r16(), Any().r16());
        break;
      case 4:
        a_.emit(id, Free(), Imm(static_cast<int32_t>(random_())));
        break;
      default:
        if (id == x86::Inst::kIdTest) {
          a_.emit(id, Memory(2), Free().r16());
        } else {
          a_.emit(id, Free(), Memory(4));
        }
    }
  }

  void Other() {
    switch (Random(22)) {
      case 0:
        a_.push(Any());
        break;
      case 1:
        a_.pop(Free());
        break;
      case 2:
        a_.push(Memory(4));
        break;
      case 3:
        a_.pop(Memory(4));
        break;
      case 4:
        a_.lea(Free(), Memory(0));
        break;
      case 5:
        a_.shl(Free(), x86::cl);
        break;
      case 6:
        a_.sar(Memory(4), Random(32));
        break;
      case 7:
        a_.imul(Free(), Any());
        break;
      case 8:
        a_.mul(Memory(4));
        break;
      case 9:
        a_.div(Free());
        break;
      case 10:
        a_.xchg(Memory(4), Free());
        break;
      case 11:
        a_.lock().xadd(Memory(4), Free());
        break;
      case 12:
        a_.movzx(Free(), Memory(1));
        break;
      case 13:
        a_.movsx(Free(), Memory(2));
        break;
      case 14:
        a_.cmovnz(Free(), Any());
        break;
      case 15:
        a_.setb(FreeByte());
        break;
      case 16:
        a_.movsd();
        break;
      case 17:
        a_.bt(Free(), Random(32));
        break;
      case 18:
        a_.movdqu(x86::xmm1, Memory(16));
        break;
      case 19:
        a_.paddd(x86::xmm1, x86::xmm2);
        break;
      case 20:
        a_.movdqu(Memory(16), x86::xmm1);
        break;
      default:
        a_.bswap(Free());
        break;
    }
  }

  void One(bool may_branch = true) {
    switch (Random(10)) {
      case 0:
        if (may_branch) return Branch();
        break;
      case 1:
        if (may_branch && Random(2)) return Loop();
        break;
      case 2:
        if (may_branch && Random(2)) return CallReturn();
        if (may_branch) return Bind();
        break;
      case 3:
      case 4:
      case 5:
        return Other();
      default:
        break;
    }
    Arithmetic();
  }

  void Bind() {
    for (const Label& label : pending_) a_.bind(label);
    pending_.clear();
  }

  std::mt19937 random_;
  x86::Assembler& a_;
  std::vector<Label> pending_;
};

}  // namespace

TEST_CASE("random programs") {
  const uint32_t first = FromEnvironment("RING3_RANDOM_SEED", 1), count = FromEnvironment("RING3_RANDOM_COUNT", 6000);
  Trials trials;
  for (uint32_t seed = first; seed < first + count; ++seed) {
    const Bytes code = Assemble(guest::kCode + Program().offset, [&](x86::Assembler& a) { Writer(seed, a).Write(); });
    Program program = MakeProgram(code, seed, seed % 2 ? 3 : 0);
    trials.Compare("random program", program, Reference::kBoth);
  }
  trials.Report(count / 2);
}
