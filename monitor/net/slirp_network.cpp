#include "monitor/net/slirp_network.h"

#include <arpa/inet.h>
#include <fmt/core.h>
#include <poll.h>
#include <signal.h>
#include <slirp/libslirp.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "devices/clock.h"
#include "monitor/cpu/fault.h"

namespace ring3 {
namespace {

// While this many frames wait for the guest, no more are read from sockets: TCP's own flow control does the rest.
constexpr size_t kCongestedFrames = 512;
// What is beyond is dropped, as a wire would.
constexpr size_t kMostFrames = 4096;
// A guest that sends faster than the host's sockets take loses frames beyond this.
constexpr size_t kMostSentBytes = 8u << 20;
constexpr uint32_t kForever = UINT32_MAX;
constexpr int64_t kNsPerMs = 1'000'000;
constexpr uint8_t kIpv6PrefixLength = 64;

in_addr Address(uint32_t host_order) { return {htonl(host_order)}; }

short PollEvents(int slirp_events) {
  short events = 0;
  if (slirp_events & SLIRP_POLL_IN) events |= POLLIN;
  if (slirp_events & SLIRP_POLL_OUT) events |= POLLOUT;
  if (slirp_events & SLIRP_POLL_PRI) events |= POLLPRI;
  if (slirp_events & SLIRP_POLL_ERR) events |= POLLERR;
  if (slirp_events & SLIRP_POLL_HUP) events |= POLLHUP;
  return events;
}

int SlirpEvents(short events) {
  int slirp_events = 0;
  if (events & POLLIN) slirp_events |= SLIRP_POLL_IN;
  if (events & POLLOUT) slirp_events |= SLIRP_POLL_OUT;
  if (events & POLLPRI) slirp_events |= SLIRP_POLL_PRI;
  if (events & POLLERR) slirp_events |= SLIRP_POLL_ERR;
  if (events & POLLHUP) slirp_events |= SLIRP_POLL_HUP;
  return slirp_events;
}

int64_t NowMs() { return static_cast<int64_t>(HostClock().NowNs()) / kNsPerMs; }

const char* OrNull(const std::string& text) { return text.empty() ? nullptr : text.c_str(); }

std::string Text(in_addr address) {
  char text[INET_ADDRSTRLEN];
  return inet_ntop(AF_INET, &address, text, sizeof text);
}

}  // namespace

/// What libslirp calls; its `opaque` is the network.
struct SlirpCallbacks {
  static SlirpNetwork& Of(void* opaque) { return *static_cast<SlirpNetwork*>(opaque); }

  static ssize_t SendPacket(const void* data, size_t size, void* opaque) {
    Of(opaque).FrameForGuest({static_cast<const uint8_t*>(data), size});
    return static_cast<ssize_t>(size);
  }
  static void GuestError(const char*, void*) {}
  static int64_t ClockNs(void*) { return static_cast<int64_t>(HostClock().NowNs()); }
  static void* TimerNew(SlirpTimerCb callback, void* callback_opaque, void* opaque) {
    auto* timer = new SlirpNetwork::SlirpTimer{callback, callback_opaque, INT64_MAX};
    Of(opaque).timers_.push_back(timer);
    return timer;
  }
  static void TimerFree(void* timer, void* opaque) {
    std::erase(Of(opaque).timers_, static_cast<SlirpNetwork::SlirpTimer*>(timer));
    delete static_cast<SlirpNetwork::SlirpTimer*>(timer);
  }
  static void TimerModify(void* timer, int64_t deadline_ms, void*) {
    static_cast<SlirpNetwork::SlirpTimer*>(timer)->deadline_ms = deadline_ms;
  }
  static void RegisterFd(int, void*) {}
  static void Notify(void* opaque) { Of(opaque).Wake(); }
  static int AddPoll(int fd, int events, void* opaque) {
    auto& polled = Of(opaque).polled_;
    polled.push_back({fd, PollEvents(events), 0});
    return static_cast<int>(polled.size()) - 1;
  }
  static int PollResult(int index, void* opaque) {
    return SlirpEvents(Of(opaque).polled_[static_cast<size_t>(index)].revents);
  }

  static constexpr SlirpCb kTable = {.send_packet = SendPacket,
                                     .guest_error = GuestError,
                                     .clock_get_ns = ClockNs,
                                     .timer_new = TimerNew,
                                     .timer_free = TimerFree,
                                     .timer_mod = TimerModify,
                                     .register_poll_fd = RegisterFd,
                                     .unregister_poll_fd = RegisterFd,
                                     .notify = Notify};
};

SlirpOptions::SlirpOptions()
    : network(Address(0x0A000200)),
      mask(Address(0xFFFFFF00)),
      host(Address(0x0A000202)),
      dhcp_start(Address(0x0A00020F)),
      name_server(Address(0x0A000203)) {}

SlirpNetwork::SlirpNetwork(const SlirpOptions& options, std::function<void(Work)> post) : post_(std::move(post)) {
  SlirpConfig config = {};
  config.version = 1;
  config.restricted = options.restricted;
  config.in_enabled = options.ipv4;
  config.vnetwork = options.network;
  config.vnetmask = options.mask;
  config.vhost = options.host;
  config.vdhcp_start = options.dhcp_start;
  config.vnameserver = options.name_server;
  config.in6_enabled = options.ipv6;
  inet_pton(AF_INET6, "fec0::", &config.vprefix_addr6);
  inet_pton(AF_INET6, "fec0::2", &config.vhost6);
  inet_pton(AF_INET6, "fec0::3", &config.vnameserver6);
  config.vprefix_len = kIpv6PrefixLength;
  config.vhostname = OrNull(options.hostname);
  config.vdomainname = OrNull(options.domain);
  config.tftp_path = OrNull(options.tftp_folder);
  config.tftp_server_name = OrNull(options.tftp_server_name);
  config.bootfile = OrNull(options.boot_file);
  std::vector<const char*> search;
  for (const std::string& domain : options.dns_search) search.push_back(domain.c_str());
  search.push_back(nullptr);
  if (!options.dns_search.empty()) config.vdnssearch = search.data();
  // Signals are the vCPU thread's business; libslirp may start threads of its own library's.
  wake_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  slirp_ = slirp_new(&config, &SlirpCallbacks::kTable, this);
  if (wake_fd_ < 0 || !slirp_) throw UsageError("--net: the user-mode network refuses this configuration");
  AddForwards(options);
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { ThreadLoop(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void SlirpNetwork::AddForwards(const SlirpOptions& options) {
  for (const HostForward& forward : options.forwards) {
    const in_addr guest = forward.guest_address.s_addr == INADDR_ANY ? options.dhcp_start : forward.guest_address;
    if (slirp_add_hostfwd(slirp_, forward.udp, forward.host_address, forward.host_port, guest, forward.guest_port) == 0)
      continue;
    const int error = errno;
    slirp_cleanup(slirp_);
    close(wake_fd_);
    throw UsageError(fmt::format("cannot forward {} port {} of {} to the guest: {} (choose another port for --hostfwd)",
                                 forward.udp ? "UDP" : "TCP", forward.host_port, Text(forward.host_address),
                                 std::strerror(error)));
  }
}

SlirpNetwork::~SlirpNetwork() {
  stop_ = true;
  const uint64_t one = 1;
  static_cast<void>(!write(wake_fd_, &one, sizeof one));
  thread_.join();
  slirp_cleanup(slirp_);
  close(wake_fd_);
}

// --- the guest's side ---

void SlirpNetwork::Send(FrameView frame) {
  {
    std::lock_guard lock(mutex_);
    if (sent_bytes_ + frame.size() > kMostSentBytes) return;
    sent_.emplace_back(frame.begin(), frame.end());
    sent_bytes_ += frame.size();
  }
  Wake();
}

void SlirpNetwork::ReceiveReady() {
  while (!waiting_.empty() && card_ && card_->ReceiveFrame(waiting_.front())) waiting_.pop_front();
  NoteWaiting();
}

/// The network's thread may have stopped reading from sockets for want of room here.
void SlirpNetwork::NoteWaiting() {
  waiting_count_ = waiting_.size();
  if (congested_ && waiting_.size() < kCongestedFrames) Wake();
}

/// Runs on the vCPU thread.
void SlirpNetwork::Deliver() {
  std::deque<Frame> arrived;
  {
    std::lock_guard lock(mutex_);
    arrived.swap(for_guest_);
    delivery_posted_ = false;
  }
  for (Frame& frame : arrived) {
    if (!waiting_.empty() || !card_ || !card_->ReceiveFrame(frame)) waiting_.push_back(std::move(frame));
  }
  NoteWaiting();
}

// --- the network's thread ---

void SlirpNetwork::Wake() {
  if (!asleep_) return;
  const uint64_t one = 1;
  static_cast<void>(!write(wake_fd_, &one, sizeof one));  // fails only when it is already full of wakes
}

void SlirpNetwork::FrameForGuest(FrameView frame) {
  bool post;
  {
    std::lock_guard lock(mutex_);
    if (for_guest_.size() + waiting_count_ >= kMostFrames) return;
    for_guest_.emplace_back(frame.begin(), frame.end());
    post = !std::exchange(delivery_posted_, true);
  }
  if (post) post_([this] { Deliver(); });
}

bool SlirpNetwork::Congested() {
  std::lock_guard lock(mutex_);
  return for_guest_.size() + waiting_count_ >= kCongestedFrames;
}

void SlirpNetwork::TakeSent() {
  std::vector<Frame> sent;
  {
    std::lock_guard lock(mutex_);
    sent.swap(sent_);
    sent_bytes_ = 0;
  }
  for (const Frame& frame : sent) slirp_input(slirp_, frame.data(), static_cast<int>(frame.size()));
}

void SlirpNetwork::RunTimers() {
  const int64_t now = NowMs();
  const std::vector<SlirpTimer*> timers = timers_;
  for (SlirpTimer* timer : timers) {
    if (timer->deadline_ms > now) continue;
    timer->deadline_ms = INT64_MAX;
    timer->callback(timer->opaque);
  }
}

void SlirpNetwork::Wait() {
  uint32_t timeout_ms = kForever;
  polled_.assign(1, {wake_fd_, POLLIN, 0});
  const bool reading = !Congested();
  congested_ = !reading;
  if (reading) slirp_pollfds_fill(slirp_, &timeout_ms, SlirpCallbacks::AddPoll, this);
  for (const SlirpTimer* timer : timers_) {
    if (timer->deadline_ms == INT64_MAX) continue;
    const int64_t left = std::clamp<int64_t>(timer->deadline_ms - NowMs(), 0, INT32_MAX);
    timeout_ms = std::min(timeout_ms, static_cast<uint32_t>(left));
  }
  asleep_ = true;  // from here on a sender writes to wake_fd_
  bool anything_sent;
  {
    std::lock_guard lock(mutex_);
    anything_sent = !sent_.empty();
  }
  if (anything_sent || stop_ || reading == Congested()) timeout_ms = 0;
  const int timeout = timeout_ms == kForever ? -1 : static_cast<int>(std::min<uint32_t>(timeout_ms, INT32_MAX));
  const int result = poll(polled_.data(), polled_.size(), timeout);
  asleep_ = false;
  uint64_t wakes;
  if (polled_[0].revents) static_cast<void>(!read(wake_fd_, &wakes, sizeof wakes));
  if (reading) slirp_pollfds_poll(slirp_, result < 0 ? 1 : 0, SlirpCallbacks::PollResult, this);
}

void SlirpNetwork::ThreadLoop() {
  while (!stop_) {
    Wait();
    RunTimers();
    TakeSent();
  }
}

}  // namespace ring3
