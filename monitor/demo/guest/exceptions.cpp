#include "exceptions.h"

#include "checks.h"
#include "console.h"
#include "traps.h"

namespace demo {
namespace {

[[gnu::section(".user_data")]] int32_t bounds[2] = {10, 20};

DEMO_PROBE(Undefined, "", "ud2", "");
DEMO_PROBE(DivideZero, "xor %edx, %edx; xor %ecx, %ecx", "div %ecx", "");
DEMO_PROBE(DivideTooLarge, "mov $2, %edx; mov $2, %ecx", "div %ecx", "");
DEMO_PROBE(DivideMostNegative, "mov $0x80000000, %eax; cltd; mov $-1, %ecx", "idiv %ecx", "");
DEMO_PROBE(AamZero, "", "aam $0", "");
DEMO_PROBE(Breakpoint, "", "int3", "");
DEMO_PROBE(IntoTaken, "mov $0x7FFFFFFF, %eax; inc %eax", "into", "");
DEMO_PROBE(IntoNotTaken, "xor %eax, %eax", "into", "");
DEMO_PROBE(BoundOutside, "", "bound %eax, (%edi)", "");
DEMO_PROBE(HaltInstruction, "", "hlt", "");
DEMO_PROBE(ClearInterruptFlag, "", "cli", "");
DEMO_PROBE(SetInterruptFlag, "", "sti", "");
DEMO_PROBE(InputByte, "mov $0x61, %edx", "inb %dx, %al", "");
DEMO_PROBE(OutputByte, "mov $0x80, %edx", "outb %al, %dx", "");
DEMO_PROBE(ReadControl, "", "mov %cr0, %eax", "");
DEMO_PROBE(LoadGdt, "", "lgdt (%edi)", "");
DEMO_PROBE(Invalidate, "", "invlpg (%edi)", "");
DEMO_PROBE(ReadMsrInstruction, "mov $0x174, %ecx", "rdmsr", "");
DEMO_PROBE(LoadAbsentSegment, "", "mov %ebx, %fs", "");
DEMO_PROBE(LoadAbsentStack, "", "mov %ebx, %ss", "");
DEMO_PROBE(LoadNullStack, "xor %ebx, %ebx", "mov %ebx, %ss", "");
DEMO_PROBE(UseNullSegment, "xor %ebx, %ebx; mov %ebx, %fs", "mov %fs:0, %eax", "");
DEMO_PROBE(WriteCodeSegment, "", "movl $0, %cs:0x1000", "");
DEMO_PROBE(BadLock, "", "lock; mov %eax, %eax", "");
DEMO_PROBE(SingleStep, "pushf; orl $0x100, (%esp); popf", "nop", "nop");
DEMO_PROBE(IntWithoutGateRight, "", "int $" DEMO_STRING(DEMO_VECTOR_KERNEL_ONLY), "");

enum class Saved : uint8_t { kAt, kNext };  // of the instruction at fault, or the one after

struct Row {
  const Probe& probe;
  Level level;
  uint32_t vector;
  uint32_t error = 0;
  Saved saved = Saved::kAt;
  Registers in = {};
};

void CheckRow(const Row& row) {
  ProbeResult r = Run(row.probe, row.level, row.in);
  uint32_t eip = AddressOf(row.saved == Saved::kAt ? row.probe.at : row.probe.next);
  bool holds = r.frame.vector == row.vector && r.frame.error == row.error && r.frame.eip == eip &&
               (r.frame.cs & 3) == static_cast<uint32_t>(row.level);
  Count(holds);
  Print("  %s  CPL %u  %-28s %s(%x), EIP %s\n", holds ? "ok     " : "DIFFERS", uint32_t(row.level), row.probe.text,
        VectorName(r.frame.vector), r.frame.error,
        r.frame.eip == AddressOf(row.probe.at)     ? "at it"
        : r.frame.eip == AddressOf(row.probe.next) ? "after it"
                                                   : "elsewhere");
  if (!holds) {
    Print("           expected vector %u(%x) EIP %08x, saw vector %u(%x) EIP %08x\n", row.vector, row.error, eip,
          r.frame.vector, r.frame.error, r.frame.eip);
  }
}

/// At either CPL the same.
void CheckCommon(Level level) {
  const Registers out_of_bounds{.eax = 21, .edi = AddressOf(bounds)};
  const Registers absent{.ebx = DEMO_NOT_PRESENT};
  const Row rows[] = {
      {Undefined, level, vector::kInvalidOpcode},
      {BadLock, level, vector::kInvalidOpcode},
      {DivideZero, level, vector::kDivideError},
      {DivideTooLarge, level, vector::kDivideError},
      {DivideMostNegative, level, vector::kDivideError},
      {AamZero, level, vector::kDivideError},
      {Breakpoint, level, vector::kBreakpoint, 0, Saved::kNext},
      {IntoTaken, level, vector::kOverflow, 0, Saved::kNext},
      {BoundOutside, level, vector::kBoundRange, 0, Saved::kAt, out_of_bounds},
      {LoadAbsentSegment, level, vector::kSegmentNotPresent, DEMO_NOT_PRESENT & ~3u, Saved::kAt, absent},
      {LoadNullStack, level, vector::kGeneralProtection},
      {UseNullSegment, level, vector::kGeneralProtection},
      {WriteCodeSegment, level, vector::kGeneralProtection},
      {SingleStep, level, vector::kDebug, 0, Saved::kNext},
  };
  for (const Row& row : rows) CheckRow(row);
  CheckTrue("INTO with OF clear goes on", Run(IntoNotTaken, level).Done());
  CheckTrue("BOUND within bounds goes on", Run(BoundOutside, level, {.eax = 20, .edi = AddressOf(bounds)}).Done());
}

void CheckPrivileged() {
  constexpr uint32_t kGp = vector::kGeneralProtection;
  const Registers memory{.edi = AddressOf(bounds)};
  constexpr uint32_t kFromIdt = 2;  // error code bit 1: the index is into the IDT
  const Row rows[] = {
      {HaltInstruction, Level::kUser, kGp},
      {ClearInterruptFlag, Level::kUser, kGp},
      {SetInterruptFlag, Level::kUser, kGp},
      {InputByte, Level::kUser, kGp},
      {OutputByte, Level::kUser, kGp},
      {ReadControl, Level::kUser, kGp},
      {LoadGdt, Level::kUser, kGp, 0, Saved::kAt, memory},
      {Invalidate, Level::kUser, kGp, 0, Saved::kAt, memory},
      {ReadMsrInstruction, Level::kUser, kGp},
      {IntWithoutGateRight, Level::kUser, kGp, DEMO_VECTOR_KERNEL_ONLY * 8 + kFromIdt},
      {LoadAbsentStack,
       Level::kUser,
       vector::kStackFault,
       DEMO_NOT_PRESENT & ~3u,
       Saved::kAt,
       {.ebx = DEMO_NOT_PRESENT}},
  };
  for (const Row& row : rows) CheckRow(row);
  const Registers open{.eflags = eflags::kReserved1 | eflags::kIopl3 | eflags::kIf};
  ProbeResult r = Run(ClearInterruptFlag, Level::kUser, open);
  CheckTrue("with IOPL 3, CLI at CPL 3 works", r.Done() && (r.frame.eflags & eflags::kIf) == 0);
  CheckTrue("with IOPL 3, IN at CPL 3 works", Run(InputByte, Level::kUser, open).Done());
}

}  // namespace

void CheckExceptions() {
  BeginSection("Exceptions");
  for (Level level : kLevels) CheckCommon(level);
  CheckPrivileged();
}

}  // namespace demo
