#include "devices/mailbox.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <thread>

namespace ring3 {

TEST_CASE("mailbox: works run in order, on the thread that runs the box", "[mailbox]") {
  std::atomic<unsigned> wakes = 0;
  Mailbox box([&] { ++wakes; });
  std::vector<int> order;
  std::thread poster([&] {
    for (int i = 0; i < 100; ++i) box.Post([&order, i] { order.push_back(i); });
  });
  poster.join();
  CHECK(wakes == 100);
  CHECK(order.empty());
  box.Run();
  REQUIRE(order.size() == 100);
  for (int i = 0; i < 100; ++i) CHECK(order[static_cast<size_t>(i)] == i);
  box.Run();
  CHECK(order.size() == 100);
}

TEST_CASE("mailbox: a work may post another, which waits for the next run", "[mailbox]") {
  unsigned wakes = 0, ran = 0;
  Mailbox box([&] { ++wakes; });
  box.Post([&] { box.Post([&] { ++ran; }); });
  box.Run();
  CHECK(wakes == 2);
  CHECK(ran == 0);
  box.Run();
  CHECK(ran == 1);
}

TEST_CASE("mailbox: posts from several threads while it runs are all executed once", "[mailbox]") {
  Mailbox box([] {});
  std::atomic<bool> done = false;
  unsigned ran = 0;
  std::vector<std::thread> posters;
  for (int t = 0; t < 4; ++t) {
    posters.emplace_back([&] {
      for (int i = 0; i < 1000; ++i) box.Post([&ran] { ++ran; });
    });
  }
  std::thread ender([&] {
    for (std::thread& poster : posters) poster.join();
    done = true;
  });
  while (!done) box.Run();
  ender.join();
  box.Run();
  CHECK(ran == 4000);
}

}  // namespace ring3
