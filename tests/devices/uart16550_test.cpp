#include "devices/uart16550.h"

#include <catch2/catch.hpp>
#include <string>

#include "tests/devices/device_test_support.h"

namespace ring3 {
namespace {

enum : uint16_t { kRbr = 0x3F8, kIer, kIir, kLcr, kMcr, kLsr, kMsr, kScr, kFcr = kIir, kThr = kRbr };

struct UartFixture {
  ManualClock clock;
  TimerQueue timers;
  RecordingIrqs irqs;
  std::string output;
  unsigned writes = 0;
  Uart16550 uart{clock, timers, IrqLine(irqs, 4), [this](std::span<const uint8_t> bytes) {
                   output.append(bytes.begin(), bytes.end());
                   ++writes;
                 }};
  PortBus bus;

  UartFixture() {
    bus.Attach(0x3F8, 8, uart, "uart");
    Out(kMcr, 0x0B);
  }
  void Out(uint16_t port, uint8_t value) { bus.Write(port, 1, value); }
  uint8_t In(uint16_t port) { return static_cast<uint8_t>(bus.Read(port, 1)); }
  void Type(const std::string& text) {
    for (const char c : text) uart.Receive(static_cast<uint8_t>(c));
  }
};

}  // namespace

TEST_CASE("uart: output is batched", "[uart]") {
  UartFixture f;
  for (const char c : std::string("hello")) f.Out(kThr, static_cast<uint8_t>(c));
  CHECK(f.output.empty());
  CHECK(f.In(kLsr) == 0x60);
  f.uart.FlushOutput();
  CHECK(f.output == "hello");
  CHECK(f.writes == 1);
  f.Out(kThr, '!');
  AdvanceExactly(f.clock, f.timers, 1'000'000);
  CHECK(f.output == "hello!");
  for (int i = 0; i < 5000; ++i) f.Out(kThr, 'x');
  CHECK(f.output.size() > 4000);
  f.uart.FlushOutput();
  CHECK(f.output.size() == 5006);
  CHECK(f.timers.NextDeadline() == std::nullopt);
}

TEST_CASE("uart: transmitter interrupt semantics", "[uart]") {
  UartFixture f;
  CHECK(f.In(kIir) == 0x01);
  f.Out(kIer, 0x02);  // THR is empty: interrupts at once
  CHECK(f.irqs.levels[4]);
  CHECK(f.In(kIir) == 0x02);
  CHECK_FALSE(f.irqs.levels[4]);  // reading IIR cleared it
  CHECK(f.In(kIir) == 0x01);
  f.Out(kIer, 0x02);  // already enabled: no new interrupt
  CHECK(f.In(kIir) == 0x01);
  f.Out(kIer, 0x00);
  f.Out(kIer, 0x02);  // enabled anew: interrupts again
  CHECK(f.In(kIir) == 0x02);
  f.irqs.edges[4] = 0;
  f.Out(kThr, 'a');
  CHECK(f.irqs.edges[4] == 1);
  f.Out(kThr, 'b');  // withdrawn and raised again
  CHECK(f.irqs.edges[4] == 2);
  CHECK(f.In(kIir) == 0x02);
  f.Out(kThr, 'c');
  f.Out(kIer, 0x00);
  CHECK_FALSE(f.irqs.levels[4]);
  CHECK(f.In(kIir) == 0x01);
}

TEST_CASE("uart: reading IIR for another cause leaves the transmitter's interrupt", "[uart]") {
  UartFixture f;
  f.Out(kIer, 0x03);
  f.Type("k");
  CHECK(f.In(kIir) == 0x04);
  CHECK(f.In(kIir) == 0x04);
  CHECK(f.In(kRbr) == 'k');
  CHECK(f.In(kIir) == 0x02);
  CHECK(f.In(kIir) == 0x01);
}

TEST_CASE("uart: interrupt priorities", "[uart]") {
  UartFixture f;
  f.Out(kFcr, 0x01);
  f.Out(kMcr, 0x18);  // loopback: modem lines change
  f.Out(kMcr, 0x0B);
  f.Out(kIer, 0x0F);
  f.uart.ReceiveBreak();
  CHECK(f.In(kIir) == 0xC6);
  CHECK(f.In(kLsr) == 0xF1);  // break, data, error in FIFO
  CHECK(f.In(kIir) == 0xC4);
  f.In(kRbr);
  CHECK(f.In(kIir) == 0xC2);
  CHECK(f.In(kIir) == 0xC0);
  CHECK((f.In(kMsr) & 0x0F) != 0);
  CHECK(f.In(kIir) == 0xC1);
  CHECK_FALSE(f.irqs.levels[4]);
}

TEST_CASE("uart: FIFO trigger level and character timeout", "[uart]") {
  UartFixture f;
  f.Out(kLcr, 0x83);
  f.Out(kRbr, 1);
  f.Out(kIer, 0);
  f.Out(kLcr, 0x03);
  f.Out(kFcr, 0x81);  // trigger at 8
  f.Out(kIer, 0x01);
  f.Type("1234567");
  CHECK(f.In(kIir) == 0xC1);
  // Four characters of ten bits at 115200 baud are 347 us.
  AdvanceExactly(f.clock, f.timers, 340'000);
  CHECK_FALSE(f.irqs.levels[4]);
  AdvanceExactly(f.clock, f.timers, 10'000);
  CHECK(f.irqs.levels[4]);
  CHECK(f.In(kIir) == 0xCC);
  CHECK(f.In(kRbr) == '1');
  CHECK(f.In(kIir) == 0xC1);  // a read restarts the timeout
  AdvanceExactly(f.clock, f.timers, 350'000);
  CHECK(f.In(kIir) == 0xCC);
  f.Type("89");
  CHECK(f.In(kIir) == 0xC4);
  for (const char c : std::string("23456789")) CHECK(f.In(kRbr) == c);
  CHECK(f.In(kIir) == 0xC1);
  CHECK(f.In(kLsr) == 0x60);
  CHECK(f.timers.NextDeadline() == std::nullopt);
}

TEST_CASE("uart: overrun with and without FIFOs", "[uart]") {
  UartFixture f;
  CHECK(f.uart.CanReceive());
  f.Type("a");
  CHECK_FALSE(f.uart.CanReceive());
  f.Type("b");
  CHECK(f.In(kLsr) == 0x63);
  CHECK(f.In(kLsr) == 0x61);
  CHECK(f.In(kRbr) == 'b');  // overwritten
  f.Out(kFcr, 0x01);
  f.Type("0123456789ABCDEF");
  CHECK_FALSE(f.uart.CanReceive());
  f.Type("x");
  CHECK(f.In(kLsr) == 0x63);
  for (const char c : std::string("0123456789ABCDEF")) CHECK(f.In(kRbr) == c);
  CHECK(f.In(kLsr) == 0x60);
}

TEST_CASE("uart: tells when there is room again", "[uart]") {
  UartFixture f;
  unsigned ready = 0;
  f.uart.OnReceiveReady([&] { ++ready; });
  f.Type("a");
  CHECK(f.In(kRbr) == 'a');
  CHECK(ready == 1);
  f.Out(kMcr, 0x1B);
  CHECK_FALSE(f.uart.CanReceive());
  f.Out(kMcr, 0x0B);
  CHECK(ready == 2);
}

TEST_CASE("uart: loopback", "[uart]") {
  UartFixture f;
  CHECK((f.In(kMsr) & 0xF0) == 0xB0);
  f.Out(kMcr, 0x10 | 0x0A);  // RTS, OUT2
  CHECK((f.In(kMsr) & 0xF0) == 0x90);
  f.Out(kMcr, 0x10 | 0x05);
  CHECK(f.In(kMsr) == (0x60 | 0x0B));  // CTS, DSR, DCD changed; RI rose, which is no trailing edge
  f.Out(kMcr, 0x10);
  CHECK(f.In(kMsr) == 0x06);
  f.Out(kThr, 0x42);
  CHECK(f.In(kLsr) == 0x61);
  CHECK(f.In(kRbr) == 0x42);
  f.Type("z");
  CHECK(f.In(kLsr) == 0x60);
  f.uart.FlushOutput();
  CHECK(f.output.empty());
  f.Out(kLcr, 0x43);
  CHECK((f.In(kLsr) & 0x11) == 0x11);
}

TEST_CASE("uart: registers and 16550A identification", "[uart]") {
  UartFixture f;
  f.Out(kScr, 0x5A);
  CHECK(f.In(kScr) == 0x5A);
  f.Out(kIer, 0xFF);
  CHECK(f.In(kIer) == 0x0F);
  f.Out(kIer, 0);
  f.Out(kMcr, 0xFF);
  CHECK(f.In(kMcr) == 0x1F);
  CHECK((f.In(kIir) & 0xC0) == 0x00);
  f.Out(kFcr, 0x21);
  CHECK((f.In(kIir) & 0xF0) == 0xC0);  // FIFOs work; no 64-byte FIFO
  f.Out(kFcr, 0x00);
  CHECK((f.In(kIir) & 0xC0) == 0x00);
  f.Out(kLcr, 0x80);
  f.Out(kRbr, 0x0C);
  f.Out(kIer, 0x01);
  CHECK(f.In(kRbr) == 0x0C);
  CHECK(f.In(kIer) == 0x01);
  f.Out(kLcr, 0x03);
  CHECK(f.In(kIer) == 0x00);
}

TEST_CASE("uart: OUT2 gates the interrupt line", "[uart]") {
  UartFixture f;
  f.Out(kMcr, 0x03);
  f.Out(kIer, 0x01);
  f.Type("q");
  CHECK_FALSE(f.irqs.levels[4]);
  f.Out(kMcr, 0x0B);
  CHECK(f.irqs.levels[4]);
}

TEST_CASE("uart: clearing the receiver FIFO", "[uart]") {
  UartFixture f;
  f.Out(kFcr, 0x01);
  f.Out(kIer, 0x01);
  f.Type("abc");
  CHECK(f.irqs.levels[4]);
  f.Out(kFcr, 0x03);
  CHECK_FALSE(f.irqs.levels[4]);
  CHECK(f.In(kLsr) == 0x60);
  CHECK(f.timers.NextDeadline() == std::nullopt);
}

TEST_CASE("uart: reset", "[uart]") {
  UartFixture f;
  f.Out(kFcr, 0x01);
  f.Out(kIer, 0x0F);
  f.Type("abc");
  f.uart.Reset();
  CHECK_FALSE(f.irqs.levels[4]);
  CHECK(f.In(kIer) == 0);
  CHECK(f.In(kIir) == 0x01);
  CHECK(f.In(kLsr) == 0x60);
}

}  // namespace ring3
