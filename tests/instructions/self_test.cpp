// The tests themselves: a translation that is wrong, and an expectation that is wrong, have to be noticed.
#include <catch2/catch.hpp>

#include "tests/instructions/trials.h"

using namespace ring3;

namespace {

/// Replaces the first `from` in the code cache by `to`.
bool Corrupt(TestMachine& machine, const Bytes& from, const Bytes& to) {
  CodeCache& cache = machine.GetTranslator().Cache();
  uint8_t* end = cache.Base() + cache.Bytes();
  uint8_t* found = std::search(cache.Base() + Stubs::kBytes, end, from.begin(), from.end());
  if (found == end) return false;
  std::copy(to.begin(), to.end(), found);
  return true;
}

}  // namespace

TEST_CASE("a corrupted translation is noticed") {
  TestMachine machine;
  const Program program =
      MakeProgram({0x05, 0x11, 0x22, 0x33, 0x44, 0x89, 0x03}, 5, 3);  // add eax, imm; mov [ebx], eax
  const Outcome native = RunNatively(program);
  CHECK(Difference(RunOn(machine, program), native, {.selectors = true}).empty());
  Load(machine, program);
  const BlockMode mode = BlockMode::Of(machine.State());
  machine.GetTranslator().SelectTable(mode);
  REQUIRE(machine.GetTranslator().Lookup(program.Start(), mode).outcome == FillOutcome::kMapped);
  // The newest copy is behind the one that ran before: spoil both.
  REQUIRE(Corrupt(machine, {0x05, 0x11, 0x22, 0x33, 0x44}, {0x05, 0x12, 0x22, 0x33, 0x44}));
  while (Corrupt(machine, {0x05, 0x11, 0x22, 0x33, 0x44}, {0x05, 0x12, 0x22, 0x33, 0x44})) {
  }
  const std::string difference = Difference(machine.Run(), native, {.selectors = true});
  CHECK(difference.find("eax") != std::string::npos);
  CHECK(difference.find("data") != std::string::npos);
}

TEST_CASE("every part of an outcome is compared") {
  TestMachine machine;
  const Program program = MakeProgram({0x40}, 5, 3);
  const Outcome good = RunOn(machine, program);
  const auto noticed = [&](const std::function<void(Outcome&)>& change) {
    Outcome bad = good;
    change(bad);
    return !Difference(bad, good, {}).empty();
  };
  CHECK(Difference(good, good, {.x87_pointers = false}).empty());
  CHECK(noticed([](Outcome& o) { o.vector = 6; }));
  CHECK(noticed([](Outcome& o) { o.error_code ^= 1; }));
  CHECK(noticed([](Outcome& o) { o.eip += 1; }));
  CHECK(noticed([](Outcome& o) { o.eflags ^= eflags::kOf; }));
  CHECK(noticed([](Outcome& o) { o.gpr[kEdi] ^= 0x8000'0000; }));
  CHECK(noticed([](Outcome& o) { o.fxsave[0] ^= 1; }));
  CHECK(noticed([](Outcome& o) { o.fxsave[287] ^= 1; }));
  CHECK(noticed([](Outcome& o) { o.data.back() ^= 1; }));
  CHECK(noticed([](Outcome& o) { o.stack.front() ^= 1; }));
  CHECK(noticed([](Outcome& o) { o.selectors[0] ^= 8; }));
}
