// The same guest on every kind of machine: interpreted, and translated in the ways that take changes of code and memory
// differently.
#pragma once

#include <functional>
#include <span>
#include <string>

#include "tests/translator/program.h"

namespace ring3 {

struct MachineKind {
  const char* name;
  TestMachineOptions options;
  bool kicks = false;  // a timer interrupts translated code all the time
};
/// The interpreter, which is the reference, comes first; then linked blocks, the same with kicks, the smallest cache,
/// one-instruction blocks, and blocks that are not linked.
std::span<const MachineKind> MachineKinds();

/// A guest: how a machine is set up for it, and what it must leave behind.
struct Scenario {
  std::string name;
  std::function<void(TestMachine&)> prepare;
  std::function<void(TestMachine&, const Outcome&)> check = [](TestMachine&, const Outcome&) {};
};

/// Runs the scenarios, one after the other, on a machine of each kind. Besides what the scenario checks itself, the
/// whole outcome and all page tables (A and D bits, that is) must be the interpreter's.
void RunEverywhere(std::span<const Scenario> scenarios);
inline void RunEverywhere(const Scenario& scenario) { RunEverywhere({&scenario, 1}); }

/// Flags of a page that everybody may write to, and where LoadChangingCode maps the code region once more.
inline constexpr uint32_t kOpenPage = guest::kPresent | guest::kWritable | guest::kUser;
inline constexpr uint32_t kCodeAlias = 0x3000'0000;
/// Resets the machine and puts code at kCode that it may write to, there and at kCodeAlias.
void LoadChangingCode(TestMachine& machine, unsigned cpl, const Bytes& code);
/// Physical address of the code that LoadCode put at a linear address in the code region.
uint32_t CodeFrame(TestMachine& machine, uint32_t linear);

/// `body` so many times, counted down in ECX.
void CountDown(asmjit::x86::Assembler& a, uint32_t rounds, const std::function<void(asmjit::x86::Assembler&)>& body);

/// A scenario of code at kCode that changes itself, at CPL 3 and at CPL 0.
void RunChangingCode(const std::function<void(asmjit::x86::Assembler&)>& write,
                     const std::function<void(const Outcome&)>& check);

}  // namespace ring3
