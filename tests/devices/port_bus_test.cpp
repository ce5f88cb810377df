#include "devices/port_bus.h"

#include <catch2/catch.hpp>
#include <tuple>

namespace ring3 {
namespace {

using Access = std::tuple<char, uint16_t, unsigned, uint32_t>;

class Recorder final : public PortDevice {
 public:
  explicit Recorder(uint32_t answer) : answer_(answer) {}
  uint32_t ReadPort(uint16_t port, unsigned size) override {
    log.emplace_back('r', port, size, 0);
    return answer_;
  }
  void WritePort(uint16_t port, unsigned size, uint32_t value) override { log.emplace_back('w', port, size, value); }
  std::vector<Access> log;

 private:
  uint32_t answer_;
};

}  // namespace

TEST_CASE("port bus: accesses reach the owner with their size", "[port_bus]") {
  PortBus bus;
  Recorder a(0xDDCCBBAA);
  bus.Attach(0x100, 4, a, "a");
  CHECK(bus.Read(0x100, 4) == 0xDDCCBBAA);
  CHECK(bus.Read(0x102, 2) == 0xBBAA);
  CHECK(bus.Read(0x103, 1) == 0xAA);
  bus.Write(0x101, 1, 0xFFFFFF12);
  CHECK(a.log ==
        std::vector<Access>{{'r', 0x100, 4, 0}, {'r', 0x102, 2, 0}, {'r', 0x103, 1, 0}, {'w', 0x101, 1, 0x12}});
}

TEST_CASE("port bus: unclaimed ports read all ones", "[port_bus]") {
  PortBus bus;
  CHECK(bus.Read(0x200, 1) == 0xFF);
  CHECK(bus.Read(0x200, 2) == 0xFFFF);
  CHECK(bus.Read(0x200, 4) == 0xFFFFFFFF);
  CHECK(bus.Read(0xFFFF, 4) == 0xFFFFFFFF);
  bus.Write(0xFFFF, 4, 0);
}

TEST_CASE("port bus: an access across owners is split into bytes", "[port_bus]") {
  PortBus bus;
  Recorder a(0x11), b(0x22);
  bus.Attach(0x101, 1, a, "a");
  bus.Attach(0x102, 1, b, "b");
  CHECK(bus.Read(0x100, 4) == 0xFF2211FF);
  CHECK(bus.Read(0x101, 2) == 0x2211);
  bus.Write(0x100, 4, 0x04030201);
  CHECK(a.log.back() == Access{'w', 0x101, 1, 0x02});
  CHECK(b.log.back() == Access{'w', 0x102, 1, 0x03});
}

TEST_CASE("port bus: overlap and impossible ranges are errors", "[port_bus]") {
  PortBus bus;
  Recorder a(0);
  bus.Attach(0x100, 4, a, "first");
  CHECK_THROWS_AS(bus.Attach(0x103, 1, a, "second"), PortOverlap);
  CHECK_THROWS_WITH(bus.Attach(0xFE, 3, a, "second"), "second claims port 100h, which belongs to first");
  CHECK_THROWS_AS(bus.Attach(0xFFFF, 2, a, "end"), std::out_of_range);
  CHECK_THROWS_AS(bus.Attach(0x10, 0, a, "empty"), std::out_of_range);
  bus.Attach(0xFFFF, 1, a, "last");
  // A failed claim claims nothing.
  bus.Attach(0xFE, 2, a, "before");
}

TEST_CASE("port bus: a range that was given back is free for another device", "[port_bus]") {
  PortBus bus;
  Recorder a(0xAA), b(0xBB);
  bus.Attach(0x100, 4, a, "a");
  CHECK_FALSE(bus.IsFree(0x103, 1));
  CHECK(bus.IsFree(0x104, 4));
  CHECK_FALSE(bus.IsFree(0xFFFF, 2));
  CHECK_FALSE(bus.IsFree(0x200, 0));
  bus.Detach(0x101, a);  // not its beginning
  bus.Detach(0x100, b);  // not its owner
  CHECK(bus.Read(0x102, 1) == 0xAA);
  bus.Detach(0x100, a);
  CHECK(bus.Read(0x102, 1) == 0xFF);
  for (unsigned i = 0; i < 1000; ++i) {
    bus.Attach(0x102, 1, b, "b");
    CHECK(bus.Read(0x102, 1) == 0xBB);
    bus.Detach(0x102, b);
  }
}

}  // namespace ring3
