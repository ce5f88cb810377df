// The network card on virtio.
#include "devices/virtio/virtio_net.h"

#include <catch2/catch.hpp>

#include "tests/net/virtio_driver.h"

namespace ring3 {
namespace {

constexpr uint64_t kMergeable = 1u << 15, kControl = 1u << 17, kChecksum = 1u << 0, kTso4 = 1u << 11;

struct NetFixture {
  PhysicalMemory memory{1u << 20};
  FakeNetwork network;
  VirtioNet net{memory, network, kTestMac};
  ModernDriver driver{net};
  TestQueue receive{memory, 0x20000, 16}, transmit{memory, 0x24000, 16}, control{memory, 0x28000, 16};

  explicit NetFixture(uint64_t features = 0) {
    REQUIRE(driver.Negotiate(kModern | kControl | features));
    driver.SetUp(0, receive, 16), driver.SetUp(1, transmit, 16), driver.SetUp(2, control, 16);
    driver.Go();
  }
  TestFrame Bytes(uint32_t address, size_t count) {
    TestFrame bytes(count);
    memory.Read(GuestPhysical(address), bytes);
    return bytes;
  }
  /// Returns the answer.
  uint8_t Control(const TestFrame& message) {
    memory.Write(GuestPhysical(0x70000), message);
    control.Add(0, {{0x70000, static_cast<uint32_t>(message.size())}, {0x78000, 1, true}});
    driver.Notify(2);
    return control.Load<uint8_t>(0x78000);
  }
};

}  // namespace

TEST_CASE("virtio-net: sends", "[virtio]") {
  NetFixture f;
  CHECK(f.driver.Read(0x2000, 4) == 0x12005452);
  CHECK(f.driver.Read(0x2006, 2) == 1);  // link up
  const TestFrame frame = MakeFrame(90);
  f.memory.Write(GuestPhysical(0x40000), TestFrame(12));
  f.memory.Write(GuestPhysical(0x41000), frame);
  f.transmit.Add(0, {{0x40000, 12}, {0x41000, 90}});
  f.driver.Notify(1);
  REQUIRE(f.network.sent.size() == 1);
  CHECK(f.network.sent[0] == frame);
  CHECK(f.transmit.UsedIndex() == 1);
}

TEST_CASE("virtio-net: receives, or makes frames wait for buffers", "[virtio]") {
  NetFixture f;
  const TestFrame frame = MakeFrame(200);
  f.network.Arrive(frame);
  CHECK(f.network.waiting.size() == 1);
  f.receive.Add(0, {{0x40000, 1600, true}});
  f.driver.Notify(0);
  CHECK(f.network.waiting.empty());
  CHECK(f.receive.UsedBytes(0) == 212);
  CHECK(f.Bytes(0x4000C, 200) == frame);
  CHECK(f.receive.Load<uint16_t>(0x4000A) == 1);
  CHECK(Interrupting(f.net));
}

TEST_CASE("virtio-net: spreads a frame over mergeable buffers", "[virtio]") {
  NetFixture f(kMergeable);
  const TestFrame frame = MakeFrame(250);
  for (uint16_t i = 0; i < 2; ++i) f.receive.Add(i, {{0x40000 + 0x1000u * i, 100, true}});
  f.network.Arrive(frame);
  CHECK(f.network.waiting.size() == 1);  // not enough yet
  CHECK(f.receive.UsedIndex() == 0);
  f.receive.Add(2, {{0x42000, 100, true}});
  f.driver.Notify(0);
  CHECK(f.receive.UsedIndex() == 3);
  CHECK(f.receive.Load<uint16_t>(0x4000A) == 3);
  TestFrame read = f.Bytes(0x4000C, 88);
  for (const auto& [address, bytes] : {std::pair{0x41000u, 100u}, {0x42000u, 62u}}) {
    const TestFrame part = f.Bytes(address, bytes);
    read.insert(read.end(), part.begin(), part.end());
  }
  CHECK(read == frame);
}

TEST_CASE("virtio-net: completes a checksum that the driver left open", "[virtio]") {
  NetFixture f(kChecksum | kTso4);
  TestFrame packet(12 + 60);
  packet[0] = 1;                   // needs a checksum
  packet[6] = 34, packet[8] = 16;  // from byte 34 on, at byte 16 of that
  packet[12 + 40] = 0x12, packet[12 + 41] = 0x34;
  f.memory.Write(GuestPhysical(0x40000), packet);
  f.transmit.Add(0, {{0x40000, 72}});
  f.driver.Notify(1);
  REQUIRE(f.network.sent.size() == 1);
  CHECK(f.network.sent[0][50] == 0xED);
  CHECK(f.network.sent[0][51] == 0xCB);
  packet[6] = 0xFF, packet[7] = 0xFF;  // outside: sent as it is
  f.memory.Write(GuestPhysical(0x40000), packet);
  f.transmit.Add(0, {{0x40000, 72}});
  f.driver.Notify(1);
  CHECK(f.network.sent.size() == 2);
}

TEST_CASE("virtio-net: the control queue filters", "[virtio]") {
  NetFixture f;
  uint16_t buffers = 0;
  const auto taken = [&](const MacAddress& to) {
    const uint16_t before = f.receive.UsedIndex();
    f.receive.Add(static_cast<uint16_t>(buffers++ % 16), {{0x40000, 1600, true}});
    f.network.Arrive(MakeFrame(60, 0, to));
    f.driver.Notify(0);
    return f.receive.UsedIndex() != before;
  };
  const MacAddress other = {2, 0, 0, 0, 0, 1}, group = {0x01, 0x00, 0x5E, 0, 0, 1};
  CHECK(taken(other));  // promiscuous until told otherwise
  CHECK(f.Control({0, 0, 0}) == 0);
  CHECK(!taken(other));
  CHECK(taken(kTestMac));
  CHECK(taken(kBroadcastMac));
  CHECK(!taken(group));
  CHECK(f.Control({1, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0x01, 0x00, 0x5E, 0, 0, 1}) == 0);
  CHECK(taken(other));
  CHECK(taken(group));
  CHECK(f.Control({1, 1, 2, 2, 2, 2, 2, 2}) == 0);
  CHECK(!taken(kTestMac));
  CHECK(taken({2, 2, 2, 2, 2, 2}));
  CHECK(f.Control({1, 0, 255, 255, 255, 255}) == 1);
  CHECK(f.Control({9, 9, 9}) == 1);
}

}  // namespace ring3
