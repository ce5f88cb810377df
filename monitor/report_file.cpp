#include "monitor/report_file.h"

#include <fmt/core.h>

#include <cerrno>
#include <cstring>

#include "monitor/cpu/fault.h"

namespace ring3 {

FILE* OpenReport(const std::string& path) {
  if (path.empty()) return nullptr;
  if (path == "-") return stderr;
  FILE* file = std::fopen(path.c_str(), "w");
  if (!file) throw UsageError(fmt::format("cannot write {}: {}", path, std::strerror(errno)));
  return file;
}

void CheckReport(FILE* file, const std::string& path) {
  if (!file || (std::fflush(file) == 0 && !std::ferror(file))) return;
  throw UsageError(fmt::format("cannot write {}: {}", path, std::strerror(errno)));
}

void CloseReport(FILE* file) {
  if (file && file != stderr) std::fclose(file);
}

}  // namespace ring3
