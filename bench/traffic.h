// The other end of the network rows: a server on this host that sends and takes bytes as fast as it can.
#pragma once

#include <cstdint>
#include <thread>

namespace ring3::bench {

/// Serves one client after the other on a port of 127.0.0.1. A request that begins with "GET " is answered as HTTP with
/// kDownloadBytes zeros; whatever else comes is read to its end and answered with its length and a line end.
class TrafficServer {
 public:
  static constexpr uint64_t kDownloadBytes = 32u << 20;

  /// Throws UsageError where there is no port.
  TrafficServer();
  ~TrafficServer();
  TrafficServer(const TrafficServer&) = delete;

  uint16_t Port() const { return port_; }

 private:
  void Serve() const;

  int listener_ = -1;
  uint16_t port_ = 0;
  std::thread thread_;
};

}  // namespace ring3::bench
