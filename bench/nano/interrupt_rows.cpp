// Rows about external interrupts.
#include "machine.h"
#include "rows.h"

extern "C" const uint8_t HandleTimer[], HandleUart[];
extern "C" volatile uint32_t timer_count, uart_count;

namespace nano {
namespace {

using demo::ReadPort8;
using demo::WritePort8;

constexpr uint16_t kMasterCommand = 0x20, kMasterData = 0x21, kSlaveCommand = 0xA0, kSlaveData = 0xA1;
constexpr uint8_t kFirstVector = 0x20, kTimerIrq = 0, kUartIrq = 4;
constexpr uint8_t kAllMasked = 0xFF;
constexpr uint16_t kUartInterruptEnable = 0x3F9, kUartModemControl = 0x3FC;
constexpr uint8_t kTransmitterEmpty = 2;
constexpr uint8_t kUartConnected = 0x0B;  // DTR, RTS, and OUT2, which lets interrupts out of the chip on a PC
constexpr uint16_t kPitChannel0 = 0x40, kPitCommand = 0x43;
constexpr uint8_t kPitOneShot = 0x30, kPitLatch = 0x00;  // channel 0: both bytes, mode 0

/// Resets both controllers, all lines masked but `irq`.
void ListenTo(uint8_t irq, const uint8_t* handler) {
  SetGate(kFirstVector + irq, handler, false);
  WritePort8(kMasterCommand, 0x11);
  WritePort8(kSlaveCommand, 0x11);
  WritePort8(kMasterData, kFirstVector);
  WritePort8(kSlaveData, kFirstVector + 8);
  WritePort8(kMasterData, 4);
  WritePort8(kSlaveData, 2);
  WritePort8(kMasterData, 1);
  WritePort8(kSlaveData, 1);
  WritePort8(kMasterData, static_cast<uint8_t>(~(1u << irq)));
  WritePort8(kSlaveData, kAllMasked);
}

// From the write that makes the UART ask for an interrupt until its handler has returned.
uint64_t Interrupt(uint32_t n) {
  ListenTo(kUartIrq, HandleUart);
  WritePort8(kUartModemControl, kUartConnected);
  demo::EnableInterrupts();
  const uint64_t cycles = Timed([n] {
    for (uint32_t i = 0; i < n; ++i) {
      const uint32_t before = uart_count;
      WritePort8(kUartInterruptEnable, kTransmitterEmpty);
      while (uart_count == before) {
      }
    }
  });
  demo::DisableInterrupts();
  WritePort8(kMasterData, kAllMasked);
  return cycles;
}

void StartTimer(uint16_t ticks) {
  WritePort8(kPitCommand, kPitOneShot);
  WritePort8(kPitChannel0, static_cast<uint8_t>(ticks));
  WritePort8(kPitChannel0, static_cast<uint8_t>(ticks >> 8));
}

uint16_t TimerValue() {
  WritePort8(kPitCommand, kPitLatch);
  const uint8_t low = ReadPort8(kPitChannel0);
  return static_cast<uint16_t>(low | ReadPort8(kPitChannel0) << 8);
}

struct TickRate {
  uint32_t cycles, ticks;
};

/// How many cycles some 20 ms of the timer take.
TickRate MeasureTickRate() {
  constexpr uint16_t kTicks = 24'000;
  StartTimer(0xFFFF);
  const uint16_t first = TimerValue();
  const uint64_t start = demo::ReadTsc();
  uint16_t now;
  do now = TimerValue();
  while (first - now < kTicks);
  return {static_cast<uint32_t>(demo::ReadTsc() - start), static_cast<uint32_t>(first - now)};
}

// From the moment the timer is due until the instruction after HLT.
uint64_t HaltWakeUp(uint32_t n) {
  constexpr uint16_t kTicks = 1193;  // 1 ms
  const TickRate rate = MeasureTickRate();
  const uint32_t wait = demo::DivideWide(uint64_t{kTicks} * rate.cycles, rate.ticks);
  ListenTo(kTimerIrq, HandleTimer);
  uint64_t late = 0;
  for (uint32_t i = 0; i < n; ++i) {
    const uint32_t before = timer_count;
    StartTimer(kTicks);
    const uint64_t due = demo::ReadTsc() + wait;
    while (timer_count == before) demo::SleepUntilInterrupt();
    const uint64_t now = demo::ReadTsc();
    if (now > due) late += now - due;
  }
  WritePort8(kMasterData, kAllMasked);
  return late;
}

constexpr uint32_t kWakeUps = 16;
constexpr Row kRows[] = {
#define NANO_INTERRUPT_ROW(name, use, ...) {name, __VA_ARGS__},
#include "rows.def"
};

}  // namespace

Rows InterruptRows() { return {kRows, sizeof kRows / sizeof kRows[0]}; }

}  // namespace nano
