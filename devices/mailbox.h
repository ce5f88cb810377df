// Work that other threads hand to the vCPU thread, which alone touches devices and guest memory.
#pragma once

#include <functional>
#include <mutex>
#include <utility>
#include <vector>

namespace ring3 {

class Mailbox {
 public:
  /// `wake` is called on the posting thread after each Post(): it makes the vCPU thread call Run() soon.
  explicit Mailbox(std::function<void()> wake) : wake_(std::move(wake)) {}
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  /// Any thread; never waits for the vCPU thread. Works run in the order in which they were posted. One that is
  /// posted after the last Run() is destroyed with the mailbox, unexecuted.
  void Post(std::function<void()> work) {
    {
      const std::lock_guard lock(mutex_);
      waiting_.push_back(std::move(work));
    }
    wake_();
  }

  /// vCPU thread, between two instructions. Works that are posted meanwhile wait for the next call.
  void Run() {
    std::vector<std::function<void()>> batch;
    {
      const std::lock_guard lock(mutex_);
      batch.swap(waiting_);
    }
    for (const std::function<void()>& work : batch) work();
  }

 private:
  const std::function<void()> wake_;
  std::mutex mutex_;
  std::vector<std::function<void()>> waiting_;
};

}  // namespace ring3
