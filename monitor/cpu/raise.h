// How the instruction semantics in this folder raise guest exceptions; out of line, so that success paths stay small.
#pragma once

#include <cstdint>

#include "monitor/cpu/fault.h"

namespace ring3 {

/// An exception that pushes no error code.
[[noreturn, gnu::cold]] void ThrowFault(Vector vector);
[[noreturn, gnu::cold]] void ThrowFault(Vector vector, uint32_t error_code);

/// Error code that names a selector: its RPL bits make room for EXT (bit 0) and IDT (SDM 3A figure 6-7).
constexpr uint32_t SelectorError(uint16_t selector, uint32_t ext = 0) { return (selector & 0xFFFCu) | ext; }

}  // namespace ring3
