#include "devices/net/ne2000.h"

#include <catch2/catch.hpp>

#include "devices/net/ethernet.h"
#include "tests/devices/device_test_support.h"
#include "tests/net/card_test_support.h"

namespace ring3 {
namespace {

constexpr uint8_t kStop = 0x21, kStart = 0x22, kRead = 0x0A, kWrite = 0x12, kSend = 0x1A, kTransmit = 0x26;
constexpr uint8_t kFirstPage = 0x46, kEndPage = 0x60;

struct Fixture {
  ManualClock clock;
  TimerQueue timers;
  FakeNetwork network;
  Ne2000 card{clock, timers, network, kTestMac};
  PortDevice& ports{*card.BarPorts(0)};

  Fixture() { SwitchOn(card); }
  uint32_t In(unsigned port, unsigned size = 1) { return ports.ReadPort(static_cast<uint16_t>(port), size); }
  void Out(unsigned port, uint32_t value, unsigned size = 1) {
    ports.WritePort(static_cast<uint16_t>(port), size, value);
  }
  void Remote(unsigned address, unsigned bytes, uint8_t command) {
    Out(0x08, address & 0xFF), Out(0x09, address >> 8), Out(0x0A, bytes & 0xFF), Out(0x0B, bytes >> 8);
    Out(0x00, command);
  }
  TestFrame ReadMemory(unsigned address, unsigned bytes) {
    Remote(address, bytes, kRead);
    TestFrame out;
    for (unsigned i = 0; i < bytes; i += 2) {
      const uint32_t word = In(0x10, 2);
      out.push_back(static_cast<uint8_t>(word));
      out.push_back(static_cast<uint8_t>(word >> 8));
    }
    return out;
  }
  void Start(uint8_t receive = 0x04) {
    Out(0x00, kStop), Out(0x0E, 0x49);
    Out(0x01, kFirstPage), Out(0x02, kEndPage), Out(0x03, kFirstPage);
    Out(0x0C, receive), Out(0x0D, 0), Out(0x0F, 0x3F), Out(0x07, 0xFF);
    Out(0x00, kStop | 0x40);
    for (unsigned i = 0; i < 6; ++i) Out(1 + i, kTestMac[i]);
    Out(0x07, kFirstPage + 1);
    Out(0x00, kStart);
  }
  uint8_t Current() {
    Out(0x00, kStart | 0x40);
    const uint32_t page = In(0x07);
    Out(0x00, kStart);
    return static_cast<uint8_t>(page);
  }
};

}  // namespace

TEST_CASE("ne2000: identification and the address PROM", "[ne2000]") {
  Fixture f;
  CHECK(f.card.ReadConfig(0, 4) == 0x802910EC);
  CHECK(f.In(0x0A) == 'P');
  CHECK(f.In(0x0B) == 'C');
  f.Out(0x0E, 0x49);
  f.Remote(0, 32, kRead);
  TestFrame bytes;  // in word mode each byte read moves a word: the doubled bytes come once
  for (int i = 0; i < 16; ++i) bytes.push_back(static_cast<uint8_t>(f.In(0x10)));
  CHECK(std::equal(kTestMac.begin(), kTestMac.end(), bytes.begin()));
  CHECK(bytes[14] == 0x57);
  CHECK((f.In(0x07) & 0x40) != 0);
  f.Out(0x0E, 0x48);
  f.Remote(0, 4, kRead);
  CHECK(f.In(0x10) == 0x52);
  CHECK(f.In(0x10) == 0x52);
}

TEST_CASE("ne2000: reset stops the chip", "[ne2000]") {
  Fixture f;
  f.Start();
  CHECK((f.In(0x07) & 0x80) == 0);
  f.In(0x1F);
  CHECK((f.In(0x07) & 0x80) != 0);
  CHECK(f.In(0x00) == kStop);
}

TEST_CASE("ne2000: remote DMA writes and reads by words and dwords", "[ne2000]") {
  Fixture f;
  f.Start();
  f.Remote(0x4000, 8, kWrite);
  f.Out(0x10, 0x2211, 2), f.Out(0x10, 0x4433, 2), f.Out(0x10, 0x88776655, 4);
  CHECK((f.In(0x07) & 0x40) != 0);
  CHECK(f.ReadMemory(0x4000, 8) == TestFrame{0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88});
  f.Remote(0xC000, 2, kRead);
  CHECK(f.In(0x10, 2) == 0xFFFF);  // no memory there
}

TEST_CASE("ne2000: sends what lies in its buffer", "[ne2000]") {
  Fixture f;
  f.Start();
  const TestFrame frame = MakeFrame(98);
  f.Remote(0x4000, 98, kWrite);
  for (size_t i = 0; i < 98; i += 2) f.Out(0x10, frame[i] | uint32_t{frame[i + 1]} << 8, 2);
  f.Out(0x07, 0xFF);
  f.Out(0x04, 0x40), f.Out(0x05, 98), f.Out(0x06, 0);
  f.Out(0x00, kTransmit);
  REQUIRE(f.network.sent.size() == 1);
  CHECK(f.network.sent[0] == frame);
  CHECK(f.In(0x07) == 0x02);
  CHECK((f.In(0x04) & 1) != 0);
  CHECK(Interrupting(f.card));
  f.Out(0x07, 0x02);
  CHECK(!Interrupting(f.card));
  f.Out(0x06, 0xFF);
  f.Out(0x00, kTransmit);
  CHECK(f.network.sent.size() == 1);
  CHECK((f.In(0x07) & 0x08) != 0);
}

TEST_CASE("ne2000: receives into the ring, around its end", "[ne2000]") {
  Fixture f;
  f.Start();
  uint8_t page = kFirstPage + 1;
  for (uint8_t i = 0; i < 20; ++i) {
    const TestFrame frame = MakeFrame(500, i);
    f.network.Arrive(frame);
    f.Out(0x07, 0x01);
    REQUIRE(f.network.waiting.empty());
    const TestFrame head = f.ReadMemory(page << 8u, 4);
    const auto next = static_cast<uint8_t>(page + 2 >= kEndPage ? page + 2 - kEndPage + kFirstPage : page + 2);
    CHECK(head == TestFrame{0x01, next, 504 & 0xFF, 504 >> 8});
    // Remote DMA wraps at the ring's end by itself.
    CHECK(f.ReadMemory((page << 8u) + 4, 500) == frame);
    CHECK(f.Current() == next);
    f.Out(0x03, page);
    page = next;
  }
}

TEST_CASE("ne2000: Send Packet reads the next frame and frees it", "[ne2000]") {
  Fixture f;
  f.Start();
  f.Out(0x03, kFirstPage + 1);
  f.network.Arrive(MakeFrame(60));
  f.Out(0x07, 0xFF);
  f.Out(0x00, kSend);
  TestFrame bytes;
  while ((f.In(0x07) & 0x40) == 0) {
    const uint32_t word = f.In(0x10, 2);
    bytes.push_back(static_cast<uint8_t>(word)), bytes.push_back(static_cast<uint8_t>(word >> 8));
  }
  CHECK(bytes.size() == 64);
  CHECK(bytes[1] == kFirstPage + 2);
  CHECK(f.In(0x03) == kFirstPage + 2);
}

TEST_CASE("ne2000: a full ring makes frames wait", "[ne2000]") {
  Fixture f;
  f.Start();
  for (unsigned i = 0; i < 6; ++i) f.network.Arrive(MakeFrame(1500));
  CHECK(f.network.waiting.size() == 2);
  f.Out(0x03, kFirstPage + 6);
  CHECK(f.network.waiting.size() == 1);
}

TEST_CASE("ne2000: frames beyond what a driver reads at once come with an interrupt of their own", "[ne2000]") {
  Fixture f;
  f.Start();
  for (unsigned i = 0; i < 12; ++i) f.network.Arrive(MakeFrame(60));
  CHECK(f.network.waiting.size() == 4);
  f.Out(0x07, 0x01);
  CHECK(f.network.waiting.empty());
  CHECK((f.In(0x07) & 0x01) != 0);
}

TEST_CASE("ne2000: a driver that acknowledges a full ring without reading it is told again", "[ne2000]") {
  Fixture f;
  f.Start();
  for (unsigned i = 0; i < 6; ++i) f.network.Arrive(MakeFrame(1500));
  f.Out(0x07, 0x3F);
  CHECK(f.In(0x07) == 0);
  CHECK(!f.network.waiting.empty());
  AdvanceExactly(f.clock, f.timers, 2'000'000);
  CHECK((f.In(0x07) & 0x01) != 0);
}

TEST_CASE("ne2000: the filter", "[ne2000]") {
  Fixture f;
  f.Start(0x00);
  const auto taken = [&](const MacAddress& to) {
    const uint8_t before = f.Current();
    f.network.Arrive(MakeFrame(60, 0, to));
    const uint8_t after = f.Current();
    f.Out(0x03, before);
    return before != after;
  };
  const MacAddress other = {2, 0, 0, 0, 0, 1}, group = {0x01, 0x00, 0x5E, 0, 0, 1};
  CHECK(taken(kTestMac));
  CHECK(!taken(kBroadcastMac));
  CHECK(!taken(group));
  f.Out(0x0C, 0x0C);
  CHECK(taken(kBroadcastMac));
  CHECK(!taken(group));
  const unsigned hash = MulticastHash(MakeFrame(60, 0, group));
  f.Out(0x00, kStart | 0x40);
  f.Out(8 + hash / 8, 1u << (hash % 8));
  f.Out(0x00, kStart);
  CHECK(taken(group));
  CHECK(!taken(other));
  f.Out(0x0C, 0x10);
  CHECK(taken(other));
  f.Out(0x0C, 0x20 | 0x10);  // monitor
  CHECK(!taken(other));
}

TEST_CASE("ne2000: nonsense in the page registers does no harm", "[ne2000]") {
  Fixture f;
  f.Start();
  constexpr uint8_t kPages[][3] = {{0, 0xFF, 0xFE}, {0x50, 0x50, 0x50}, {0x60, 0x46, 0x50}, {0xF0, 0xFF, 0x10}};
  for (const auto& [first, end, current] : kPages) {
    f.Out(0x01, first), f.Out(0x02, end);
    f.Out(0x00, kStart | 0x40), f.Out(0x07, current), f.Out(0x00, kStart);
    f.network.Arrive(MakeFrame(1500));
    f.network.waiting.clear();
  }
  f.Out(0x04, 0xFF), f.Out(0x05, 0xFF), f.Out(0x06, 0x05);
  f.Out(0x00, kTransmit);
  SUCCEED();
}

}  // namespace ring3
