// Clients of one listening socket, served by a thread of its own. What a client means is its Session's business.
#pragma once

#include <poll.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "monitor/control/socket_address.h"

namespace ring3 {

/// The way back to a client. Any thread.
class Connection {
 public:
  virtual ~Connection() = default;
  /// Queues bytes. A client that does not read them is dropped when too much waits.
  virtual void Send(std::string_view bytes) = 0;
  /// Ends the connection when what was queued has been sent.
  virtual void Close() = 0;
};

/// One client's conversation. Made, called and destroyed by the server's thread.
class Session {
 public:
  virtual ~Session() = default;
  virtual void Receive(std::string_view bytes) = 0;
};

class SocketServer {
 public:
  using Factory = std::function<std::unique_ptr<Session>(std::shared_ptr<Connection>)>;

  /// Listens, and serves `most_clients` at a time; others wait in line. Throws UsageError naming `option`.
  SocketServer(const SocketAddress& address, const std::string& option, size_t most_clients, Factory factory);
  /// Sends what is queued, as far as clients read it, and ends all sessions.
  ~SocketServer();
  SocketServer(const SocketServer&) = delete;

 private:
  class Client;

  void Serve();
  void Accept();
  void ServeClients(const std::vector<pollfd>& polled);
  void Flush();

  const SocketAddress address_;
  const size_t most_clients_;
  const Factory factory_;
  int listener_ = -1;
  std::shared_ptr<int> wake_;  // an eventfd
  bool stopping_ = false;
  std::mutex mutex_;  // of stopping_
  std::vector<std::shared_ptr<Client>> clients_;
  std::thread thread_;
};

/// Starts a thread that blocks all signals: they are the vCPU thread's business.
std::thread StartQuietThread(std::function<void()> body);

}  // namespace ring3
