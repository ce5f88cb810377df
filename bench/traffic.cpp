#include "bench/traffic.h"

#include <arpa/inet.h>
#include <fmt/core.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <vector>

#include "monitor/cpu/fault.h"

namespace ring3::bench {
namespace {

constexpr size_t kPiece = 256u << 10;

bool Send(int client, const char* bytes, size_t count) {
  while (count != 0) {
    const ssize_t sent = send(client, bytes, count, MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes += sent;
    count -= static_cast<size_t>(sent);
  }
  return true;
}

void SendDownload(int client, std::vector<char>& buffer) {
  const std::string head = fmt::format("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n", TrafficServer::kDownloadBytes);
  if (!Send(client, head.data(), head.size())) return;
  std::fill(buffer.begin(), buffer.end(), '\0');
  for (uint64_t left = TrafficServer::kDownloadBytes; left != 0;) {
    const auto piece = static_cast<size_t>(std::min<uint64_t>(left, buffer.size()));
    if (!Send(client, buffer.data(), piece)) return;
    left -= piece;
  }
}

/// What a client that sends rubbish or stops in the middle may do is fail.
void Answer(int client) {
  std::vector<char> buffer(kPiece);
  ssize_t got = recv(client, buffer.data(), buffer.size(), 0);
  if (got >= 4 && std::string_view(buffer.data(), 4) == "GET ") return SendDownload(client, buffer);
  uint64_t count = 0;
  for (; got > 0; got = recv(client, buffer.data(), buffer.size(), 0)) count += static_cast<uint64_t>(got);
  const std::string answer = fmt::format("{}\n", count);
  Send(client, answer.data(), answer.size());
}

}  // namespace

TrafficServer::TrafficServer() {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (listener_ < 0 || bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      listen(listener_, 1) != 0 || getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length) != 0)
    throw UsageError(fmt::format("bench: no port for the network rows: {}", std::strerror(errno)));
  port_ = ntohs(address.sin_port);
  thread_ = std::thread([this] { Serve(); });
}

TrafficServer::~TrafficServer() {
  shutdown(listener_, SHUT_RDWR);  // ends the accept
  thread_.join();
  close(listener_);
}

void TrafficServer::Serve() const {
  for (;;) {
    const int client = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (client < 0) return;
    Answer(client);
    shutdown(client, SHUT_WR);
    close(client);
  }
}

}  // namespace ring3::bench
