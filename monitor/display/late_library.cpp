#include "monitor/display/late_library.h"

#include <dlfcn.h>
#include <fmt/core.h>

#include "monitor/cpu/fault.h"

namespace ring3 {

LateLibrary::LateLibrary(const std::string& file, const std::string& package)
    : file_(file), handle_(dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL)) {
  if (handle_) return;
  throw UsageError(fmt::format("this display needs {}, which cannot be loaded (apt-get install {})", file, package));
}

void* LateLibrary::Find(const char* name) const {
  if (void* function = dlsym(handle_, name)) return function;
  throw UsageError(fmt::format("{} has no {}: it is of another version than ring3 was built with", file_, name));
}

}  // namespace ring3
