// Files that the user names for the guest, read whole.
#pragma once

#include <string>

#include "monitor/boot/little_endian.h"

namespace ring3 {

/// Throws UsageError, with `what` (such as "kernel") and the path, when the file is missing, unreadable, empty, not a
/// regular file or larger than any guest's RAM.
Bytes ReadGuestFile(const std::string& what, const std::string& path);

/// The last component of a path.
std::string BaseName(const std::string& path);

}  // namespace ring3
