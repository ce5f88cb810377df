#include "monitor/control/socket_address.h"

#include <fmt/core.h>
#include <netdb.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "monitor/cpu/fault.h"
#include "monitor/numbers.h"

namespace ring3 {
namespace {

constexpr int kBacklog = 16;

[[noreturn]] void Refuse(const std::string& option, const SocketAddress& address, const std::string& why) {
  throw UsageError(fmt::format("{} {}: {}", option, address.ToString(), why));
}

void ParseSwitch(const std::string& item, const std::string& option, SocketAddress& address) {
  if (item == "server" || item == "server=on" || item == "wait=off" || item == "nowait" || item == "nodelay" ||
      item == "nodelay=on") {
    return;
  }
  if (item == "wait=on" || item == "wait") {
    address.wait = true;
    return;
  }
  if (item == "server=off") throw UsageError(fmt::format("{}: ring3 listens (server=on); it does not connect", option));
  throw UsageError(fmt::format("{}: there is no '{}' (server=on, wait=on|off)", option, item));
}

sockaddr_un UnixName(const SocketAddress& address, const std::string& option) {
  sockaddr_un name = {};
  name.sun_family = AF_UNIX;
  if (address.path.size() >= sizeof name.sun_path) Refuse(option, address, "the path is too long for a Unix socket");
  std::memcpy(name.sun_path, address.path.data(), address.path.size());
  return name;
}

bool SomebodyListens(const sockaddr_un& name) {
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const bool connected = fd >= 0 && connect(fd, reinterpret_cast<const sockaddr*>(&name), sizeof name) == 0;
  if (fd >= 0) close(fd);
  return connected;
}

int ListenUnix(const SocketAddress& address, const std::string& option) {
  const sockaddr_un name = UnixName(address, option);
  struct stat status;
  if (lstat(name.sun_path, &status) == 0) {
    if (!S_ISSOCK(status.st_mode)) Refuse(option, address, "a file of that name exists, and is no socket");
    if (SomebodyListens(name)) Refuse(option, address, "in use: another program listens there");
    unlink(name.sun_path);
  }
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0 || bind(fd, reinterpret_cast<const sockaddr*>(&name), sizeof name) != 0 || listen(fd, kBacklog) != 0) {
    const int error = errno;
    if (fd >= 0) close(fd);
    Refuse(option, address, std::strerror(error));
  }
  return fd;
}

using AddressList = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

AddressList Resolve(const SocketAddress& address, const std::string& option, int flags) {
  addrinfo hints = {};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags;
  addrinfo* found = nullptr;
  const char* host = address.host.empty() ? "127.0.0.1" : address.host.c_str();
  const int error = getaddrinfo(host, address.port.c_str(), &hints, &found);
  if (error) Refuse(option, address, gai_strerror(error));
  return {found, freeaddrinfo};
}

int ListenTcp(const SocketAddress& address, const std::string& option) {
  const AddressList list = Resolve(address, option, AI_PASSIVE);
  int error = 0;
  for (const addrinfo* at = list.get(); at; at = at->ai_next) {
    const int fd = socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, at->ai_protocol);
    const int on = 1;
    if (fd >= 0) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (fd >= 0 && bind(fd, at->ai_addr, at->ai_addrlen) == 0 && listen(fd, kBacklog) == 0) return fd;
    error = errno;
    if (fd >= 0) close(fd);
  }
  Refuse(option, address, error == EADDRINUSE ? "the port is in use; choose another" : std::strerror(error));
}

}  // namespace

std::string SocketAddress::ToString() const {
  return kind == Kind::kUnix ? "unix:" + path : fmt::format("tcp:{}:{}", host, port);
}

SocketAddress ParseSocketAddress(const std::string& text, const std::string& option, bool bare_path) {
  SocketAddress address;
  size_t comma = text.find(',');
  const std::string place = text.substr(0, comma);
  if (place.starts_with("unix:")) {
    address.path = place.substr(5);
  } else if (place.starts_with("tcp:")) {
    address.kind = SocketAddress::Kind::kTcp;
    const size_t colon = place.rfind(':');
    address.port = place.substr(colon + 1);
    if (colon > 4) address.host = place.substr(4, colon - 4);
    if (address.host.starts_with('[') && address.host.ends_with(']')) {  // an IPv6 address
      address.host = address.host.substr(1, address.host.size() - 2);
    }
    if (colon < 4 || address.port.empty()) {
      throw UsageError(fmt::format("{} {}: say tcp:HOST:PORT, or tcp::PORT for this machine only", option, text));
    }
    if (ParseDigits(address.port).value_or(0xFFFF) > 0xFFFF)
      throw UsageError(fmt::format("{} {}: the port is 1 to 65535", option, text));
  } else if (bare_path) {
    address.path = place;
  } else {
    throw UsageError(fmt::format("{} {}: say unix:PATH or tcp:HOST:PORT", option, text));
  }
  if (address.kind == SocketAddress::Kind::kUnix && address.path.empty()) {
    throw UsageError(fmt::format("{} {}: the path is missing", option, text));
  }
  while (comma != std::string::npos) {
    const size_t next = text.find(',', comma + 1);
    const size_t length = next == std::string::npos ? next : next - comma - 1;
    ParseSwitch(text.substr(comma + 1, length), option, address);
    comma = next;
  }
  return address;
}

int ListenAt(const SocketAddress& address, const std::string& option) {
  return address.kind == SocketAddress::Kind::kUnix ? ListenUnix(address, option) : ListenTcp(address, option);
}

int ConnectTo(const SocketAddress& address, const std::string& option) {
  if (address.kind == SocketAddress::Kind::kUnix) {
    const sockaddr_un name = UnixName(address, option);
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, reinterpret_cast<const sockaddr*>(&name), sizeof name) == 0) return fd;
    const int error = errno;
    if (fd >= 0) close(fd);
    Refuse(option, address, fmt::format("nobody answers there: {}", std::strerror(error)));
  }
  int error = 0;
  const AddressList list = Resolve(address, option, 0);
  for (const addrinfo* at = list.get(); at; at = at->ai_next) {
    const int fd = socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC, at->ai_protocol);
    if (fd >= 0 && connect(fd, at->ai_addr, at->ai_addrlen) == 0) return fd;
    error = errno;
    if (fd >= 0) close(fd);
  }
  Refuse(option, address, fmt::format("nobody answers there: {}", std::strerror(error)));
}

}  // namespace ring3
