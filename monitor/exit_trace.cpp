#include "monitor/exit_trace.h"

#include <fmt/core.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "monitor/cpu/fault.h"

namespace ring3 {

const char* NameOf(ExitReason reason) {
  constexpr const char* kNames[] = {"interrupted", "link-miss",   "indirect-miss", "interpret", "demoted",
                                    "emulate",     "guest-fault", "code-write",    "stale"};
  static_assert(std::size(kNames) == static_cast<unsigned>(ExitReason::kCount));
  return kNames[static_cast<unsigned>(reason)];
}

ExitTrace::ExitTrace(const std::string& path) : path_(path) {
  if (path.empty()) return;
  file_ = std::fopen(path.c_str(), "w");
  if (!file_) throw UsageError(fmt::format("cannot write exit trace {}: {}", path, std::strerror(errno)));
}

ExitTrace::~ExitTrace() {
  if (file_) std::fclose(file_);
}

void ExitTrace::PrintEntry(FILE* out, uint64_t number, const Entry& e) {
  fmt::print(out, "{:10} {:<13} eip {:08x} esp {:08x} eflags {:08x} cpl {}\n", number, NameOf(e.reason), e.eip, e.esp,
             e.eflags, e.cpl);
}

void ExitTrace::WriteLast() { PrintEntry(file_, count_, last_[(count_ - 1) % kKept]); }

void ExitTrace::Print(FILE* out) const {
  for (uint64_t i = count_ - std::min<uint64_t>(count_, kKept); i < count_; ++i)
    PrintEntry(out, i + 1, last_[i % kKept]);
}

}  // namespace ring3
