#include "descriptors.h"

#include "checks.h"
#include "console.h"
#include "layout.h"
#include "tables.h"
#include "traps.h"

namespace demo {
namespace {

constexpr uint32_t kLdtAccess = 0x82, kUserDataAbsent = 0x73, kUserDataReadOnly = 0xF1, kKernelConforming = 0x9F,
                   kUserExecuteOnly = 0xF9, kCallGateUser = 0xEC, kInterruptGate = 0x8E, kInterruptGateUser = 0xEE;
constexpr uint32_t kByteLimit = 0x4;  // D/B
constexpr uint32_t kSmallLimit = 0xFFF;
constexpr uint32_t kVectors = 256, kStubBytes = 16;

Descriptor gdt[12];
Descriptor ldt[2];
Descriptor idt[kVectors];
TaskState task_state;
[[gnu::section(".user_data")]] uint32_t ldt_segment_data[4] = {0x11111111, 0x22222222, 0x33333333, 0x44444444};
TableRegister seen_gdt, seen_idt;

Descriptor Gate(uint32_t offset, uint32_t access, uint32_t parameters) {
  return {uint32_t{DEMO_KERNEL_CODE} << 16 | (offset & 0xFFFF), (offset & 0xFFFF0000) | access << 8 | parameters};
}

void FillTables() {
  auto at = [](uint32_t selector) -> Descriptor& { return gdt[selector / 8]; };
  at(DEMO_KERNEL_CODE) = Segment(0, kWholeSpace, kKernelCode, kFlat);
  at(DEMO_KERNEL_DATA) = Segment(0, kWholeSpace, kKernelData, kFlat);
  at(DEMO_USER_CODE) = Segment(0, kWholeSpace, kUserCode, kFlat);
  at(DEMO_USER_DATA) = Segment(0, kWholeSpace, kUserData, kFlat);
  at(DEMO_TSS) = Segment(AddressOf(&task_state), sizeof task_state - 1, kTssAvailable, 0);
  at(DEMO_LDT) = Segment(AddressOf(ldt), sizeof ldt - 1, kLdtAccess, 0);
  at(DEMO_NOT_PRESENT) = Segment(0, kWholeSpace, kUserDataAbsent, kFlat);
  at(DEMO_SMALL_READ_ONLY) = Segment(0, kSmallLimit, kUserDataReadOnly, kByteLimit);
  at(DEMO_CONFORMING_CODE) = Segment(0, kWholeSpace, kKernelConforming, kFlat);
  at(DEMO_EXECUTE_ONLY) = Segment(0, kWholeSpace, kUserExecuteOnly, kFlat);
  extern const uint8_t call_gate_target[] asm("CallGateTarget");
  at(DEMO_CALL_GATE) = Gate(AddressOf(call_gate_target), kCallGateUser, 1);
  ldt[DEMO_LDT_DATA / 8] = Segment(AddressOf(ldt_segment_data), sizeof ldt_segment_data - 1, kUserData, kByteLimit);

  extern const uint8_t stubs[] asm("trap_stubs");
  for (uint32_t v = 0; v < kVectors; ++v) {
    bool user = v == vector::kBreakpoint || v == vector::kOverflow || v == vector::kSyscall || v == vector::kProbeDone;
    idt[v] = Gate(AddressOf(stubs + v * kStubBytes), user ? kInterruptGateUser : kInterruptGate, 0);
  }
  task_state.ss0 = DEMO_KERNEL_DATA;
  task_state.io_map_base = sizeof task_state;  // beyond the limit: no port is open to ring 3
}

void LoadRegisters() {
  TableRegister gdtr{static_cast<uint16_t>(GdtLimit()), GdtBase()};
  TableRegister idtr{static_cast<uint16_t>(IdtLimit()), IdtBase()};
  LoadTables<DEMO_KERNEL_CODE>(gdtr, idtr, DEMO_KERNEL_DATA, DEMO_KERNEL_DATA);
  asm volatile("lldt %w0\n ltr %w1" ::"r"(DEMO_LDT), "r"(DEMO_TSS) : "memory");
}

DEMO_PROBE(ReadThroughLdt, "mov %eax, %fs", "mov %fs:4, %edx", "");
DEMO_PROBE(ReadLastDword, "mov %eax, %fs", "mov %fs:12, %edx", "");
DEMO_PROBE(ReadPastLimit, "mov %eax, %fs", "mov %fs:13, %edx", "");
DEMO_PROBE(WriteReadOnlySegment, "mov %eax, %fs", "movl $0, %fs:0", "");
DEMO_PROBE(ReadExecuteOnlySegment, "mov %eax, %fs", "mov %fs:0, %edx", "");

}  // namespace

void SetKernelStack(uint32_t top) { task_state.esp0 = top; }
uint32_t KernelStackSlot() { return AddressOf(&task_state.esp0); }
uint32_t GdtBase() { return AddressOf(gdt); }
uint32_t GdtLimit() { return sizeof gdt - 1; }
uint32_t IdtBase() { return AddressOf(idt); }
uint32_t IdtLimit() { return sizeof idt - 1; }

void InstallDescriptorTables() {
  FillTables();
  LoadRegisters();
}

void DescribeDescriptorTables() {
  BeginSection("Descriptor tables");
  uint32_t tr = 0, ldtr = 0;
  asm volatile("sgdt %0\n sidt %1\n str %2\n sldt %3" : "=m"(seen_gdt), "=m"(seen_idt), "=r"(tr), "=r"(ldtr));
  Print("  GDT %08x limit %x, IDT %08x limit %x, TR %02x, LDTR %02x\n", seen_gdt.base, seen_gdt.limit, seen_idt.base,
        seen_idt.limit, tr & 0xFFFF, ldtr & 0xFFFF);
  Check("GDTR base reads back", GdtBase(), seen_gdt.base);
  Check("IDTR base reads back", IdtBase(), seen_idt.base);
  constexpr uint32_t kTypeBusy = 0x8B;
  Check("LTR marked the TSS busy", kTypeBusy, (gdt[DEMO_TSS / 8].high >> 8) & 0xFF);

  for (Level level : kLevels) {
    Registers in{.eax = DEMO_LDT_DATA};
    const char* cpl = level == Level::kUser ? "CPL 3" : "CPL 0";
    Print("  at %s:\n", cpl);
    Check("segment from the LDT adds its base", ldt_segment_data[1], Run(ReadThroughLdt, level, in).frame.edx);
    Check("last dword within the limit", ldt_segment_data[3], Run(ReadLastDword, level, in).frame.edx);
    Check("one byte past the limit is #GP", vector::kGeneralProtection, Run(ReadPastLimit, level, in).frame.vector);
    Check("write to a read-only segment is #GP", vector::kGeneralProtection,
          Run(WriteReadOnlySegment, level, {.eax = DEMO_SMALL_READ_ONLY}).frame.vector);
    ProbeResult execute_only = Run(ReadExecuteOnlySegment, level, {.eax = DEMO_EXECUTE_ONLY});
    Check("loading FS with execute-only code is #GP", vector::kGeneralProtection, execute_only.frame.vector);
    Check("  its error code is the selector", DEMO_EXECUTE_ONLY & ~3u, execute_only.frame.error);
  }
}

}  // namespace demo
