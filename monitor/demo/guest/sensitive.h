// The unprivileged instructions that look at or change privileged state, and so defeat a naive VMM.
#pragma once

namespace demo {

/// The section of the report.
void CheckSensitive();

}  // namespace demo
