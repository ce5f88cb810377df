// Exceptions: vector, error code and saved EIP.
#pragma once

namespace demo {

/// The section of the report.
void CheckExceptions();

}  // namespace demo
