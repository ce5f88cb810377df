#include "tests/instructions/trials.h"

#include <fmt/core.h>

#include <catch2/catch.hpp>

namespace ring3 {
namespace {
constexpr unsigned kMostOfOneName = 2, kMostNames = 25;
constexpr uint32_t kPageFault = 14, kKernelEnd = 4u << 20;  // of the supervisor's identity mapping
}  // namespace

Trials::Trials() = default;
Trials::~Trials() = default;

void Trials::Note(const std::string& name, const char* reference, const Program& program,
                  const std::string& difference) {
  if (difference.empty()) return;
  ++failed_;
  if (++failed_by_name_[name] > kMostOfOneName || failed_by_name_.size() > kMostNames) return;
  report_ += fmt::format("{} against {}: {}{}\n", name, reference, Describe(program), difference);
}

void Trials::Compare(const std::string& name, const Program& program, Reference reference, Ignore ignore) {
  try {
    std::optional<Outcome> native;
    if (reference != Reference::kInterpreter) {
      native = RunNatively(program);
      if (native->vector == kPageFault && native->cr2 < kKernelEnd) return;  // noise for an address
    }
    ++compared_;
    const Outcome actual = RunOn(translated_, program);
    if (native) {
      Ignore more = ignore;
      more.selectors = true;
      more.x87_pointers = true;
      Note(name, "the processor", program, Difference(actual, *native, more));
    }
    if (reference != Reference::kNative) {
      Note(name, "the interpreter", program, Difference(actual, RunOn(interpreted_, program), ignore));
    }
  } catch (const std::runtime_error& error) {
    Note(name, "anything", program, fmt::format("  {}\n", error.what()));
  }
}

void Trials::Try(const std::string& name, const std::function<void(asmjit::x86::Assembler&)>& write,
                 Reference reference, Ignore ignore) {
  Bytes code;
  try {
    code = Assemble(guest::kCode + Program().offset, write);
  } catch (const std::logic_error& error) {
    throw std::logic_error(name + ": " + error.what());
  }
  TryBytes(name, code, reference, ignore);
}

void Trials::TryBytes(const std::string& name, const Bytes& code, Reference reference, Ignore ignore) {
  for (unsigned seed = 1; seed <= seeds; ++seed) {
    for (unsigned cpl : {3u, 0u}) {
      if (cpl == 0 ? !cpl0 : !cpl3) continue;
      Program program = MakeProgram(code, seed, cpl);
      if (adjust) adjust(program);
      Compare(name, program, reference, ignore);
    }
  }
}

void Trials::Report(unsigned at_least) const {
  std::string names;
  for (const auto& [name, count] : failed_by_name_) names += fmt::format(" {} ({})", name, count);
  INFO(failed_ << " of " << compared_ << " programs differ:" << names << "\n" << report_);
  CHECK(failed_ == 0);
  CHECK(compared_ >= at_least);
}

}  // namespace ring3
