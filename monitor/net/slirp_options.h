// How the user-mode network is set up.
#pragma once

#include <netinet/in.h>

#include <cstdint>
#include <string>
#include <vector>

namespace ring3 {

/// A port of the host whose connections go to the guest. Addresses in network byte order; ports in the host's.
struct HostForward {
  bool udp = false;
  in_addr host_address{INADDR_ANY};
  uint16_t host_port = 0;
  in_addr guest_address{INADDR_ANY};  // unset: the first address that DHCP gives
  uint16_t guest_port = 0;
};

/// Addresses are in network byte order.
struct SlirpOptions {
  bool restricted = false;  // the guest reaches nothing but the virtual servers and what is forwarded
  bool ipv4 = true, ipv6 = true;
  in_addr network, mask, host, dhcp_start, name_server;
  std::string hostname, domain, tftp_folder, tftp_server_name, boot_file;  // empty: none
  std::vector<std::string> dns_search;
  std::vector<HostForward> forwards;

  /// 10.0.2.0/24, host .2, name server .3, DHCP from .15.
  SlirpOptions();
};

}  // namespace ring3
