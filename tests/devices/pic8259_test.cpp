#include "devices/pic8259.h"

#include <catch2/catch.hpp>

#include "devices/layout.h"

namespace ring3 {
namespace {

struct PicFixture {
  PicPair pics;
  PortBus bus;
  std::vector<bool> intr_changes;

  explicit PicFixture(uint8_t master_icw4 = 0x01, uint8_t slave_icw4 = 0x01) {
    bus.Attach(0x20, 2, pics.Master(), "master");
    bus.Attach(0xA0, 2, pics.Slave(), "slave");
    bus.Attach(0x4D0, 2, pics.Elcr(), "elcr");
    Initialize(0x20, 0x30, 0x04, master_icw4);
    Initialize(0xA0, 0x38, 0x02, slave_icw4);
    pics.OnInterruptChange([this](bool level) { intr_changes.push_back(level); });
  }
  void Initialize(uint16_t port, uint8_t base, uint8_t icw3, uint8_t icw4) {
    Out(port, 0x11);
    Out(port + 1, base);
    Out(port + 1, icw3);
    Out(port + 1, icw4);
    Out(port + 1, 0x00);
  }
  void Out(unsigned port, uint8_t value) { bus.Write(static_cast<uint16_t>(port), 1, value); }
  uint8_t In(unsigned port) { return static_cast<uint8_t>(bus.Read(static_cast<uint16_t>(port), 1)); }
  uint8_t Irr(unsigned port = 0x20) {
    Out(port, 0x0A);
    return In(port);
  }
  uint8_t Isr(unsigned port = 0x20) {
    Out(port, 0x0B);
    return In(port);
  }
  void Edge(unsigned irq) {
    pics.SetIrq(irq, false);
    pics.SetIrq(irq, true);
  }
};

}  // namespace

TEST_CASE("pic: a request is delivered, blocks lower ones, and ends with EOI", "[pic]") {
  PicFixture f;
  f.Edge(4);
  CHECK(f.pics.HasInterrupt());
  CHECK(f.Irr() == 0x10);
  CHECK(f.pics.Acknowledge() == 0x34);
  CHECK(f.Irr() == 0);
  CHECK(f.Isr() == 0x10);
  f.Edge(5);
  CHECK_FALSE(f.pics.HasInterrupt());
  f.Edge(1);
  CHECK(f.pics.Acknowledge() == 0x31);
  CHECK(f.Isr() == 0x12);
  f.Out(0x20, 0x20);  // ends IRQ 1
  CHECK(f.Isr() == 0x10);
  CHECK_FALSE(f.pics.HasInterrupt());
  f.Out(0x20, 0x20);
  CHECK(f.pics.Acknowledge() == 0x35);
}

TEST_CASE("pic: INTR changes are reported", "[pic]") {
  PicFixture f;
  f.Edge(3);
  f.pics.Acknowledge();
  CHECK(f.intr_changes == std::vector<bool>{true, false});
}

TEST_CASE("pic: mask register", "[pic]") {
  PicFixture f;
  f.Out(0x21, 0xFB);
  CHECK(f.In(0x21) == 0xFB);
  f.Edge(0);
  CHECK_FALSE(f.pics.HasInterrupt());
  CHECK(f.pics.GetIrqState(0) == IrqState::kMasked);
  f.Out(0x21, 0xFA);
  CHECK(f.pics.HasInterrupt());
  CHECK(f.pics.GetIrqState(0) == IrqState::kPending);
  CHECK(f.pics.Acknowledge() == 0x30);
  CHECK(f.pics.GetIrqState(0) == IrqState::kIdle);
}

TEST_CASE("pic: both ports in one word access", "[pic]") {
  PicFixture f;
  f.bus.Write(0x20, 2, 0x5A0B);
  CHECK(f.In(0x21) == 0x5A);
}

TEST_CASE("pic: slave requests cascade through IR2", "[pic]") {
  PicFixture f;
  f.Edge(12);
  f.Edge(9);
  CHECK(f.pics.Acknowledge() == 0x39);
  CHECK(f.Isr(0x20) == 0x04);
  CHECK(f.Isr(0xA0) == 0x02);
  f.Out(0xA0, 0x20);
  f.Out(0x20, 0x20);
  CHECK(f.pics.Acknowledge() == 0x3C);
  f.Out(0xA0, 0x64);  // specific EOI, level 4
  f.Out(0x20, 0x62);
  CHECK(f.Isr(0xA0) == 0);
  CHECK(f.Isr(0x20) == 0);
  CHECK_FALSE(f.pics.HasInterrupt());
}

TEST_CASE("pic: a master that is finished first sees the slave's next request", "[pic]") {
  PicFixture f;
  f.Edge(14);
  CHECK(f.pics.Acknowledge() == 0x3E);
  f.Out(0x20, 0x20);
  f.Edge(10);  // outranks 14
  CHECK(f.pics.Acknowledge() == 0x3A);
}

TEST_CASE("pic: a slave that requests on through its acknowledge is not forgotten", "[pic]") {
  PicFixture f(0x01, 0x03);  // slave in automatic EOI mode
  f.Edge(9);
  f.Edge(10);
  CHECK(f.pics.Acknowledge() == 0x39);
  CHECK_FALSE(f.pics.HasInterrupt());
  f.Out(0x20, 0x20);
  CHECK(f.pics.HasInterrupt());
  CHECK(f.pics.Acknowledge() == 0x3A);
}

TEST_CASE("pic: an edge needs a low level before the next request", "[pic]") {
  PicFixture f;
  f.pics.SetIrq(6, true);
  f.pics.Acknowledge();
  f.Out(0x20, 0x20);
  f.pics.SetIrq(6, true);
  CHECK_FALSE(f.pics.HasInterrupt());
  f.Edge(6);
  CHECK(f.pics.HasInterrupt());
}

TEST_CASE("pic: level-triggered lines request until they fall", "[pic]") {
  PicFixture f;
  f.Out(0x4D0, 0xFF);
  f.Out(0x4D1, 0xFF);
  CHECK(f.In(0x4D0) == 0xF8);  // 0, 1, 2 are always edge triggered
  CHECK(f.In(0x4D1) == 0xDE);  // 8 and 13 too
  f.pics.SetIrq(11, true);
  CHECK(f.pics.Acknowledge() == 0x3B);
  f.Out(0xA0, 0x20);
  f.Out(0x20, 0x20);
  CHECK(f.pics.Acknowledge() == 0x3B);
  f.pics.SetIrq(11, false);
  f.Out(0xA0, 0x20);
  f.Out(0x20, 0x20);
  CHECK_FALSE(f.pics.HasInterrupt());
}

TEST_CASE("pic: a withdrawn request yields the spurious vector", "[pic]") {
  PicFixture f;
  f.Edge(3);
  f.pics.SetIrq(3, false);
  CHECK_FALSE(f.pics.HasInterrupt());
  CHECK(f.pics.Acknowledge() == 0x37);
  CHECK(f.Isr() == 0);  // nothing in service
}

TEST_CASE("pic: polling the slave takes the request from the master too", "[pic]") {
  PicFixture f;
  f.Edge(9);
  f.Out(0xA0, 0x0C);
  CHECK(f.In(0xA0) == 0x81);
  CHECK(f.Isr(0xA0) == 0x02);
  CHECK_FALSE(f.pics.HasInterrupt());
  f.Out(0xA0, 0x0C);
  CHECK(f.In(0xA0) == 0x00);
}

TEST_CASE("pic: the poll command acknowledges", "[pic]") {
  PicFixture f;
  f.Edge(5);
  f.Out(0x20, 0x0C);
  CHECK(f.In(0x20) == 0x85);
  CHECK(f.Isr() == 0x20);
  CHECK_FALSE(f.pics.HasInterrupt());
}

TEST_CASE("pic: automatic end of interrupt", "[pic]") {
  PicFixture f(0x03);
  f.Edge(2 + 1);
  CHECK(f.pics.Acknowledge() == 0x33);
  CHECK(f.Isr() == 0);
  f.Edge(5);
  CHECK(f.pics.Acknowledge() == 0x35);
}

TEST_CASE("pic: rotation in automatic EOI mode", "[pic]") {
  PicFixture f(0x03);
  f.Out(0x20, 0x80);
  f.Edge(4);
  CHECK(f.pics.Acknowledge() == 0x34);  // 4 is now lowest
  f.Edge(4);
  f.Edge(6);
  CHECK(f.pics.Acknowledge() == 0x36);
  f.Out(0x20, 0x00);
  CHECK(f.pics.Acknowledge() == 0x34);
}

TEST_CASE("pic: priority rotation and set priority", "[pic]") {
  PicFixture f;
  f.Out(0x20, 0xC0 | 3);  // 3 lowest, so 4 highest
  f.Edge(1);
  f.Edge(5);
  CHECK(f.pics.Acknowledge() == 0x35);
  f.Out(0x20, 0xA0);  // rotate on non-specific EOI: 5 lowest
  CHECK(f.pics.Acknowledge() == 0x31);
  f.Edge(5);
  CHECK_FALSE(f.pics.HasInterrupt());
  f.Edge(7);
  CHECK(f.pics.Acknowledge() == 0x37);
  f.Out(0x20, 0xE0 | 1);  // rotate on specific EOI of 1: 2 highest
  CHECK(f.Isr() == 0x80);
  CHECK(f.pics.HasInterrupt());  // 5 outranks 7
}

TEST_CASE("pic: special mask mode", "[pic]") {
  PicFixture f;
  f.Edge(1);
  f.pics.Acknowledge();
  f.Edge(6);
  CHECK_FALSE(f.pics.HasInterrupt());
  f.Out(0x21, 0x02);
  CHECK_FALSE(f.pics.HasInterrupt());
  f.Out(0x20, 0x68);
  CHECK(f.pics.Acknowledge() == 0x36);
  f.Out(0x20, 0x20);  // non-specific EOI skips the masked level
  CHECK(f.Isr() == 0x02);
  f.Out(0x20, 0x48);
  f.Out(0x20, 0x20);
  CHECK(f.Isr() == 0);
}

TEST_CASE("pic: special fully nested mode lets a slave nest", "[pic]") {
  PicFixture plain, nested(0x11);
  for (PicFixture* f : {&plain, &nested}) {
    f->Edge(14);
    CHECK(f->pics.Acknowledge() == 0x3E);
    f->Edge(8);
  }
  CHECK_FALSE(plain.pics.HasInterrupt());
  CHECK(nested.pics.HasInterrupt());
  CHECK(nested.pics.Acknowledge() == 0x38);
  nested.Edge(4);
  CHECK_FALSE(nested.pics.HasInterrupt());
}

TEST_CASE("pic: initialisation clears requests, mask and service, and holds INT down meanwhile", "[pic]") {
  PicFixture f;
  f.Edge(1);
  f.pics.Acknowledge();
  f.Edge(0);
  f.Out(0x21, 0xAA);
  f.Out(0x20, 0x13);  // single, with ICW4
  CHECK_FALSE(f.pics.HasInterrupt());
  f.Edge(5);
  CHECK_FALSE(f.pics.HasInterrupt());
  f.Out(0x21, 0x47);
  f.Out(0x21, 0x01);  // ICW4: ICW3 is skipped
  CHECK(f.In(0x21) == 0);
  CHECK(f.Isr() == 0);
  CHECK(f.Irr() == 0x20);
  CHECK(f.pics.Acknowledge() == 0x45);
}

TEST_CASE("pic: after reset nothing interrupts", "[pic]") {
  PicFixture f;
  f.Edge(1);
  f.pics.Reset();
  CHECK_FALSE(f.pics.HasInterrupt());
  CHECK(f.In(0x21) == 0xFF);
  CHECK(f.In(0xA1) == 0xFF);
}

}  // namespace ring3
