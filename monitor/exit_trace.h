// The last exits from translated code, kept for crash reports, and written to a file on request (--trace-exits).
#pragma once

#include <array>
#include <cstdint>
#include <cstdio>
#include <string>

#include "monitor/cpu/cpu_state.h"
#include "monitor/report_file.h"
#include "translator/vcpu.h"

namespace ring3 {

const char* NameOf(ExitReason reason);

class ExitTrace {
 public:
  static constexpr size_t kKept = 32;

  /// Writes every exit to `path` too; empty: keeps the last ones only. Throws UsageError.
  explicit ExitTrace(const std::string& path = {});
  ~ExitTrace();
  ExitTrace(const ExitTrace&) = delete;

  void Record(ExitReason reason, const CpuState& state) {
    last_[count_++ % kKept] = {reason, state.eip, state.gpr[kEsp], state.eflags, state.cpl};
    if (file_) WriteLast();
  }
  /// Oldest first.
  void Print(FILE* out) const;
  /// Throws UsageError when the file does not take what was recorded.
  void Check() const { CheckReport(file_, path_); }

 private:
  struct Entry {
    ExitReason reason;
    uint32_t eip, esp, eflags;
    uint8_t cpl;
  };
  static void PrintEntry(FILE* out, uint64_t number, const Entry& entry);
  void WriteLast();

  std::array<Entry, kKept> last_{};
  uint64_t count_ = 0;
  std::string path_;
  FILE* file_ = nullptr;
};

}  // namespace ring3
