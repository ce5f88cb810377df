#include "devices/net/rtl8139.h"

#include <catch2/catch.hpp>

#include "devices/net/checksum.h"
#include "devices/net/ethernet.h"
#include "tests/devices/device_test_support.h"
#include "tests/net/card_test_support.h"

namespace ring3 {
namespace {

using namespace rtl8139;

constexpr uint32_t kRing = 0x20000, kTxBuffer = 0x40000, kDescriptors = 0x50000;

struct Fixture {
  ManualClock clock;
  TimerQueue timers;
  PhysicalMemory memory{1u << 20};
  FakeNetwork network;
  Rtl8139 card;
  PortDevice& ports;

  explicit Fixture(Rtl8139::Model model = Rtl8139::Model::kC)
      : card(clock, timers, memory, network, kTestMac, model), ports(*card.BarPorts(0)) {
    SwitchOn(card);
  }
  uint32_t In(unsigned port, unsigned size) { return ports.ReadPort(static_cast<uint16_t>(port), size); }
  void Out(unsigned port, unsigned size, uint32_t value) { ports.WritePort(static_cast<uint16_t>(port), size, value); }
  template <class T>
  T Load(uint32_t address) {
    T value;
    memory.Read(GuestPhysical(address), {reinterpret_cast<uint8_t*>(&value), sizeof value});
    return value;
  }
  void Store(uint32_t address, uint32_t value) {
    memory.Write(GuestPhysical(address), {reinterpret_cast<const uint8_t*>(&value), sizeof value});
  }
  TestFrame Bytes(uint32_t address, size_t count) {
    TestFrame bytes(count);
    memory.Read(GuestPhysical(address), bytes);
    return bytes;
  }
  void StartReceiver(uint32_t config = kAcceptMine | kAcceptBroadcast) {
    Out(kRxBuffer, 4, kRing);
    Out(kCommand, 1, kReceiverOn | kTransmitterOn);
    Out(kRxConfig, 4, config);
    Out(kInterruptMask, 2, kRxOk | kTxOk | kTxError | kTimeout);
  }
  unsigned Status() { return In(kInterruptStatus, 2); }
  void StartCPlus() {
    Out(kCPlusCommand, 2, kCPlusTx | kCPlusRx | kRxChecksum);
    Out(kCommand, 1, kReceiverOn | kTransmitterOn);
    Out(kTxRing, 4, kDescriptors);
    Out(kTxRing + 4, 4, 0);
    Out(kRxRing, 4, kDescriptors + 0x1000);
    Out(kRxRing + 4, 4, 0);
    Out(kRxConfig, 4, kAcceptMine);
    Out(kInterruptMask, 2, kRxOk | kTxOk | kRxOverflow);
  }
  void Descriptor(uint32_t at, uint32_t status, uint32_t buffer) {
    Store(at, status), Store(at + 4, 0), Store(at + 8, buffer), Store(at + 12, 0);
  }
};

}  // namespace

TEST_CASE("rtl8139: identification and reset values", "[rtl8139]") {
  Fixture f;
  CHECK(f.card.ReadConfig(0, 4) == 0x813910EC);
  CHECK(f.card.ReadConfig(8, 4) == 0x02000010);
  CHECK(f.In(kMac, 4) == 0x12005452);
  CHECK(f.In(kMac + 4, 2) == 0x5634);
  CHECK(f.In(kCommand, 1) == kBufferEmpty);
  CHECK(f.In(kReadPointer, 2) == 0xFFF0);
  CHECK(f.In(kWritePointer, 2) == 0);
  CHECK((f.In(kTxConfig, 4) & 0x7CC00000) == kVersionC);
  for (unsigned i = 0; i < 4; ++i) CHECK(f.In(kTxStatus0 + 4 * i, 4) == kTxOwn);
  CHECK(f.In(kTxSummary, 2) == 0x000F);
  CHECK((f.In(kBasicStatus, 2) & 0x0024) == 0x0024);  // negotiated, link up
  Fixture plus(Rtl8139::Model::kCPlus);
  CHECK(plus.card.ReadConfig(8, 1) == 0x20);
  CHECK((plus.In(kTxConfig, 4) & 0x7CC00000) == kVersionCPlus);
}

TEST_CASE("rtl8139: both BARs show the same registers", "[rtl8139]") {
  Fixture f;
  MmioDevice& mmio = *f.card.BarMemory(1);
  CHECK(f.card.BarMemory(0) == nullptr);
  CHECK(mmio.ReadMmio(GuestPhysical(kMac), 4) == 0x12005452);
  CHECK(mmio.ReadMmio(GuestPhysical(kMac), 8) == 0x0000563412005452);
  mmio.WriteMmio(GuestPhysical(kMulticast), 4, 0x80000001);
  CHECK(f.In(kMulticast, 4) == 0x80000001);
}

TEST_CASE("rtl8139: the EEPROM gives signature and address to a driver that clocks it", "[rtl8139]") {
  Fixture f;
  const auto read_word = [&](unsigned address, unsigned address_bits) {
    const auto out = [&](unsigned lines) { f.Out(kEeprom, 1, kModeProgram | lines); };
    out(kEepromSelect);
    const unsigned command = 6u << address_bits | address;
    for (int bit = static_cast<int>(address_bits) + 4; bit >= 0; --bit) {
      const unsigned data = command >> bit & 1 ? kEepromIn : 0;
      out(kEepromSelect | data);
      out(kEepromSelect | data | kEepromClock);
    }
    unsigned word = 0;
    for (int bit = 0; bit < 16; ++bit) {
      out(kEepromSelect);
      out(kEepromSelect | kEepromClock);
      word = word << 1 | (f.In(kEeprom, 1) & kEepromOut);
    }
    out(0);
    return word;
  };
  CHECK(read_word(0, 6) == 0x8129);
  CHECK(read_word(7, 6) == 0x5452);
  CHECK(read_word(9, 6) == 0x5634);
  CHECK(read_word(0, 8) != 0x8129);  // how drivers tell it from a larger one
}

TEST_CASE("rtl8139: configuration registers need unlocking", "[rtl8139]") {
  Fixture f;
  const uint32_t before = f.In(kConfig1, 1);
  f.Out(kConfig1, 1, before ^ 0x01);
  CHECK(f.In(kConfig1, 1) == before);
  f.Out(kEeprom, 1, kModeUnlocked);
  f.Out(kConfig1, 1, before ^ 0x01);
  CHECK(f.In(kConfig1, 1) == (before ^ 0x01));
}

TEST_CASE("rtl8139: frames go out of the four buffers in turn", "[rtl8139]") {
  Fixture f;
  f.StartReceiver();
  for (uint32_t i = 0; i < 6; ++i) {
    const uint32_t slot = i % 4;
    const TestFrame frame = MakeFrame(100 + i, static_cast<uint8_t>(i));
    f.memory.Write(GuestPhysical(kTxBuffer), frame);
    f.Out(kTxAddress0 + 4 * slot, 4, kTxBuffer);
    f.Out(kTxStatus0 + 4 * slot, 4, 100 + i);
    REQUIRE(f.network.sent.size() == i + 1);
    CHECK(f.network.sent.back() == frame);
    CHECK((f.In(kTxStatus0 + 4 * slot, 4) & (kTxOwn | kTxStatusOk)) == (kTxOwn | kTxStatusOk));
    CHECK(f.Status() == kTxOk);
    CHECK(Interrupting(f.card));
    f.Out(kInterruptStatus, 2, kTxOk);
    CHECK(!Interrupting(f.card));
  }
  CHECK(f.In(kTxSummary, 2) == 0xF00F);
}

TEST_CASE("rtl8139: a buffer out of turn waits", "[rtl8139]") {
  Fixture f;
  f.StartReceiver();
  f.Out(kTxAddress0 + 4, 4, kTxBuffer);
  f.Out(kTxStatus0 + 4, 4, 64);
  CHECK(f.network.sent.empty());
  f.Out(kTxAddress0, 4, kTxBuffer);
  f.Out(kTxStatus0, 4, 60);
  CHECK(f.network.sent.size() == 2);
}

TEST_CASE("rtl8139: too long a frame is aborted, a short one padded", "[rtl8139]") {
  Fixture f;
  f.StartReceiver();
  f.Out(kTxStatus0, 4, kLongestTx + 1);
  CHECK(f.network.sent.empty());
  CHECK((f.In(kTxStatus0, 4) & kTxAborted) != 0);
  CHECK(f.Status() == kTxError);
  f.Out(kTxStatus0 + 4, 4, 20);
  REQUIRE(f.network.sent.size() == 1);
  CHECK(f.network.sent[0].size() == 60);
}

TEST_CASE("rtl8139: a frame arrives in the ring with header and checksum", "[rtl8139]") {
  Fixture f;
  f.StartReceiver();
  const TestFrame frame = MakeFrame(101);
  f.network.Arrive(frame);
  CHECK(f.Status() == kRxOk);
  CHECK(Interrupting(f.card));
  CHECK((f.In(kCommand, 1) & kBufferEmpty) == 0);
  CHECK(f.Load<uint16_t>(kRing) == (kHeaderOk | kHeaderMine));
  CHECK(f.Load<uint16_t>(kRing + 2) == 105);
  CHECK(f.Bytes(kRing + 4, 101) == frame);
  CHECK(f.Load<uint32_t>(kRing + 105) == FrameCheckSequence(frame));
  CHECK(f.In(kWritePointer, 2) == 112);  // to a dword
  f.Out(kReadPointer, 2, 112 - 16);
  CHECK((f.In(kCommand, 1) & kBufferEmpty) != 0);
}

TEST_CASE("rtl8139: the ring wraps, or runs on where the driver leaves room", "[rtl8139]") {
  const bool no_wrap = GENERATE(false, true);
  Fixture f;
  f.StartReceiver(kAcceptMine | (no_wrap ? kNoWrap : 0));
  uint32_t at = 0;
  for (unsigned i = 0; i < 5; ++i) {  // 1508 bytes each
    f.network.Arrive(MakeFrame(1500));
    at += 1508;
    f.Out(kReadPointer, 2, (at - 16) & 0xFFFF);
  }
  const TestFrame frame = MakeFrame(1400, 7);
  f.network.Arrive(frame);
  const uint32_t first = kRing + at + 4, before = 8192 - at - 4;
  if (no_wrap) {
    CHECK(f.Bytes(first, 1400) == frame);
  } else {
    TestFrame read = f.Bytes(first, before);
    const TestFrame rest = f.Bytes(kRing, 1400 - before);
    read.insert(read.end(), rest.begin(), rest.end());
    CHECK(read == frame);
  }
  CHECK(f.In(kWritePointer, 2) == (at + 1408) % 8192);
}

TEST_CASE("rtl8139: without room frames wait until the driver has read", "[rtl8139]") {
  Fixture f;
  f.StartReceiver();
  for (unsigned i = 0; i < 8; ++i) f.network.Arrive(MakeFrame(1500, static_cast<uint8_t>(i)));
  CHECK(f.network.waiting.size() == 3);
  f.Out(kReadPointer, 2, 1508 - 16);
  CHECK(f.network.waiting.size() == 2);
  TestFrame start = MakeFrame(1500, 5);
  start.resize(600);
  CHECK(f.Bytes(kRing + 5 * 1508 + 4, 600) == start);
}

TEST_CASE("rtl8139: a driver that acknowledges frames without reading them is told again", "[rtl8139]") {
  Fixture f;
  f.StartReceiver();
  for (unsigned i = 0; i < 8; ++i) f.network.Arrive(MakeFrame(1500));
  f.Out(kInterruptStatus, 2, kRxOk);
  CHECK(f.Status() == 0);
  AdvanceExactly(f.clock, f.timers, 2'000'000);
  CHECK(f.Status() == kRxOk);
}

TEST_CASE("rtl8139: the filter", "[rtl8139]") {
  Fixture f;
  f.StartReceiver(kAcceptMine);
  const auto taken = [&](const MacAddress& to) {
    f.Out(kInterruptStatus, 2, 0xFFFF);
    f.network.Arrive(MakeFrame(60, 0, to));
    return f.Status() == kRxOk;
  };
  const MacAddress other = {2, 0, 0, 0, 0, 1}, group = {0x01, 0x00, 0x5E, 0, 0, 1};
  CHECK(taken(kTestMac));
  CHECK(!taken(kBroadcastMac));
  CHECK(!taken(other));
  CHECK(!taken(group));
  f.Out(kRxConfig, 4, kAcceptBroadcast | kAcceptMulticast);
  CHECK(!taken(kTestMac));
  CHECK(taken(kBroadcastMac));
  CHECK(!taken(group));
  const unsigned hash = MulticastHash(MakeFrame(60, 0, group));
  f.Out(kMulticast + (hash & ~31u) / 8, 4, 1u << (hash % 32));
  CHECK(taken(group));
  f.Out(kRxConfig, 4, kAcceptAll);
  CHECK(taken(other));
  f.Out(kCommand, 1, 0);
  CHECK(!taken(other));
}

TEST_CASE("rtl8139: loopback brings frames back", "[rtl8139]") {
  Fixture f;
  f.StartReceiver();
  f.Out(kTxConfig, 4, kLoopbackMask);
  f.memory.Write(GuestPhysical(kTxBuffer), MakeFrame(64));
  f.Out(kTxAddress0, 4, kTxBuffer);
  f.Out(kTxStatus0, 4, 64);
  CHECK(f.network.sent.empty());
  CHECK(f.Status() == (kTxOk | kRxOk));
}

TEST_CASE("rtl8139: the timer counts PCI clocks and interrupts", "[rtl8139]") {
  Fixture f;
  f.StartReceiver();
  f.Out(kTimerCount, 4, 0);
  f.clock.Advance(1'000'000);
  CHECK(f.In(kTimerCount, 4) == 33'000);
  f.Out(kTimerInterrupt, 4, 66'000);
  AdvanceExactly(f.clock, f.timers, 999'999);
  CHECK(f.Status() == 0);
  AdvanceExactly(f.clock, f.timers, 2);
  CHECK(f.Status() == kTimeout);
}

TEST_CASE("rtl8139: no DMA without bus mastering", "[rtl8139]") {
  Fixture f;
  f.StartReceiver();
  f.card.WriteConfig(pci::kCommand, 2, pci::kCommandIo);
  f.Out(kTxStatus0, 4, 60);
  f.network.Arrive(MakeFrame(60));
  CHECK(f.network.sent.empty());
  CHECK(f.Status() == 0);
}

TEST_CASE("rtl8139: a reset keeps the address and drops the rest", "[rtl8139]") {
  Fixture f;
  f.Out(kMac, 4, 0x44332210);
  f.StartReceiver();
  f.network.Arrive(MakeFrame(60, 0, {0x10, 0x22, 0x33, 0x44, 0x34, 0x56}));
  CHECK(f.Status() == kRxOk);
  f.Out(kCommand, 1, kReset);
  CHECK(f.In(kCommand, 1) == kBufferEmpty);
  CHECK(f.In(kMac, 4) == 0x44332210);
  CHECK(f.Status() == 0);
  CHECK(f.In(kInterruptMask, 2) == 0);
  CHECK(!Interrupting(f.card));
  f.card.Reset();
  CHECK(f.In(kMac, 4) == 0x12005452);
}

// --- C+ mode ---

TEST_CASE("rtl8139: C+ sends frames from several descriptors", "[rtl8139]") {
  Fixture f(Rtl8139::Model::kCPlus);
  f.StartCPlus();
  const TestFrame frame = MakeFrame(150);
  f.memory.Write(GuestPhysical(kTxBuffer), std::span(frame).first(100));
  f.memory.Write(GuestPhysical(kTxBuffer + 0x1000), std::span(frame).subspan(100));
  f.Descriptor(kDescriptors, kOwn | kFirst | 100, kTxBuffer);
  f.Descriptor(kDescriptors + 16, kOwn | kLast | kEndOfRing | 50, kTxBuffer + 0x1000);
  f.Out(kTxPoll, 1, kPollNormal);
  REQUIRE(f.network.sent.size() == 1);
  CHECK(f.network.sent[0] == frame);
  CHECK((f.Load<uint32_t>(kDescriptors) & kOwn) == 0);
  CHECK((f.Load<uint32_t>(kDescriptors + 16) & (kOwn | kEndOfRing)) == kEndOfRing);
  CHECK((f.Status() & kTxOk) != 0);
  f.Descriptor(kDescriptors, kOwn | kFirst | kLast | 60, kTxBuffer);  // after the end of the ring its start
  f.Out(kTxPoll, 1, kPollNormal);
  CHECK(f.network.sent.size() == 2);
}

TEST_CASE("rtl8139: C+ receives into descriptors and waits for more of them", "[rtl8139]") {
  Fixture f(Rtl8139::Model::kCPlus);
  f.StartCPlus();
  const uint32_t ring = kDescriptors + 0x1000;
  f.Descriptor(ring, kOwn | kEndOfRing | 1536, kRing);
  const TestFrame frame = MakeFrame(200);
  f.network.Arrive(frame);
  const auto status = f.Load<uint32_t>(ring);
  CHECK((status & (kOwn | kEndOfRing | kFirst | kLast | kRxMine)) == (kEndOfRing | kFirst | kLast | kRxMine));
  CHECK((status & kRxBytesMask) == 204);
  CHECK(f.Bytes(kRing, 200) == frame);
  f.network.Arrive(MakeFrame(200, 1));
  CHECK(f.network.waiting.size() == 1);
  CHECK((f.Status() & kRxOverflow) != 0);
  f.Descriptor(ring, kOwn | kEndOfRing | 1536, kRing);
  AdvanceExactly(f.clock, f.timers, 2'000'000);  // nothing but memory was written
  CHECK(f.network.waiting.empty());
}

TEST_CASE("rtl8139: C+ cuts large segments and fills checksums in", "[rtl8139]") {
  Fixture f(Rtl8139::Model::kCPlus);
  f.StartCPlus();
  constexpr size_t kPayload = 3000, kHeaders = 14 + 20 + 20;
  TestFrame frame(kHeaders + kPayload);
  frame[12] = 0x08, frame[14] = 0x45, frame[16] = (40 + kPayload) >> 8, frame[17] = (40 + kPayload) & 0xFF;
  frame[14 + 9] = 6, frame[34 + 12] = 0x50, frame[34 + 13] = 0x18;
  for (size_t i = kHeaders; i < frame.size(); ++i) frame[i] = static_cast<uint8_t>(i * 7);
  f.memory.Write(GuestPhysical(kTxBuffer), frame);
  const uint32_t status = kOwn | kEndOfRing | kFirst | kLast | kLargeSend | 1400u << kSegmentSizeShift;
  f.Descriptor(kDescriptors, status | static_cast<uint32_t>(frame.size()), kTxBuffer);
  f.Out(kTxPoll, 1, kPollNormal);
  REQUIRE(f.network.sent.size() == 3);
  TestFrame payload;
  for (const TestFrame& sent : f.network.sent) {
    Ipv4Layout layout;
    REQUIRE(FindIpv4(sent, layout));
    CHECK(Ipv4HeaderGood(sent, layout));
    CHECK(TransportGood(sent, layout));
    payload.insert(payload.end(), sent.begin() + kHeaders, sent.begin() + static_cast<ptrdiff_t>(layout.end));
  }
  CHECK(payload == TestFrame(frame.begin() + kHeaders, frame.end()));
  CHECK((f.network.sent[0][34 + 13] & 0x08) == 0);
  CHECK((f.network.sent[2][34 + 13] & 0x08) != 0);
}

TEST_CASE("rtl8139: C+ rings without an end stop", "[rtl8139]") {
  Fixture f(Rtl8139::Model::kCPlus);
  f.StartCPlus();
  for (uint32_t i = 0; i < 200; ++i) f.Descriptor(kDescriptors + 16 * i, kOwn | kFirst | 0xFFFF, kTxBuffer);
  f.Out(kTxPoll, 1, kPollNormal);
  CHECK(f.network.sent.empty());
  f.Out(kTallyAddress + 4, 4, 0);
  f.Out(kTallyAddress, 4, 0x60000 | kDumpTally);
  CHECK((f.In(kTallyAddress, 4) & kDumpTally) == 0);
}

}  // namespace ring3
