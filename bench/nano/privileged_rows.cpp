// Rows of instructions that only a kernel executes.
#include "machine.h"
#include "rows.h"

extern "C" const uint8_t HandleDivide[];

namespace nano {
namespace {

using demo::AddressOf;
constexpr uint16_t kPostPort = 0x80;  // latches a byte

uint64_t CliSti(uint32_t n) {
  return TimedLoop(n, [] { asm volatile("sti\n cli" ::: "memory"); });
}

uint64_t PushfPopf(uint32_t n) {
  return TimedLoop(n, [] { asm volatile("pushfl\n popfl" ::: "memory", "cc"); });
}

uint64_t In(uint32_t n) {
  return TimedLoop(n, [] { demo::ReadPort8(kPostPort); });
}

uint64_t Out(uint32_t n) {
  return TimedLoop(n, [] { demo::WritePort8(kPostPort, 0); });
}

uint64_t SameCr3(uint32_t n) {
  const uint32_t cr3 = demo::ReadCr3();
  return TimedLoop(n, [cr3] { demo::WriteCr3(cr3); });
}

uint64_t AlternatingCr3(uint32_t n) {
  const uint64_t cycles = Timed([n] {
    for (uint32_t i = 0; i < n / 2; ++i) {
      demo::WriteCr3(AddressOf(spaces[1].directory));
      demo::WriteCr3(AddressOf(spaces[0].directory));
    }
  });
  EnterSpace(0);
  return cycles;
}

// The page is mapped and used, or there would be nothing to invalidate.
uint64_t Invlpg(uint32_t n) {
  MapUserPages(0, 1, 0);
  auto* const word = reinterpret_cast<volatile uint32_t*>(kUserRegion);
  const uint64_t cycles = TimedLoop(n, [word] {
    demo::InvalidatePage(kUserRegion);
    *word;
  });
  UnmapUserPages(0);
  return cycles;
}

uint64_t Iret(uint32_t n) {
  return Timed([n] {
    for (uint32_t i = 0; i < n; ++i) asm volatile("pushfl\n pushl %%cs\n pushl $1f\n iret\n 1:" ::: "memory");
  });
}

uint64_t FarCall(uint32_t n) {
  return TimedLoop(n, [] { asm volatile("lcall %0, $FarTarget" ::"i"(NANO_KERNEL_CODE) : "memory"); });
}

// Two switches a round.
uint64_t TaskSwitch(uint32_t n) {
  return Timed([n] {
    for (uint32_t i = 0; i < n / 2; ++i) asm volatile("ljmp %0, $0" ::"i"(NANO_OTHER_TSS) : "memory");
  });
}

uint64_t DivideFault(uint32_t n) {
  SetGate(0, HandleDivide, false);
  return TimedLoop(n, [] { asm volatile("divl %%ecx" ::"c"(0), "a"(1), "d"(0) : "memory"); });
}

uint64_t MmioRead(uint32_t n) {
  auto* const word = reinterpret_cast<volatile uint32_t*>(kMmio);
  return TimedLoop(n, [word] { *word; });
}

constexpr Row kRows[] = {
#define NANO_PRIVILEGED_ROW(name, use, ...) {name, __VA_ARGS__},
#include "rows.def"
};

}  // namespace

Rows PrivilegedRows() { return {kRows, sizeof kRows / sizeof kRows[0]}; }

}  // namespace nano
