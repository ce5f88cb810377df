// Threads that leave signals to the vCPU thread.
#pragma once

#include <csignal>
#include <functional>
#include <thread>
#include <utility>

namespace ring3 {

/// Starts a thread with all signals blocked.
inline std::thread StartHostThread(std::function<void()> body) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread thread(std::move(body));
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread;
}

}  // namespace ring3
