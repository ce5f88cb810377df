#include "monitor/options_slirp.h"

#include <arpa/inet.h>
#include <fmt/core.h>

#include <filesystem>

#include "monitor/cpu/fault.h"
#include "monitor/numbers.h"

namespace ring3 {
namespace {

in_addr ParseAddress(const Properties& properties, const std::string& text) {
  in_addr address;
  if (inet_pton(AF_INET, text.c_str(), &address) != 1) properties.Refuse(fmt::format("'{}' is no IPv4 address", text));
  return address;
}

uint16_t ParsePort(const std::string& what, const std::string& text, bool may_be_zero) {
  const auto port = ParseDigits(text);
  if (!port || *port > 0xFFFF || (*port == 0 && !may_be_zero))
    throw UsageError(fmt::format("hostfwd {}: '{}' is no port", what, text));
  return static_cast<uint16_t>(*port);
}

/// "10.0.2.0/24", "10.0.2.0/255.255.255.0" or, with a mask by class, "10.0.2.0".
void ParseNetwork(const Properties& properties, const std::string& text, SlirpOptions& slirp) {
  const size_t slash = text.find('/');
  const in_addr network = ParseAddress(properties, text.substr(0, slash));
  uint32_t mask = 0xFFFFFF00;
  if (slash != std::string::npos) {
    const std::string given = text.substr(slash + 1);
    const uint64_t bits = ParseDigits(given).value_or(0);
    if (bits >= 4 && bits <= 30) {
      mask = ~0u << (32 - bits);
    } else {
      mask = ntohl(ParseAddress(properties, given).s_addr);
    }
  }
  const uint32_t base = ntohl(network.s_addr) & mask;
  slirp.network = {htonl(base)};
  slirp.mask = {htonl(mask)};
  slirp.host = {htonl(base | 2)};
  slirp.name_server = {htonl(base | 3)};
  slirp.dhcp_start = {htonl(base | 15)};
}

}  // namespace

HostForward ParseForward(const std::string& text) {
  const Properties where("hostfwd", text);
  const auto complain = [&text] { throw UsageError(fmt::format("hostfwd '{}': write it like tcp::2222-:22", text)); };
  HostForward forward;
  const size_t first = text.find(':');
  const size_t second = first == std::string::npos ? first : text.find(':', first + 1);
  const size_t dash = second == std::string::npos ? second : text.find('-', second + 1);
  const size_t last = dash == std::string::npos ? dash : text.find(':', dash + 1);
  if (last == std::string::npos) complain();
  const std::string protocol = text.substr(0, first);
  if (protocol != "tcp" && protocol != "udp" && !protocol.empty()) complain();
  forward.udp = protocol == "udp";
  const std::string host = text.substr(first + 1, second - first - 1);
  const std::string guest = text.substr(dash + 1, last - dash - 1);
  if (!host.empty()) forward.host_address = ParseAddress(where, host);
  if (!guest.empty()) forward.guest_address = ParseAddress(where, guest);
  forward.host_port = ParsePort(text, text.substr(second + 1, dash - second - 1), true);
  forward.guest_port = ParsePort(text, text.substr(last + 1), false);
  return forward;
}

SlirpOptions TakeSlirp(Properties& properties) {
  SlirpOptions slirp;
  if (const auto text = properties.Take("net")) ParseNetwork(properties, *text, slirp);
  if (const auto text = properties.Take("host")) slirp.host = ParseAddress(properties, *text);
  if (const auto text = properties.Take("dhcpstart")) slirp.dhcp_start = ParseAddress(properties, *text);
  if (const auto text = properties.Take("dns")) slirp.name_server = ParseAddress(properties, *text);
  for (const in_addr address : {slirp.host, slirp.dhcp_start, slirp.name_server}) {
    if ((address.s_addr & slirp.mask.s_addr) != slirp.network.s_addr)
      properties.Refuse("host, dns and dhcpstart must lie in the network");
  }
  if (slirp.host.s_addr == slirp.name_server.s_addr) properties.Refuse("host and dns must differ");
  slirp.restricted = properties.TakeFlag("restrict", false);
  slirp.ipv4 = properties.TakeFlag("ipv4", true);
  slirp.ipv6 = properties.TakeFlag("ipv6", true);
  slirp.hostname = properties.Take("hostname").value_or("");
  slirp.domain = properties.Take("domainname").value_or("");
  slirp.dns_search = properties.TakeAll("dnssearch");
  std::error_code unused;
  slirp.tftp_folder = properties.Take("tftp").value_or("");
  if (!slirp.tftp_folder.empty() && !std::filesystem::is_directory(slirp.tftp_folder, unused))
    properties.Refuse(fmt::format("tftp={}: there is no such folder", slirp.tftp_folder));
  slirp.tftp_server_name = properties.Take("tftp-server-name").value_or("");
  slirp.boot_file = properties.Take("bootfile").value_or("");
  for (const std::string& text : properties.TakeAll("hostfwd")) slirp.forwards.push_back(ParseForward(text));
  return slirp;
}

}  // namespace ring3
