// Options about disks, CDs and diskettes.
#pragma once

#include <memory>

#include "monitor/options.h"

namespace CLI {
class App;
}

namespace ring3 {

void AddStorageOptions(CLI::App& run, Options& options);
/// Gives every drive its place, once all options are known. Throws UsageError.
void FinishStorageOptions(Options& options);

}  // namespace ring3
