// Rings, both interfaces, entropy, network and disk.
#include <catch2/catch.hpp>
#include <deque>

#include "devices/virtio/virtio_block.h"
#include "devices/virtio/virtio_net.h"
#include "devices/virtio/virtio_rng.h"
#include "tests/net/virtio_driver.h"

namespace ring3 {
namespace {

constexpr uint64_t kModern = virtio::kVersion1;
constexpr uint8_t kNeedsReset = 0x40;

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

// --- network ---

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

// --- disk ---

namespace {

/// Answers when the test says so.
class FakeDisk final : public Disk {
 public:
  explicit FakeDisk(bool read_only = false) : read_only_(read_only) {}
  uint64_t SizeBytes() const override { return data.size(); }
  bool ReadOnly() const override { return read_only_; }
  void Read(uint64_t offset, Bytes buffer, Done done) override {
    pending.push_back([this, offset, buffer = std::move(buffer), done]() mutable {
      const bool inside = offset + buffer.size() <= data.size();
      if (inside) std::copy_n(data.begin() + static_cast<ptrdiff_t>(offset), buffer.size(), buffer.begin());
      done(inside ? 0 : EIO, std::move(buffer));
    });
  }
  void Write(uint64_t offset, Bytes bytes, Done done) override {
    pending.push_back([this, offset, bytes = std::move(bytes), done]() mutable {
      const bool inside = offset + bytes.size() <= data.size();
      if (inside) std::copy(bytes.begin(), bytes.end(), data.begin() + static_cast<ptrdiff_t>(offset));
      done(inside ? 0 : EIO, std::move(bytes));
    });
  }
  void Flush(Done done) override {
    ++flushes;
    pending.push_back([done] { done(0, {}); });
  }
  void AnswerAll() {
    while (!pending.empty()) {
      auto next = std::move(pending.front());
      pending.pop_front();
      next();
    }
  }

  Bytes data = Bytes(64 * 512);
  std::deque<std::function<void()>> pending;
  unsigned flushes = 0;

 private:
  bool read_only_;
};

struct BlockFixture {
  PhysicalMemory memory{1u << 20};
  FakeDisk disk;
  VirtioBlock block{memory, disk, "serial-number"};
  ModernDriver driver{block};
  TestQueue queue{memory, 0x20000, 16};

  explicit BlockFixture(bool read_only = false) : disk(read_only) {
    REQUIRE(driver.Negotiate(kModern | virtio::kIndirectDescriptors));
    driver.SetUp(0, queue, 16);
    driver.Go();
  }
  /// Header at `at`, status at `at` + 16.
  void Header(uint32_t at, uint32_t type, uint64_t sector) {
    queue.Store<uint32_t>(at, type), queue.Store<uint32_t>(at + 4, 0), queue.Store<uint64_t>(at + 8, sector);
    queue.Store<uint8_t>(at + 16, 0xFF);
  }
  uint8_t Answer(uint32_t at) { return queue.Load<uint8_t>(at + 16); }
};

}  // namespace

TEST_CASE("virtio-blk: capacity and identity", "[virtio]") {
  BlockFixture f;
  CHECK(f.driver.Read(0x2000, 8) == 64);
  CHECK(f.driver.Read(0x2014, 4) == 512);
  f.Header(0x40000, 8, 0);
  f.queue.Add(0, {{0x40000, 16}, {0x41000, 20, true}, {0x40010, 1, true}});
  f.driver.Notify(0);
  CHECK(f.Answer(0x40000) == 0);
  char identity[20];
  f.memory.Read(GuestPhysical(0x41000), {reinterpret_cast<uint8_t*>(identity), 20});
  CHECK(std::string(identity) == "serial-number");
}

TEST_CASE("virtio-blk: several requests under way", "[virtio]") {
  BlockFixture f;
  f.memory.Write(GuestPhysical(0x50000), TestFrame(1024, 0xAB));
  f.Header(0x40000, 1, 2);
  f.Header(0x40100, 4, 0);
  f.Header(0x40200, 0, 3);
  f.queue.Add(0, {{0x40000, 16}, {0x50000, 1024}, {0x40010, 1, true}});
  f.queue.Add(3, {{0x40100, 16}, {0x40110, 1, true}});
  f.queue.AddIndirect(5, 0x60000, {{0x40200, 16}, {0x51000, 500, true}, {0x52000, 12, true}, {0x40210, 1, true}});
  f.driver.Notify(0);
  CHECK(f.disk.pending.size() == 3);
  CHECK(f.queue.UsedIndex() == 0);
  f.disk.AnswerAll();
  CHECK(f.queue.UsedIndex() == 3);
  CHECK(f.disk.flushes == 1);
  CHECK(f.Answer(0x40000) == 0);
  CHECK(f.Answer(0x40200) == 0);
  CHECK(f.queue.Load<uint8_t>(0x51000 + 499) == 0xAB);
  CHECK(f.queue.Load<uint8_t>(0x52000 + 11) == 0xAB);
  CHECK(f.queue.UsedBytes(2) == 513);
  CHECK(Interrupting(f.block));
}

TEST_CASE("virtio-blk: errors", "[virtio]") {
  BlockFixture f;
  f.Header(0x40000, 0, 64);
  f.queue.Add(0, {{0x40000, 16}, {0x51000, 512, true}, {0x40010, 1, true}});
  f.Header(0x40100, 0, ~uint64_t{0});
  f.queue.Add(3, {{0x40100, 16}, {0x51000, 512, true}, {0x40110, 1, true}});
  f.Header(0x40200, 99, 0);
  f.queue.Add(6, {{0x40200, 16}, {0x40210, 1, true}});
  f.driver.Notify(0);
  f.disk.AnswerAll();
  CHECK(f.Answer(0x40000) == 1);
  CHECK(f.Answer(0x40100) == 1);
  CHECK(f.Answer(0x40200) == 2);
  f.queue.Add(8, {{0x40200, 8}, {0x40210, 1, true}});  // half a header
  f.driver.Notify(0);
  CHECK((f.driver.Status() & kNeedsReset) != 0);
}

TEST_CASE("virtio-blk: a read-only disk is not written", "[virtio]") {
  BlockFixture f(true);
  CHECK((f.driver.Features() & 1u << 5) != 0);
  f.Header(0x40000, 1, 0);
  f.queue.Add(0, {{0x40000, 16}, {0x50000, 512}, {0x40010, 1, true}});
  f.driver.Notify(0);
  CHECK(f.disk.pending.empty());
  CHECK(f.Answer(0x40000) == 1);
}

TEST_CASE("virtio-blk: answers that come after a reset are dropped", "[virtio]") {
  BlockFixture f;
  f.Header(0x40000, 0, 0);
  f.queue.Add(0, {{0x40000, 16}, {0x51000, 512, true}, {0x40010, 1, true}});
  f.driver.Notify(0);
  f.driver.Write(0x14, 1, 0);
  f.disk.AnswerAll();
  CHECK(f.Answer(0x40000) == 0xFF);
  CHECK(f.queue.UsedIndex() == 0);
}

}  // namespace ring3
