// The user-mode network: libslirp on a thread of its own. The guest finds a gateway that is the host (10.0.2.2), a name
// server (10.0.2.3) and DHCP; its connections are sockets of this process, so no privilege is needed.
#pragma once

#include <poll.h>

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "devices/net/network.h"
#include "monitor/net/slirp_options.h"

struct Slirp;

namespace ring3 {

class SlirpNetwork final : public NetworkBackend {
 public:
  using Work = std::function<void()>;

  /// `post`, called on the network's thread, has the work done on the vCPU thread. Throws UsageError when a host port
  /// is in use or the configuration contradicts itself.
  SlirpNetwork(const SlirpOptions& options, std::function<void(Work)> post);
  /// Work that was posted must not run any more.
  ~SlirpNetwork() override;
  SlirpNetwork(const SlirpNetwork&) = delete;

  void Connect(NetworkReceiver& card) override { card_ = &card; }
  void Send(FrameView frame) override;
  void ReceiveReady() override;

 private:
  friend struct SlirpCallbacks;
  using Frame = std::vector<uint8_t>;
  struct SlirpTimer {
    void (*callback)(void*);
    void* opaque;
    int64_t deadline_ms;
  };

  void AddForwards(const SlirpOptions& options);
  void ThreadLoop();
  void Wait();
  void RunTimers();
  void TakeSent();
  bool Congested();
  void FrameForGuest(FrameView frame);
  void Deliver();
  void NoteWaiting();
  void Wake();

  const std::function<void(Work)> post_;
  NetworkReceiver* card_ = nullptr;
  Slirp* slirp_ = nullptr;
  int wake_fd_ = -1;
  std::vector<SlirpTimer*> timers_;  // network thread
  std::vector<pollfd> polled_;       // network thread
  std::mutex mutex_;                 // guards the next four
  std::vector<Frame> sent_;          // by the guest
  size_t sent_bytes_ = 0;
  std::deque<Frame> for_guest_;
  bool delivery_posted_ = false;
  std::deque<Frame> waiting_;  // vCPU thread: the card has no room for the first
  std::atomic<size_t> waiting_count_{0};
  std::atomic<bool> asleep_{false}, congested_{false}, stop_{false};
  std::thread thread_;
};

}  // namespace ring3
