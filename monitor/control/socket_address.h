// Where a control socket listens, in QEMU's spelling: unix:PATH or tcp:HOST:PORT, with options behind commas.
#pragma once

#include <cstdint>
#include <string>

namespace ring3 {

struct SocketAddress {
  enum class Kind : uint8_t { kUnix, kTcp };
  Kind kind = Kind::kUnix;
  std::string path;        // kUnix
  std::string host, port;  // kTcp; no host: the loopback address
  bool wait = false;       // the guest starts when the first client is there

  std::string ToString() const;
};

/// "unix:PATH[,server=on][,wait=on|off]", "tcp:[HOST]:PORT[,...]"; also ",server", ",nowait". With `bare_path`, text
/// without a kind is a path. Throws UsageError naming `option`.
SocketAddress ParseSocketAddress(const std::string& text, const std::string& option, bool bare_path = false);

/// A socket that listens there, non-blocking. A Unix socket that nobody listens on any more is replaced. Throws
/// UsageError where the address is in use or cannot be had, naming `option`.
int ListenAt(const SocketAddress& address, const std::string& option);
/// A blocking socket connected to a listener there. Throws UsageError.
int ConnectTo(const SocketAddress& address, const std::string& option);

}  // namespace ring3
