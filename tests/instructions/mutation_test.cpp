// Is a wrong translation noticed? Each mutation breaks translations in one way; the random programs have to find it,
// within the number that the ordinary run has, and to shrink it to a few instructions.
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "tests/instructions/saboteur.h"
#include "tests/instructions/sequence_runner.h"

using namespace ring3;

namespace {

enum Verdict : int { kMissed = 0, kNoticed = 1, kNeverApplied = 2, kNotShrunk = 3 };

/// In a process of its own: spoilt code may do anything.
Verdict Hunt(const Mutation& mutation) {
  constexpr uint64_t kPrograms = 3000;
  constexpr size_t kFewItems = 8;
  constexpr auto kPatience = std::chrono::milliseconds(500);  // spoilt programs that run for ever are shrunk, too
  Saboteur saboteur(mutation);
  SequenceRunner runner({.cache_bytes = 1u << 20, .dump = saboteur.Dump()});
  saboteur.Attach(runner.Translated());
  runner.Translated().patience = kPatience;
  const auto fails = [&](const Program& p) { return !runner.Difference(p).empty(); };
  for (uint64_t seed = 1; seed <= kPrograms; ++seed) {
    const Sequence sequence = MakeSequence(seed);
    if (!fails(sequence.Assembled())) continue;
    return Shrink(sequence, fails).items.size() <= kFewItems ? kNoticed : kNotShrunk;
  }
  return saboteur.Applied() ? kMissed : kNeverApplied;
}

}  // namespace

TEST_CASE("every kind of broken translation is noticed") {
  for (const NamedMutation& mutation : AllMutations()) {
    INFO(mutation.name);
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) _exit(Hunt(mutation.apply));
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    // A crash is noticed as well.
    if (WIFEXITED(status)) CHECK(WEXITSTATUS(status) == kNoticed);
  }
}

TEST_CASE("without a mutation nothing is noticed") {
  CHECK(Hunt([](const FreshBlock&) { return false; }) == kNeverApplied);
}
