#include "tests/instructions/sequence_runner.h"

#include <fmt/core.h>

#include <algorithm>

#include "monitor/cpu/guest_decoder.h"
#include "tests/instructions/trial_builder.h"

namespace ring3 {

namespace {

constexpr uint32_t kStackFault = 12, kGeneralProtection = 13, kPageFault = 14, kSimdException = 19;

/// The processor has left the program's own code and runs noise.
bool Astray(const Program& program, const Outcome& native) {
  return native.eip - program.Start() > program.code.size() + 1;
}

/// See Unspecified in sweep_runner.cpp.
bool FaultUnspecified(const Program& program, const Outcome& native) {
  if (native.vector == kSimdException) return true;  // AMD: whether the result is inexact, too
  // A privileged instruction, perhaps made by a store into code.
  if (native.vector == kGeneralProtection && program.cpl == 0) return true;
  if (native.vector < kStackFault || native.vector > kPageFault) return false;
  const uint32_t at = native.eip - program.Start();
  if (at >= program.code.size()) return false;
  const Bytes code(native.code.begin() + program.offset + at, native.code.end());
  ZydisDecodedInstruction insn;
  const ZydisDecoder decoder = MakeGuestDecoder(DecoderKind::Of(FindCpuModel("max"), program.Code32()));
  ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
  if (ZYAN_FAILED(ZydisDecoderDecodeFull(&decoder, code.data(), code.size(), &insn, operands))) return true;
  // On the stack, misaligned (#GP) and outside its segment (#SS): which of the two.
  constexpr uint16_t kVectorBits = 128;
  const bool on_stack = std::any_of(operands, operands + insn.operand_count, [](const ZydisDecodedOperand& op) {
    return op.type == ZYDIS_OPERAND_TYPE_MEMORY && op.size == kVectorBits && op.mem.segment == ZYDIS_REGISTER_SS;
  });
  if (on_stack && native.vector != kPageFault) return true;
  if (insn.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR) return true;
  return insn.meta.category == ZYDIS_CATEGORY_STRINGOP || insn.meta.isa_ext == ZYDIS_ISA_EXT_X87;
}

}  // namespace

SequenceRunner::SequenceRunner(TranslatorOptions options)
    : translated_({.translator = options, .kernel_base = guest::kHighKernel}),
      interpreted_({.interpreter = true, .kernel_base = guest::kHighKernel}) {}

std::string SequenceRunner::Difference(const Program& program) {
  Outcome native;
  try {
    native = RunNatively(program);
  } catch (const std::runtime_error&) {
    return {};  // for ever: parts of a program that is being shrunk may do that
  }
  if (native.vector == kPageFault && native.cr2 - guest::kHighKernel < guest::kKernelBytes) return {};
  if (Astray(program, native) || FaultUnspecified(program, native)) return {};
  ++compared_;
  ++endings_[*native.vector];
  const Ignore ignore{.rpl = program.cpl == 0};
  std::string text;
  const auto run = [&](const char* name, TestMachine& machine) {
    try {
      const std::string difference = ring3::Difference(RunOn(machine, program), native, ignore);
      if (!difference.empty()) text += fmt::format("  {}:\n{}", name, difference);
    } catch (const std::runtime_error& error) {
      text += fmt::format("  {}: {}\n", name, error.what());
    }
  };
  run("translated", translated_);
  run("interpreted", interpreted_);
  if (!text.empty() && program.cpl == 0 && SeesItsPrivilege(program)) return {};
  if (!text.empty() && ExecutesDecimals(program)) return {};
  return text;
}

/// A program that has come by, say, PUSH CS, shows the privilege it runs at: the engines agree with each other there,
/// and with the processor at CPL 3.
/// Sequences have no decimal instructions, of which C++ computes the undefined flags, but branches into the middle of
/// another instruction may find one.
bool SequenceRunner::ExecutesDecimals(const Program& program) {
  static bool found;
  found = false;
  interpreted_.on_executed = [](uint16_t mnemonic) { found |= UndefinedFlags(mnemonic) != 0; };
  RunOn(interpreted_, program);
  interpreted_.on_executed = nullptr;
  return found;
}

bool SequenceRunner::SeesItsPrivilege(Program program) {
  const Outcome translated = RunOn(translated_, program);
  if (!ring3::Difference(translated, RunOn(interpreted_, program), {}).empty()) return false;
  program.cpl = 3;
  return Difference(program).empty();
}

std::string SequenceRunner::Endings() const {
  std::string text = "endings by vector:";
  for (const auto& [vector, count] : endings_) text += fmt::format(" {}: {}", vector, count);
  return text;
}

}  // namespace ring3
