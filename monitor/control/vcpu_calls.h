// Calls from other threads that wait for their result: the work is done by the vCPU thread, between two instructions.
#pragma once

#include <condition_variable>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <type_traits>
#include <utility>

#include "devices/mailbox.h"

namespace ring3 {

class VcpuCalls {
 public:
  explicit VcpuCalls(Mailbox& mailbox) : mailbox_(mailbox) {}
  VcpuCalls(const VcpuCalls&) = delete;

  /// Not the vCPU thread. What `work` returns or throws; after Close() it is done by the caller's own thread.
  template <class Work>
  auto Call(Work work) -> std::invoke_result_t<Work> {
    using Result = std::invoke_result_t<Work>;
    if constexpr (std::is_void_v<Result>) {
      Perform(work);
    } else {
      std::optional<Result> result;
      Perform([&] { result.emplace(work()); });
      return std::move(*result);
    }
  }
  /// The same without waiting.
  void Post(std::function<void()> work) {
    const std::lock_guard lock(mutex_);
    if (!closed_) mailbox_.Post(std::move(work));
  }

  /// vCPU thread, when it will not run the mailbox any more: nobody waits for it from here on.
  void Close() {
    {
      const std::lock_guard lock(mutex_);
      closed_ = true;
    }
    const std::lock_guard turn(turn_);
    mailbox_.Run();
  }

 private:
  struct Waiter {
    std::mutex mutex;
    std::condition_variable changed;
    bool done = false;
    std::exception_ptr thrown;
  };

  void Perform(const std::function<void()>& work) {
    const auto waiter = std::make_shared<Waiter>();
    {
      std::unique_lock lock(mutex_);
      if (closed_) {
        lock.unlock();
        const std::lock_guard turn(turn_);
        return work();
      }
      mailbox_.Post([waiter, &work] { Finish(*waiter, work); });
    }
    std::unique_lock lock(waiter->mutex);
    waiter->changed.wait(lock, [&] { return waiter->done; });
    if (waiter->thrown) std::rethrow_exception(waiter->thrown);
  }

  static void Finish(Waiter& waiter, const std::function<void()>& work) {
    std::exception_ptr thrown;
    try {
      work();
    } catch (...) {
      thrown = std::current_exception();
    }
    const std::lock_guard lock(waiter.mutex);
    waiter.thrown = thrown;
    waiter.done = true;
    waiter.changed.notify_all();
  }

  Mailbox& mailbox_;
  std::mutex mutex_, turn_;
  bool closed_ = false;
};

}  // namespace ring3
