// Code that changes code.
#pragma once

namespace demo {

/// The section of the report.
void CheckSelfModification();

}  // namespace demo
