// Rings, both interfaces, entropy.
#include <catch2/catch.hpp>

#include "devices/virtio/virtio_rng.h"
#include "tests/net/virtio_driver.h"

namespace ring3 {
namespace {

struct RngFixture {
  PhysicalMemory memory{1u << 20};
  VirtioRng rng{memory};
  ModernDriver driver{rng};
  TestQueue queue{memory, 0x20000, 8};

  explicit RngFixture(uint64_t features = kModern) {
    REQUIRE(driver.Negotiate(features));
    driver.SetUp(0, queue, 8);
    driver.Go();
  }
  bool Broken() { return (driver.Status() & kNeedsReset) != 0; }
};

}  // namespace

TEST_CASE("virtio: identity and capabilities", "[virtio]") {
  PhysicalMemory memory(1u << 20);
  VirtioRng rng(memory);
  CHECK(rng.ReadConfig(0, 4) == 0x10051AF4);
  CHECK(rng.ReadConfig(0x2C, 4) == 0x00041AF4);
  CHECK((rng.ReadConfig(pci::kStatus, 2) & 0x10) != 0);
  unsigned seen = 0;
  for (uint32_t at = rng.ReadConfig(0x34, 1); at != 0; at = rng.ReadConfig(static_cast<uint8_t>(at + 1), 1)) {
    CHECK(rng.ReadConfig(static_cast<uint8_t>(at), 1) == 9);
    seen |= 1u << rng.ReadConfig(static_cast<uint8_t>(at + 3), 1);
    CHECK(rng.ReadConfig(static_cast<uint8_t>(at + 4), 1) == 4);
  }
  CHECK(seen == 0b111110);
}

TEST_CASE("virtio: a byte read of a wider legacy register gives a byte", "[virtio]") {
  constexpr uint16_t kDriverFeatures = 4;
  PhysicalMemory memory(1u << 20);
  VirtioRng rng(memory);
  rng.WriteConfig(pci::kCommand, 2, pci::kCommandIo);
  PortDevice& ports = *rng.BarPorts(0);
  const uint32_t features = ports.ReadPort(0, 4);
  ports.WritePort(kDriverFeatures, 4, features);
  REQUIRE(features > 0xFFFF);
  CHECK(ports.ReadPort(0, 1) == (features & 0xFF));
  CHECK(ports.ReadPort(kDriverFeatures, 2) == (features & 0xFFFF));
}

TEST_CASE("virtio: the modern interface refuses what was not offered", "[virtio]") {
  PhysicalMemory memory(1u << 20);
  VirtioRng rng(memory);
  ModernDriver driver(rng);
  CHECK((driver.Features() & kModern) != 0);
  CHECK(!driver.Negotiate(0));
  CHECK(!driver.Negotiate(kModern | 1ull << 40));
  CHECK(driver.Negotiate(kModern));
}

TEST_CASE("virtio: a modern driver gets random bytes and an interrupt", "[virtio]") {
  RngFixture f;
  f.queue.Add(0, {{0x30000, 16, true}, {0x31000, 48, true}});
  f.driver.Notify(0);
  CHECK(f.queue.UsedIndex() == 1);
  CHECK(f.queue.UsedHead(0) == 0);
  CHECK(f.queue.UsedBytes(0) == 64);
  CHECK((f.queue.Load<uint64_t>(0x30000) | f.queue.Load<uint64_t>(0x31000)) != 0);
  CHECK(Interrupting(f.rng));
  CHECK(f.driver.InterruptStatus() == 1);
  CHECK(!Interrupting(f.rng));
  CHECK(f.driver.InterruptStatus() == 0);
}

TEST_CASE("virtio: a legacy driver, too", "[virtio]") {
  PhysicalMemory memory(1u << 20);
  VirtioRng rng(memory);
  SwitchOn(rng);
  PortDevice& ports = *rng.BarPorts(0);
  TestQueue queue(memory, 0x20000, 8);
  CHECK((ports.ReadPort(0, 4) & virtio::kEventIndex) != 0);
  ports.WritePort(0x12, 1, 3);
  ports.WritePort(4, 4, 0);
  CHECK(ports.ReadPort(0x0C, 2) == 8);
  ports.WritePort(0x08, 4, 0x20000 >> 12);
  ports.WritePort(0x12, 1, 7);
  queue.Add(3, {{0x30000, 100, true}});
  ports.WritePort(0x10, 2, 0);
  CHECK(queue.UsedIndex() == 1);
  CHECK(queue.UsedHead(0) == 3);
  CHECK(queue.UsedBytes(0) == 100);
  CHECK(ports.ReadPort(0x13, 1) == 1);
  ports.WritePort(0x0E, 2, 1);
  CHECK(ports.ReadPort(0x0C, 2) == 0);  // there is no such queue
}

TEST_CASE("virtio: requests from before DRIVER_OK are served then", "[virtio]") {
  PhysicalMemory memory(1u << 20);
  VirtioRng rng(memory);
  ModernDriver driver(rng);
  TestQueue queue(memory, 0x20000, 8);
  REQUIRE(driver.Negotiate(kModern));
  driver.SetUp(0, queue, 8);
  queue.Add(0, {{0x30000, 16, true}});
  driver.Notify(0);
  CHECK(queue.UsedIndex() == 0);
  driver.Go();
  CHECK(queue.UsedIndex() == 1);
}

TEST_CASE("virtio: indirect descriptors", "[virtio]") {
  RngFixture f(kModern | virtio::kIndirectDescriptors);
  f.queue.AddIndirect(0, 0x40000, {{0x30000, 16, true}, {0x31000, 16, true}});
  f.driver.Notify(0);
  CHECK(f.queue.UsedBytes(0) == 32);
  CHECK(!f.Broken());
}

TEST_CASE("virtio: interrupts are held back as the driver asks", "[virtio]") {
  const bool event_index = GENERATE(false, true);
  RngFixture f(kModern | (event_index ? virtio::kEventIndex : 0));
  event_index ? f.queue.SetUsedEvent(1) : f.queue.SetInterruptsOff();
  f.queue.Add(0, {{0x30000, 16, true}});
  f.driver.Notify(0);
  CHECK(f.queue.UsedIndex() == 1);
  CHECK(!Interrupting(f.rng));
  if (event_index) {
    CHECK(f.queue.AvailableEvent() == 1);
    f.queue.Add(1, {{0x30000, 16, true}});
    f.driver.Notify(0);
    CHECK(Interrupting(f.rng));
  }
}

TEST_CASE("virtio: rings that make no sense ask for a reset", "[virtio]") {
  RngFixture f(kModern | virtio::kIndirectDescriptors);
  SECTION("a loop") {
    f.queue.SetDescriptor(0, 0x30000, 16, TestQueue::kNext | TestQueue::kWritable, 1);
    f.queue.SetDescriptor(1, 0x30000, 16, TestQueue::kNext | TestQueue::kWritable, 0);
    f.queue.MakeAvailable(0);
  }
  SECTION("an indirect loop") {
    f.queue.SetDescriptor(0, 0x40000, 16, TestQueue::kIndirect, 0);
    f.queue.SetDescriptor(0, 0x30000, 16, TestQueue::kNext | TestQueue::kWritable, 0, 0x40000);
    f.queue.MakeAvailable(0);
  }
  SECTION("an indirect table within one") {
    f.queue.SetDescriptor(0, 0x40000, 16, TestQueue::kIndirect, 0);
    f.queue.SetDescriptor(0, 0x41000, 16, TestQueue::kIndirect, 0, 0x40000);
    f.queue.MakeAvailable(0);
  }
  SECTION("a table of odd length") {
    f.queue.SetDescriptor(0, 0x40000, 17, TestQueue::kIndirect, 0);
    f.queue.MakeAvailable(0);
  }
  SECTION("a descriptor beyond the table") {
    f.queue.SetDescriptor(0, 0x30000, 16, TestQueue::kNext | TestQueue::kWritable, 8);
    f.queue.MakeAvailable(0);
  }
  SECTION("a head beyond the table") { f.queue.MakeAvailable(8); }
  SECTION("more available than there can be") { f.queue.SetAvailableIndex(9); }
  SECTION("a buffer that is not memory") { f.queue.Add(0, {{0xA0000, 16, true}}); }
  SECTION("a buffer beyond memory") {
    f.queue.SetDescriptor(0, ~uint64_t{0} - 8, 16, TestQueue::kWritable, 0);
    f.queue.MakeAvailable(0);
  }
  SECTION("readable behind writable") { f.queue.Add(0, {{0x30000, 16, true}, {0x30000, 16, false}}); }
  f.driver.Notify(0);
  CHECK(f.Broken());
  CHECK(f.queue.UsedIndex() == 0);
  CHECK((f.driver.InterruptStatus() & 2) != 0);
  f.driver.Notify(0);  // nothing more happens until
  f.driver.Write(0x14, 1, 0);
  CHECK(f.driver.Status() == 0);
}

TEST_CASE("virtio: queues at impossible places stay off", "[virtio]") {
  PhysicalMemory memory(1u << 20);
  VirtioRng rng(memory);
  ModernDriver driver(rng);
  REQUIRE(driver.Negotiate(kModern));
  driver.SetUp(0, TestQueue(memory, 0xFFFFF000, 8), 8);
  CHECK((driver.Status() & kNeedsReset) != 0);
  REQUIRE(driver.Negotiate(kModern));
  driver.SetUp(0, TestQueue(memory, 0x20000, 8), 7);
  CHECK((driver.Status() & kNeedsReset) != 0);
  driver.Write(0x16, 2, 5);  // no such queue
  CHECK(driver.Read(0x18, 2) == 0);
  driver.Write(0x1C, 2, 1);
}

}  // namespace ring3
