// Libraries that are loaded when a front end is asked for: some bring sixty others with them, which would cost every
// start milliseconds and megabytes.
#pragma once

#include <string>

namespace ring3 {

class LateLibrary {
 public:
  /// Loads it; it stays loaded. `package` is Debian's. Throws UsageError where it is not installed.
  LateLibrary(const std::string& file, const std::string& package);

  /// The library's function `name`, which its header declares as a Function. Throws UsageError.
  template <class Function>
  Function* Get(const char* name) const {
    return reinterpret_cast<Function*>(Find(name));
  }

 private:
  void* Find(const char* name) const;

  std::string file_;
  void* handle_;
};

/// A member of a class derived from LateLibrary: the library's function of this name.
#define RING3_LATE_FUNCTION(name) RING3_LATE_SYMBOL(name)  // headers rename some
#define RING3_LATE_SYMBOL(name) decltype(::name)* const name = Get<decltype(::name)>(#name)

}  // namespace ring3
