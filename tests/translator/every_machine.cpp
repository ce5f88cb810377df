#include "tests/translator/every_machine.h"

#include <fmt/core.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <optional>
#include <stdexcept>

namespace ring3 {
namespace {

constexpr uint64_t kKickEveryNs = 100'000;

struct Result {
  Outcome outcome;
  Bytes page_tables;
};

Result RunOnce(TestMachine& machine, const MachineKind& kind, const Scenario& scenario) {
  scenario.prepare(machine);
  std::optional<KickTimer> kicks;
  if (kind.kicks) kicks.emplace(kKickEveryNs);
  Result result{machine.Run(), {}};
  kicks.reset();
  const uint8_t* tables = machine.Physical().Flat(GuestPhysical(guest::kPageDirectory));
  result.page_tables.assign(tables, tables + guest::kPageTablesEnd - guest::kPageDirectory);
  return result;
}

std::string TablesDifference(const Bytes& actual, const Bytes& expected) {
  for (size_t at = 0; at < expected.size(); at += 4) {
    uint32_t a = 0, e = 0;
    std::memcpy(&a, &actual[at], sizeof a);
    std::memcpy(&e, &expected[at], sizeof e);
    if (a != e) return fmt::format("entry at {:08x} is {:08x}, expected {:08x}\n", guest::kPageDirectory + at, a, e);
  }
  return "";
}

}  // namespace

std::span<const MachineKind> MachineKinds() {
  constexpr uint64_t kEnough = 1u << 20;
  static const MachineKind kinds[] = {
      {"interpreter", {.interpreter = true}},
      {"linked blocks", {.translator = {.cache_bytes = kEnough}}},
      {"kicks", {.translator = {.cache_bytes = kEnough}}, true},
      {"smallest cache", {.translator = {.cache_bytes = CodeCache::kMinBytes}}},
      {"one-instruction blocks", {.translator = {.cache_bytes = kEnough, .max_block_instructions = 1}}},
      {"no links", {.translator = {.cache_bytes = kEnough, .fast_paths = FastPaths().Without(FastPath::kBlockLinks)}}},
      {"usual fast paths", {.translator = {.cache_bytes = kEnough, .fast_paths = FastPaths::Usual()}}},
      {"no fast paths", {.translator = {.cache_bytes = kEnough, .fast_paths = FastPaths::None()}}},
  };
  return kinds;
}

void RunEverywhere(std::span<const Scenario> scenarios) {
  std::vector<Result> expected;
  for (const MachineKind& kind : MachineKinds()) {
    TestMachine machine(kind.options);
    for (size_t i = 0; i < scenarios.size(); ++i) {
      const Scenario& scenario = scenarios[i];
      INFO(kind.name << ": " << scenario.name);
      const Result result = RunOnce(machine, kind, scenario);
      if (kind.options.interpreter) expected.push_back(result);
      const std::string difference = Difference(result.outcome, expected[i].outcome, {}) +
                                     TablesDifference(result.page_tables, expected[i].page_tables);
      CHECK(difference == "");
      scenario.check(machine, result.outcome);
      if (!kind.options.interpreter) machine.CheckInvariants();
    }
  }
}

uint32_t CodeFrame(TestMachine& machine, uint32_t linear) {
  return (machine.Get<uint32_t>(machine.EntryAddress(linear)) & ~kPageMask) + (linear & kPageMask);
}

void LoadChangingCode(TestMachine& machine, unsigned cpl, const Bytes& code) {
  if (code.size() > guest::kCodeBytes) throw std::logic_error("the code is too long for its region");
  machine.Reset(cpl);
  machine.LoadCode(code, 0);
  for (uint32_t at = 0; at < guest::kCodeBytes; at += kPageSize) {
    const uint32_t frame = CodeFrame(machine, guest::kCode + at);
    machine.Map(guest::kCode + at, frame, kOpenPage);
    machine.Map(kCodeAlias + at, frame, kOpenPage);
  }
}

void CountDown(asmjit::x86::Assembler& a, uint32_t rounds, const std::function<void(asmjit::x86::Assembler&)>& body) {
  asmjit::Label top = a.newLabel();
  a.mov(asmjit::x86::ecx, rounds);
  a.bind(top);
  body(a);
  a.dec(asmjit::x86::ecx);
  a.jnz(top);
}

void RunChangingCode(const std::function<void(asmjit::x86::Assembler&)>& write,
                     const std::function<void(const Outcome&)>& check) {
  const Bytes code = Assemble(guest::kCode, write);
  std::vector<Scenario> scenarios;
  for (unsigned cpl : {3u, 0u}) {
    scenarios.push_back({fmt::format("CPL {}", cpl), [&, cpl](TestMachine& m) { LoadChangingCode(m, cpl, code); },
                         [&](TestMachine&, const Outcome& outcome) { check(outcome); }});
  }
  RunEverywhere(scenarios);
}

}  // namespace ring3
