// libFuzzer's entry point around a target.
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>

#include "tests/fuzz/input.h"

namespace ring3::fuzz {
namespace {

constexpr int kSignals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP};
struct sigaction g_before[NSIG];

/// A target may route signals to itself; what the fuzzer or the sanitizers installed is needed to keep a finding.
void RememberHandlers() {
  static const bool once = [] {
    for (const int signal : kSignals) sigaction(signal, nullptr, &g_before[signal]);
    return true;
  }();
  static_cast<void>(once);
}

}  // namespace

void GiveBackSignal(int signal, void*, void*) {
  for (const int each : kSignals) sigaction(each, &g_before[each], nullptr);
  raise(signal);  // blocked until the handler returns, to the instruction that fails again
}

void Fail(const std::string& message) {
  std::fprintf(stderr, "fuzz target: %s\n", message.c_str());
  for (const int each : kSignals) sigaction(each, &g_before[each], nullptr);
  std::abort();
}

}  // namespace ring3::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ring3::fuzz;
  RememberHandlers();
  try {
    Run(Input({data, size}));
  } catch (const std::exception& error) {
    Fail(std::string("thrown: ") + error.what());
  }
  return 0;
}
