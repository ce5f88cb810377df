// Files that reports of a run go to.
#pragma once

#include <cstdio>
#include <string>

namespace ring3 {

/// nullptr for an empty path, standard error for "-". Throws UsageError.
FILE* OpenReport(const std::string& path);
/// Throws UsageError, with the name, when something written to `file` could not be kept. nullptr has nothing to say.
void CheckReport(FILE* file, const std::string& path);
void CloseReport(FILE* file);

}  // namespace ring3
