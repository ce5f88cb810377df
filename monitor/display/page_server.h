// Serves noVNC's pages to browsers: static files over HTTP/1.0 (RFC 1945), GET only.
#pragma once

#include <netinet/in.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <list>
#include <string>
#include <thread>

namespace ring3 {

class PageServer {
 public:
  /// Serves the files below `folder`; "/" leads to `start`. `address` is in network byte order. Listening() is false
  /// where the port cannot be had.
  PageServer(std::string folder, std::string start, in_addr_t address, uint16_t port);
  ~PageServer();
  PageServer(const PageServer&) = delete;

  bool Listening() const { return listener_ >= 0; }

  /// The answer to a request's first line: header and content. For tests, too.
  std::string Answer(const std::string& request_line) const;

 private:
  using Time = std::chrono::steady_clock::time_point;
  struct Connection {
    int fd;
    Time deadline;  // then it is dropped
    std::string in, out;
    size_t sent = 0;
  };

  void Run();
  void Accept();
  /// False when it is over.
  bool Serve(Connection& connection) const;

  const std::string folder_, start_;
  int listener_ = -1;
  int stop_pipe_[2] = {-1, -1};
  std::list<Connection> connections_;
  std::thread thread_;
};

}  // namespace ring3
