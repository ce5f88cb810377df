// A code cache far too small for the program, and the records of what is in it.
#include <catch2/catch.hpp>

#include "tests/translator/program.h"

using namespace ring3;
using namespace asmjit;
using namespace asmjit::x86;

namespace {

constexpr uint32_t kBig = 0x4000'0000, kBigFrames = 0x20'0000, kFunctions = 6000;

/// kFunctions functions that each add their number to EAX, called in turn `rounds` times.
Bytes BigProgram(uint32_t rounds) {
  return Assemble(kBig, [&](Assembler& a) {
    Label top = a.newLabel();
    std::vector<Label> functions(kFunctions);
    for (Label& f : functions) f = a.newLabel();
    a.xor_(eax, eax);
    a.mov(ebx, rounds);
    a.bind(top);
    for (const Label& f : functions) a.call(f);
    a.dec(ebx);
    a.jnz(top);
    a.int3();
    for (uint32_t i = 0; i < kFunctions; ++i) {
      Label skip = a.newLabel();
      a.bind(functions[i]);
      a.add(eax, i);
      a.test(eax, 1 << (i % 16));
      a.jz(skip);
      a.xor_(eax, 0x55);
      a.bind(skip);
      a.ret();
    }
  });
}

void LoadBig(TestMachine& machine, const Bytes& code, unsigned cpl) {
  machine.Reset(cpl);
  machine.Write(kBigFrames, code);
  for (uint32_t at = 0; at < code.size(); at += kPageSize) {
    machine.Map(kBig + at, kBigFrames + at, guest::kPresent | guest::kUser);
  }
  machine.State().eip = kBig;
}

}  // namespace

TEST_CASE("a large program in the smallest cache") {
  const Bytes code = BigProgram(3);
  TestMachine interpreted({.interpreter = true});
  for (unsigned cpl : {3u, 0u}) {
    TestMachine machine({.translator = {.cache_bytes = CodeCache::kMinBytes}});
    LoadBig(interpreted, code, cpl);
    LoadBig(machine, code, cpl);
    const Outcome outcome = machine.Run();
    CHECK(Difference(outcome, interpreted.Run(), {}).empty());
    CHECK(machine.GetTranslator().Cache().Evictions() > 10);
    machine.CheckInvariants();
  }
}

TEST_CASE("one-instruction blocks, and any fast path off, give the same result") {
  const Bytes code = BigProgram(1);
  TestMachine reference({.interpreter = true});
  LoadBig(reference, code, 3);
  const Outcome expected = reference.Run();
  std::vector<TranslatorOptions> variants = {{.cache_bytes = 1 << 20, .max_block_instructions = 1},
                                             {.cache_bytes = 1 << 20, .fast_paths = FastPaths::None()},
                                             {.cache_bytes = 1 << 20, .count_executions = true}};
  for (const FastPathRow& row : kFastPathRows)
    variants.push_back({.cache_bytes = 1 << 20, .fast_paths = FastPaths().Without(row.path)});
  for (const TranslatorOptions& options : variants) {
    TestMachine machine({.translator = options});
    LoadBig(machine, code, 3);
    CHECK(Difference(machine.Run(), expected, {}).empty());
    machine.CheckInvariants();
  }
}

TEST_CASE("every block has a recovery entry at its start, in ascending order") {
  TestMachine machine;
  const Bytes codes[] = {{0x40},       {0x0F, 0x0B},       {0xF0, 0x90}, {0xFA, 0xFB, 0x9D},
                         {0xF3, 0xA4}, {0x8F, 0x04, 0x24}, {0xCC},       {0xE2, 0xFE}};
  for (const Bytes& code : codes) {
    for (unsigned cpl : {3u, 0u}) {
      Load(machine, MakeProgram(code, 1, cpl));
      const BlockMode mode = BlockMode::Of(machine.State());
      machine.GetTranslator().SelectTable(mode);
      const CodeLookup found = machine.GetTranslator().Lookup(machine.State().eip, mode);
      REQUIRE(found.outcome == FillOutcome::kMapped);
      const auto& recovery = machine.GetTranslator().Cache().Get(found.block).recovery;
      REQUIRE(!recovery.empty());
      CHECK(recovery.front().host_offset == 0);
      CHECK(std::is_sorted(recovery.begin(), recovery.end(), [](const RecoveryEntry& a, const RecoveryEntry& b) {
        return a.host_offset < b.host_offset;
      }));
    }
  }
}
