// The registers that gdb sees, in the order of its numbers, and the target description that names them. Source: the
// standard target features in the manual of GDB (i386), and the register layouts of the SDM.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "monitor/cpu/cpu_state.h"

namespace ring3::gdb {

/// How many registers there are; the first kGeneralCount are what 'g' and 'G' are about, all of them here.
unsigned RegisterCount();
/// 0 for a number that does not exist.
unsigned RegisterBytes(unsigned number);
/// All registers in their order.
unsigned AllRegisterBytes();

/// `out` has RegisterBytes(number) bytes, little-endian.
void ReadRegister(const CpuState& state, unsigned number, std::span<uint8_t> out);
/// False, and nothing changed, for what a debugger may not change (control and table registers, and selectors of
/// protected mode, which have hidden parts), unless it would stay as it is.
bool WriteRegister(CpuState& state, unsigned number, std::span<const uint8_t> value);

/// The document that qXfer:features:read:target.xml gives.
const std::string& TargetDescription();

}  // namespace ring3::gdb
