// A test program, its reference runs and the comparison of whole outcomes.
#pragma once

#include <asmjit/x86.h>

#include <functional>
#include <string>
#include <vector>

#include "tests/oracle/oracle.h"
#include "tests/translator/test_machine.h"

namespace ring3 {

using Bytes = std::vector<uint8_t>;

/// Bytes that a program finds at a linear address of the data, stack or top region instead of noise.
struct Patch {
  uint32_t address;
  Bytes bytes;
};

/// Segments of the LDT; selectors are those that the program has at CPL 3, and may be those of the flat segments too.
struct Segmentation {
  std::vector<LdtEntry> ldt;
  std::array<uint16_t, kSegCount> selectors{};

  /// What the selector gives at this privilege; a null selector gives a segment that is not present.
  SegmentRegister Load(uint16_t selector, unsigned cpl) const;
};

/// Code and everything its result depends on. The data and stack regions hold noise made from `seed`.
struct Program {
  Bytes code;
  uint32_t offset = guest::kCodeBytes / 4;  // of the code in its region
  std::array<uint32_t, kGprCount> gpr{};
  uint32_t eflags = eflags::kReserved1 | eflags::kIf;
  std::array<uint8_t, 512> fxsave{};
  std::array<uint8_t, kYmmHighBytes> ymm_high{};
  uint32_t seed = 0;
  unsigned cpl = 3;
  std::vector<Patch> patches;
  std::optional<Segmentation> segmentation;  // for machines with the kernel at guest::kHighKernel
  bool writable_code = false;

  uint32_t CodeBase() const;
  /// EIP to begin with.
  uint32_t Start() const { return guest::kCode + offset - CodeBase(); }
  bool Code32() const;
};

/// EBX, ESI, EDI point into the data region and EBP and ESP into the stack (16-byte aligned, but for EDI), ECX is often
/// small; the rest is noise with a liking for edge values.
Program MakeProgram(Bytes code, uint32_t seed, unsigned cpl);

/// 32-bit code that `write` assembles for `address`. Throws std::logic_error where the assembler refuses.
Bytes Assemble(uint32_t address, const std::function<void(asmjit::x86::Assembler&)>& write);

/// Puts the program into a machine, ready to Run().
void Load(TestMachine& machine, const Program& program);
Outcome RunOn(TestMachine& machine, const Program& program);
/// On the real processor at CPL 3. An Outcome with what would differ at CPL 0 adjusted.
Outcome RunNatively(const Program& program);

struct Ignore {
  uint32_t flags = 0;
  bool x87_pointers = true;    // FIP, FDP: native ones have another layout
  bool fault_address = false;  // CR2: which of several bytes is reported differs between processors
  bool selectors = false;      // native FS and GS are others
  bool rpl = false;            // the expected selectors are those at CPL 3, the actual ones at CPL 0
};

/// What differs, a line each; empty when nothing does.
std::string Difference(const Outcome& actual, const Outcome& expected, const Ignore& ignore);

/// Code, registers and listing of a program, for failure messages.
std::string Describe(const Program& program);

}  // namespace ring3
