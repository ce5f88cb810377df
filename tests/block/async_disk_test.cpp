#include "devices/block/async_disk.h"

#include <catch2/catch.hpp>
#include <cerrno>
#include <chrono>
#include <thread>

#include "devices/block/open_image.h"
#include "tests/block/temporary_folder.h"

namespace ring3 {
namespace {

struct Fixture {
  TemporaryFolder folder;
  Mailbox mailbox{[] {}};
  std::string path = folder.Write("a.raw", Bytes(1 << 20));

  std::unique_ptr<AsyncDisk> Open(bool read_only = false) {
    return std::make_unique<AsyncDisk>(OpenImage({.file = path, .format = ImageFormat::kRaw, .read_only = read_only}),
                                       "hda", mailbox);
  }
  template <class Condition>
  void RunUntil(Condition condition) {
    while (!condition()) {
      mailbox.Run();
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
  }
};

}  // namespace

TEST_CASE("disk: requests are carried out and answered in order", "[disk]") {
  Fixture f;
  const auto disk = f.Open();
  std::vector<int> order;
  for (int i = 0; i < 100; ++i) {
    disk->Write(4096, Bytes(512, static_cast<uint8_t>(i)), [&order, i](int error, Bytes) {
      CHECK(error == 0);
      order.push_back(2 * i);
    });
    disk->Read(4096, Bytes(512), [&order, i](int error, Bytes bytes) {
      CHECK(error == 0);
      CHECK(bytes == Bytes(512, static_cast<uint8_t>(i)));
      order.push_back(2 * i + 1);
    });
  }
  bool flushed = false;
  disk->Flush([&flushed](int error, Bytes) { flushed = error == 0; });
  CHECK(order.empty());
  f.RunUntil([&] { return flushed; });
  REQUIRE(order.size() == 200);
  CHECK(std::is_sorted(order.begin(), order.end()));
}

TEST_CASE("disk: errors are answered, not thrown", "[disk]") {
  Fixture f;
  const auto disk = f.Open(true);
  std::vector<int> errors;
  const auto note = [&errors](int error, Bytes) { errors.push_back(error); };
  disk->Write(0, Bytes(512), note);
  disk->Read(1 << 20, Bytes(512), note);
  disk->Flush(note);
  f.RunUntil([&] { return errors.size() == 3; });
  CHECK(errors == std::vector{EROFS, EIO, 0});
}

TEST_CASE("disk: what was asked for is written before it goes", "[disk]") {
  Fixture f;
  {
    const auto disk = f.Open();
    for (int i = 0; i < 50; ++i) disk->Write(512u * static_cast<unsigned>(i), Bytes(512, 7), [](int, Bytes) {});
  }
  const auto image = OpenImage({.file = f.path, .format = ImageFormat::kRaw, .read_only = true});
  Bytes bytes(50 * 512);
  image->Read(0, bytes);
  CHECK(bytes == Bytes(50 * 512, 7));
}

}  // namespace ring3
