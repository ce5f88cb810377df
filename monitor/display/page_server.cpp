#include "monitor/display/page_server.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <iterator>
#include <vector>

#include "monitor/display/host_thread.h"

namespace ring3 {
namespace {

constexpr size_t kMostConnections = 32, kMostRequest = 8192;
constexpr uint64_t kMostFile = 16u << 20;
constexpr std::chrono::seconds kPatience{10};

struct ContentType {
  const char* ending;
  const char* type;
};
constexpr ContentType kTypes[] = {{".html", "text/html; charset=utf-8"},
                                  {".js", "text/javascript; charset=utf-8"},
                                  {".css", "text/css; charset=utf-8"},
                                  {".json", "application/json"},
                                  {".svg", "image/svg+xml"},
                                  {".png", "image/png"},
                                  {".ico", "image/x-icon"},
                                  {".woff", "font/woff"},
                                  {".ttf", "font/ttf"},
                                  {".mp3", "audio/mpeg"},
                                  {".oga", "audio/ogg"}};

const char* TypeOf(const std::string& path) {
  for (const ContentType& row : kTypes) {
    if (path.ends_with(row.ending)) return row.type;
  }
  return "application/octet-stream";
}

std::string Reply(const char* status, const std::string& headers, const std::string& content) {
  return fmt::format("HTTP/1.0 {}\r\n{}Content-Length: {}\r\nConnection: close\r\n\r\n{}", status, headers,
                     content.size(), content);
}

std::string Refusal(const char* status) {
  return Reply(status, "Content-Type: text/plain\r\n", fmt::format("{}\n", status));
}

/// What a browser asks for, without parameters; empty where it leads out of the folder.
std::string PathOf(const std::string& request_line) {
  const size_t begin = request_line.find(' ') + 1;
  const size_t end = std::min(request_line.find_first_of(" ?#", begin), request_line.size());
  const std::string path = request_line.substr(begin, end - begin);
  if (!path.starts_with('/') || path.find("..") != std::string::npos || path.find('\0') != std::string::npos) return "";
  return path;
}

}  // namespace

PageServer::PageServer(std::string folder, std::string start, in_addr_t address, uint16_t port)
    : folder_(std::move(folder)), start_(std::move(start)) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return;
  const int yes = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  sockaddr_in at = {};
  at.sin_family = AF_INET;
  at.sin_port = htons(port);
  at.sin_addr.s_addr = address;
  const bool ready = bind(fd, reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0 &&
                     listen(fd, static_cast<int>(kMostConnections)) == 0 && pipe2(stop_pipe_, O_CLOEXEC) == 0;
  if (!ready) {
    close(fd);
    return;
  }
  listener_ = fd;
  thread_ = StartHostThread([this] { Run(); });
}

PageServer::~PageServer() {
  if (!Listening()) return;
  close(stop_pipe_[1]);
  thread_.join();
  close(stop_pipe_[0]);
  close(listener_);
  for (const Connection& connection : connections_) close(connection.fd);
}

void PageServer::Run() {
  for (;;) {
    std::vector<pollfd> waits = {{stop_pipe_[0], POLLIN, 0}, {listener_, POLLIN, 0}};
    for (const Connection& c : connections_) waits.push_back({c.fd, short(c.out.empty() ? POLLIN : POLLOUT), 0});
    const int timeout_ms = connections_.empty() ? -1 : 1000;
    if (poll(waits.data(), waits.size(), timeout_ms) < 0 && errno != EINTR) return;
    if (waits[0].revents) return;
    const Time now = std::chrono::steady_clock::now();
    auto wait = waits.begin() + 2;
    for (auto c = connections_.begin(); c != connections_.end(); ++wait) {
      const bool over = c->deadline < now || (wait->revents && !Serve(*c));
      if (over) close(c->fd);
      c = over ? connections_.erase(c) : std::next(c);
    }
    if (waits[1].revents) Accept();
  }
}

void PageServer::Accept() {
  const int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd < 0) return;
  if (connections_.size() >= kMostConnections) {
    close(fd);
    return;
  }
  connections_.push_back({fd, std::chrono::steady_clock::now() + kPatience, {}, {}});
}

bool PageServer::Serve(Connection& c) const {
  if (!c.out.empty()) {
    const ssize_t n = send(c.fd, c.out.data() + c.sent, c.out.size() - c.sent, MSG_NOSIGNAL);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    c.sent += static_cast<size_t>(n);
    c.deadline = std::chrono::steady_clock::now() + kPatience;
    return c.sent < c.out.size();
  }
  char bytes[1024];
  const ssize_t n = recv(c.fd, bytes, sizeof bytes, 0);
  if (n < 0) return errno == EAGAIN || errno == EINTR;
  if (n == 0) return false;
  c.in.append(bytes, static_cast<size_t>(n));
  if (c.in.find("\r\n\r\n") != std::string::npos) {
    c.out = Answer(c.in.substr(0, c.in.find("\r\n")));
  } else if (c.in.size() > kMostRequest) {
    c.out = Refusal("400 Bad Request");
  }
  return true;
}

std::string PageServer::Answer(const std::string& request_line) const {
  if (!request_line.starts_with("GET ")) return Refusal("501 Not Implemented");
  const std::string path = PathOf(request_line);
  if (path.empty()) return Refusal("403 Forbidden");
  if (path == "/") return Reply("302 Found", fmt::format("Location: {}\r\n", start_), "");
  const std::string file_path = folder_ + path;
  struct stat status;
  if (stat(file_path.c_str(), &status) != 0 || !S_ISREG(status.st_mode) ||
      static_cast<uint64_t>(status.st_size) > kMostFile) {
    return Refusal("404 Not Found");
  }
  std::ifstream file(file_path, std::ios::binary);
  if (!file) return Refusal("404 Not Found");
  const std::string content{std::istreambuf_iterator<char>(file), {}};
  return Reply("200 OK", fmt::format("Content-Type: {}\r\n", TypeOf(path)), content);
}

}  // namespace ring3
