// The disk on virtio.
#include "devices/virtio/virtio_block.h"

#include <catch2/catch.hpp>
#include <deque>

#include "tests/net/virtio_driver.h"

namespace ring3 {
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
