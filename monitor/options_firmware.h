// Options about firmware and what it boots.
#pragma once

#include "monitor/options.h"

namespace CLI {
class App;
}

namespace ring3 {

void AddFirmwareOptions(CLI::App& run, Options& options);
/// Throws UsageError for values that make no sense, alone or with --kernel.
void CheckFirmwareOptions(const Options& options);

}  // namespace ring3
