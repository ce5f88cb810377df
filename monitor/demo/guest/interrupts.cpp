#include "interrupts.h"

#include "checks.h"
#include "console.h"
#include "x86.h"

namespace demo {
namespace {

// 8259A: command and data port of each chip, and the command words we use.
constexpr uint16_t kMasterCommand = 0x20, kMasterData = 0x21, kSlaveCommand = 0xA0, kSlaveData = 0xA1;
constexpr uint8_t kIcw1InitNeedIcw4 = 0x11, kIcw4Mode8086 = 0x01;
constexpr uint8_t kSlaveOnIrq2 = 1u << 2, kSlaveIdentity = 2;
constexpr uint8_t kEndOfInterrupt = 0x20, kReadIrr = 0x0A, kReadIsr = 0x0B;
constexpr uint8_t kMaskAll = 0xFF, kTimerLine = 1u << 0;
// 8254: counter 0, both bytes, mode 2 (rate generator).
constexpr uint16_t kCounter0 = 0x40, kTimerControl = 0x43;
constexpr uint8_t kCounter0Mode2 = 0x34, kLatchCounter0 = 0x00;
constexpr uint32_t kTimerHz = 1193182;
constexpr uint32_t kReload = kTimerHz / kTicksPerSecond;

volatile uint32_t ticks = 0;
volatile uint32_t last_eip = 0;         // where the last tick interrupted
volatile uint32_t in_service_seen = 0;  // OR of the ISR as read in the handler
TrapHandler tick_hook = nullptr;

uint8_t ReadMasterRegister(uint8_t which) {
  WritePort8(kMasterCommand, which);
  return ReadPort8(kMasterCommand);
}

TrapFrame* OnTimer(TrapFrame* frame) {
  ticks = ticks + 1;
  last_eip = frame->eip;
  in_service_seen = in_service_seen | ReadMasterRegister(kReadIsr);
  WritePort8(kMasterCommand, kEndOfInterrupt);
  return tick_hook != nullptr ? tick_hook(frame) : frame;
}

uint32_t ReadCounter() {
  WritePort8(kTimerControl, kLatchCounter0);
  uint32_t low = ReadPort8(kCounter0);
  return low | static_cast<uint32_t>(ReadPort8(kCounter0)) << 8;
}

void WaitTicks(uint32_t count) {
  for (uint32_t until = ticks + count; ticks < until;) SleepUntilInterrupt();
}

void CheckControllers() {
  WritePort8(kMasterData, 0xA5);
  Check("interrupt mask register reads back", 0xA5, ReadPort8(kMasterData));
  WritePort8(kMasterData, kMaskAll);
  uint32_t first = ReadCounter(), smallest = first, largest = first;
  for (unsigned i = 0; i < 200; ++i) {
    uint32_t now = ReadCounter();
    smallest = now < smallest ? now : smallest;
    largest = now > largest ? now : largest;
  }
  CheckTrue("the 8254's counter runs", smallest < largest);
  CheckTrue("  and stays within its reload value", largest <= kReload);
}

void CheckTicks(bool quick) {
  const uint32_t count = quick ? 5 : 20;
  EnableTimer(true);
  WaitTicks(1);  // begin at an edge
  uint32_t tick_before = ticks, wakeups = 0;
  uint64_t tsc_before = ReadTsc();
  while (ticks - tick_before < count) {
    SleepUntilInterrupt();
    ++wakeups;
  }
  uint64_t cycles = ReadTsc() - tsc_before;
  Print("  %u ticks at %u Hz, %u HLT wake-ups; the TSC runs at about %u kHz\n", ticks - tick_before, kTicksPerSecond,
        wakeups, DivideWide(cycles, count * 1000 / kTicksPerSecond));
  CheckTrue("each wake-up from HLT was a tick", wakeups <= ticks - tick_before);
  CheckTrue("the TSC advanced", cycles != 0);
  Check("the handler saw IRQ 0 in service", kTimerLine, in_service_seen & kTimerLine);

  uint32_t until = ticks + 2;
  EnableInterrupts();
  while (ticks < until) {
  }
  DisableInterrupts();
  CheckTrue("ticks interrupt a busy loop, too", ticks >= until);
}

extern "C" const uint8_t sti_next[], sti_next_but_one[], halt_next[];

/// With a tick pending, STI lets exactly one more instruction run before it is taken.
void CheckStiShadow() {
  while ((ReadMasterRegister(kReadIrr) & kTimerLine) == 0) {
  }
  asm volatile("sti\n sti_next: nop\n sti_next_but_one: nop\n cli" ::: "memory");
  Check("STI's shadow is one instruction long", AddressOf(sti_next_but_one), last_eip);
  uint32_t before = ticks;
  while ((ReadMasterRegister(kReadIrr) & kTimerLine) == 0) {
  }
  asm volatile("sti\n cli" ::: "memory");
  Check("STI, CLI lets nothing in", before, ticks);
  asm volatile("sti\n hlt\n halt_next: cli" ::: "memory");
  Check("a pending tick ends HLT at once, EIP after it", AddressOf(halt_next), last_eip);
}

void CheckMasking() {
  EnableTimer(false);
  uint32_t before = ticks;
  while ((ReadMasterRegister(kReadIrr) & kTimerLine) == 0) {
  }
  EnableInterrupts();
  asm volatile("nop\n nop");
  DisableInterrupts();
  Check("a masked request stays pending", before, ticks);
}

}  // namespace

void InitInterrupts() {
  WritePort8(kMasterCommand, kIcw1InitNeedIcw4);
  WritePort8(kSlaveCommand, kIcw1InitNeedIcw4);
  WritePort8(kMasterData, DEMO_VECTOR_IRQ);
  WritePort8(kSlaveData, DEMO_VECTOR_IRQ + 8);
  WritePort8(kMasterData, kSlaveOnIrq2);
  WritePort8(kSlaveData, kSlaveIdentity);
  WritePort8(kMasterData, kIcw4Mode8086);
  WritePort8(kSlaveData, kIcw4Mode8086);
  WritePort8(kMasterData, kMaskAll);
  WritePort8(kSlaveData, kMaskAll);
  WritePort8(kTimerControl, kCounter0Mode2);
  WritePort8(kCounter0, kReload & 0xFF);
  WritePort8(kCounter0, kReload >> 8);
  SetTrapHandler(vector::kTimer, OnTimer);
}

void EnableTimer(bool enable) { WritePort8(kMasterData, enable ? kMaskAll & ~kTimerLine : kMaskAll); }
uint32_t TimerTicks() { return ticks; }
void SetTickHook(TrapHandler hook) { tick_hook = hook; }

void CheckInterrupts(bool quick) {
  BeginSection("Interrupts and time");
  CheckControllers();
  CheckTicks(quick);
  CheckStiShadow();
  CheckMasking();
}

}  // namespace demo
