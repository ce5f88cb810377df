// Guests at any privilege level, CPL 0 to 3 and virtual-8086 mode, on the translator's test machine.
#pragma once

#include "tests/translator/every_machine.h"

namespace ring3 {

/// Beyond the test machine's own descriptors. Selectors without RPL.
namespace rings {
inline constexpr uint16_t kCode1 = 0x180, kData1 = 0x188, kCode2 = 0x190, kData2 = 0x198, kLdt = 0x1A0,
                          kFree = 0x200;  // from here on for the tests
inline constexpr uint16_t kGdtLimit = 0xABF, kBeyond = 0xAC0, kIdtLimit = 0x7FF;
inline constexpr uint32_t kLdtBase = 0x3F'0000, kLdtLimit = 0x27;

/// With RPL: what CS and the data segments hold at this privilege.
uint16_t Code(unsigned cpl);
uint16_t Data(unsigned cpl);

/// Virtual-8086 code starts at kV86Cs:0; DS, ES, FS and GS are kV86Ds, the stack is kV86Ss:kV86Sp.
inline constexpr uint32_t kV86Code = guest::kLowCode, kV86Data = kV86Code + 0x1000, kV86Stack = kV86Code + 0x2000;
inline constexpr uint16_t kV86Cs = kV86Code >> 4, kV86Ds = kV86Data >> 4, kV86Ss = kV86Stack >> 4, kV86Sp = 0x800;
}  // namespace rings

/// A descriptor from its high dword's attributes (bits 8-23, shifted down) and a limit in its own granularity.
uint64_t RawDescriptor(uint32_t base, uint32_t limit20, uint16_t attributes);
uint64_t RawGate(uint16_t selector, uint32_t offset, unsigned type, unsigned dpl, unsigned parameters = 0);
void SetDescriptor(TestMachine& machine, uint16_t selector, uint64_t descriptor);

/// Flat 32-bit code at guest::kCode; the data region is filled with 0xCC.
void EnterRing(TestMachine& machine, unsigned cpl, const Bytes& code);
/// 16-bit code; the data and the stack are filled with 0xCC.
void EnterV86(TestMachine& machine, unsigned iopl, const Bytes& code);

/// `body` three times over, so that blocks are linked to themselves; then INT3. It may use all but [kData].
Bytes ThreeTimes(const std::function<void(asmjit::x86::Assembler&)>& body);

/// From the data region as the guest left it.
uint32_t DwordAt(const Outcome& outcome, uint32_t address);
uint16_t WordAt(const Outcome& outcome, uint32_t address);

}  // namespace ring3
