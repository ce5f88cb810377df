// Cards in the PCI slots: register accesses, guest memory that the guest fills as it likes, frames from the network,
// answers of the disk and time, in any order. Whatever the rings and descriptors say, every call must end.
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "devices/net/ne2000.h"
#include "devices/net/rtl8139.h"
#include "devices/virtio/virtio_block.h"
#include "devices/virtio/virtio_net.h"
#include "devices/virtio/virtio_rng.h"
#include "tests/fuzz/input.h"

namespace ring3::fuzz {
namespace {

constexpr MacAddress kMac = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};
constexpr uint32_t kRamBytes = 1u << 20;
/// Where inputs put rings and buffers: few places, so that they meet.
constexpr uint32_t kPlaces[] = {0x10000, 0x11000, 0x12000, 0x13000, 0x14000, 0x20000, 0xA0000, 0xFF000};

class Wire final : public NetworkBackend {
 public:
  void Connect(NetworkReceiver& card) override { card_ = &card; }
  void Send(FrameView frame) override { Require(frame.size() <= kLongestFrame, "a frame is too long"); }
  void ReceiveReady() override {
    while (card_ && !waiting_.empty() && card_->ReceiveFrame(waiting_.front())) waiting_.pop_front();
  }
  void Arrive(std::vector<uint8_t> frame) {
    if (waiting_.size() < 8) waiting_.push_back(std::move(frame));
    ReceiveReady();
  }

 private:
  NetworkReceiver* card_ = nullptr;  // not every machine has a card
  std::deque<std::vector<uint8_t>> waiting_;
};

class SlowDisk final : public Disk {
 public:
  uint64_t SizeBytes() const override { return 1u << 20; }
  bool ReadOnly() const override { return false; }
  void Read(uint64_t, Bytes buffer, Done done) override { Keep(std::move(buffer), std::move(done)); }
  void Write(uint64_t, Bytes data, Done done) override { Keep(std::move(data), std::move(done)); }
  void Flush(Done done) override { Keep({}, std::move(done)); }
  void AnswerOne(bool good) {
    if (pending_.empty()) return;
    const auto next = std::move(pending_.front());
    pending_.pop_front();
    next(good ? 0 : EIO);
  }

 private:
  void Keep(Bytes bytes, Done done) {
    pending_.push_back([bytes = std::make_shared<Bytes>(std::move(bytes)), done](int error) { done(error, *bytes); });
  }
  std::deque<std::function<void(int)>> pending_;
};

class Subject {
 public:
  explicit Subject(unsigned kind) : card_(Make(kind)) {
    card_->WriteConfig(pci::kCommand, 2, pci::kCommandIo | pci::kCommandMemory | pci::kCommandMaster);
  }

  void Step(Input& input) {
    switch (input.Below(8)) {
      case 0:
      case 1:
      case 2:
        return Access(input, true);
      case 3:
        return Access(input, false);
      case 4:
        return memory_.Write(GuestPhysical(Place(input)), input.TakeBytes(input.Byte()));
      case 5: {
        std::vector<uint8_t> frame(input.Take<uint16_t>() % 2000u);
        const auto bytes = input.TakeBytes(std::min<size_t>(frame.size(), 32));
        std::copy(bytes.begin(), bytes.end(), frame.begin());
        return wire_.Arrive(std::move(frame));
      }
      case 6:
        disk_.AnswerOne(input.Bit());
        return;
      default:
        clock_.Advance(input.Take<uint16_t>() * 10'000ull);
        timers_.RunExpired(clock_.NowNs());
        if (input.Byte() == 0) card_->Reset();
    }
  }

 private:
  std::unique_ptr<PciDevice> Make(unsigned kind) {
    switch (kind) {
      case 0:
        return std::make_unique<Rtl8139>(clock_, timers_, memory_, wire_, kMac, Rtl8139::Model::kC);
      case 1:
        return std::make_unique<Rtl8139>(clock_, timers_, memory_, wire_, kMac, Rtl8139::Model::kCPlus);
      case 2:
        return std::make_unique<Ne2000>(clock_, timers_, wire_, kMac);
      case 3:
        return std::make_unique<VirtioNet>(memory_, wire_, kMac);
      case 4:
        return std::make_unique<VirtioBlock>(memory_, disk_, "serial");
      default:
        return std::make_unique<VirtioRng>(memory_);
    }
  }

  static uint32_t Place(Input& input) { return kPlaces[input.Below(std::size(kPlaces))] + input.Byte() % 64u * 4; }

  void Access(Input& input, bool write) {
    constexpr unsigned kSizes[] = {1, 2, 4, 4};
    const unsigned size = kSizes[input.Below(4)];
    const unsigned bar = input.Below(3) * 2 % 5;  // 0, 2 or 4
    PortDevice* const ports = card_->BarPorts(0);
    MmioDevice* const memory = card_->BarMemory(bar == 2 ? 1 : 4);
    const uint32_t value = input.Bit() ? Place(input) : input.Take<uint32_t>();
    if (bar != 0 && memory) {
      const GuestPhysical at(input.Take<uint16_t>() % card_->BarBytes(bar == 2 ? 1 : 4) & ~(size - 1));
      write ? memory->WriteMmio(at, size, value) : static_cast<void>(memory->ReadMmio(at, size));
    } else {
      const auto at = static_cast<uint16_t>(input.Byte() % card_->BarBytes(0) & ~(size - 1));
      if (write) return ports->WritePort(at, size, value);
      Require(size == 4 || ports->ReadPort(at, size) >> (8 * size) == 0, "a port gives more bits than were asked for");
    }
  }

  ManualClock clock_{1'000'000'000};
  TimerQueue timers_;
  PhysicalMemory memory_{kRamBytes};
  Wire wire_;
  SlowDisk disk_;
  std::unique_ptr<PciDevice> card_;
};

}  // namespace

void Run(Input input) {
  Subject subject(input.Below(6));
  while (!input.Empty()) subject.Step(input);
}

}  // namespace ring3::fuzz
