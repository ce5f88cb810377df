#include "monitor/control/socket_server.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <system_error>

namespace ring3 {
namespace {

constexpr size_t kMostUnsent = 64u << 20;
constexpr auto kFarewell = std::chrono::seconds(1);  // for clients that read slowly when all ends

void Poke(int event_fd) {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(event_fd, &one, sizeof one);
}

std::shared_ptr<int> MakeEventFd() {
  const int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (fd < 0) throw std::system_error(errno, std::generic_category(), "eventfd");
  return {new int(fd), [](int* owned) {
            close(*owned);
            delete owned;
          }};
}

}  // namespace

std::thread StartQuietThread(std::function<void()> body) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread thread(std::move(body));
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread;
}

class SocketServer::Client final : public Connection {
 public:
  Client(int fd, std::shared_ptr<int> wake) : fd_(fd), wake_(std::move(wake)) {}
  ~Client() override { close(fd_); }

  void Send(std::string_view bytes) override {
    {
      const std::lock_guard lock(mutex_);
      if (closing_ || dropped_) return;
      if (unsent_.size() + bytes.size() > kMostUnsent) {
        dropped_ = true;
      } else {
        unsent_.append(bytes);
      }
    }
    Poke(*wake_);
  }
  void Close() override {
    {
      const std::lock_guard lock(mutex_);
      closing_ = true;
    }
    Poke(*wake_);
  }

  // The server's thread.
  int Fd() const { return fd_; }
  short Waits() {
    const std::lock_guard lock(mutex_);
    return static_cast<short>((closing_ ? 0 : POLLIN) | (unsent_.empty() ? 0 : POLLOUT));
  }
  /// Nothing more is to come from or go to it.
  bool Done() {
    const std::lock_guard lock(mutex_);
    return dropped_ || (closing_ && unsent_.empty());
  }
  void Drop() {
    const std::lock_guard lock(mutex_);
    dropped_ = true;
  }
  bool Flushed() {
    const std::lock_guard lock(mutex_);
    return dropped_ || unsent_.empty();
  }
  void Write() {
    const std::lock_guard lock(mutex_);
    while (!unsent_.empty()) {
      const ssize_t n = send(fd_, unsent_.data(), unsent_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) {
        if (errno != EAGAIN) dropped_ = true;
        return;
      }
      unsent_.erase(0, static_cast<size_t>(n));
    }
  }
  void Read() {
    char bytes[16 * 1024];
    const ssize_t n = recv(fd_, bytes, sizeof bytes, MSG_DONTWAIT);
    if (n > 0) {
      session->Receive({bytes, static_cast<size_t>(n)});
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
      Drop();
    }
  }

  std::unique_ptr<Session> session;

 private:
  const int fd_;
  const std::shared_ptr<int> wake_;
  std::mutex mutex_;
  std::string unsent_;
  bool closing_ = false, dropped_ = false;
};

SocketServer::SocketServer(const SocketAddress& address, const std::string& option, size_t most_clients,
                           Factory factory)
    : address_(address), most_clients_(most_clients), factory_(std::move(factory)), wake_(MakeEventFd()) {
  listener_ = ListenAt(address_, option);
  thread_ = StartQuietThread([this] { Serve(); });
}

SocketServer::~SocketServer() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  Poke(*wake_);
  thread_.join();
  close(listener_);
  if (address_.kind == SocketAddress::Kind::kUnix) unlink(address_.path.c_str());
}

void SocketServer::Serve() {
  for (;;) {
    std::vector<pollfd> polled{{*wake_, POLLIN, 0},
                               {listener_, static_cast<short>(clients_.size() < most_clients_ ? POLLIN : 0), 0}};
    for (const auto& client : clients_) polled.push_back({client->Fd(), client->Waits(), 0});
    if (poll(polled.data(), polled.size(), -1) < 0 && errno != EINTR) break;
    uint64_t pokes;
    [[maybe_unused]] const ssize_t taken = read(*wake_, &pokes, sizeof pokes);
    {
      const std::lock_guard lock(mutex_);
      if (stopping_) break;
    }
    ServeClients(polled);
    if (polled[1].revents & POLLIN) Accept();
  }
  Flush();
  for (const auto& client : clients_) client->session.reset();  // each holds its connection
  clients_.clear();
}

void SocketServer::ServeClients(const std::vector<pollfd>& polled) {
  constexpr size_t kFirstClient = 2;
  for (size_t i = kFirstClient; i < polled.size(); ++i) {
    Client& client = *clients_[i - kFirstClient];
    const short happened = polled[i].revents;
    if (happened & (POLLIN | POLLHUP | POLLERR)) client.Read();
    client.Write();
  }
  for (const auto& client : clients_) {
    if (client->Done()) client->session.reset();  // while the connection still exists
  }
  std::erase_if(clients_, [](const auto& client) { return client->session == nullptr; });
}

void SocketServer::Accept() {
  const int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd < 0) return;
  auto client = std::make_shared<Client>(fd, wake_);
  client->session = factory_(client);
  clients_.push_back(std::move(client));
}

/// The last answers go out.
void SocketServer::Flush() {
  const auto end = std::chrono::steady_clock::now() + kFarewell;
  while (std::chrono::steady_clock::now() < end) {
    std::vector<pollfd> waiting;
    for (const auto& client : clients_) {
      client->Write();
      if (!client->Flushed()) waiting.push_back({client->Fd(), POLLOUT, 0});
    }
    if (waiting.empty()) return;
    poll(waiting.data(), waiting.size(), 50);
  }
}

}  // namespace ring3
