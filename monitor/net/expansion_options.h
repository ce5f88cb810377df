// What the command line says about cards in the PCI slots, the networks behind them and shared folders.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "devices/net/network.h"
#include "monitor/net/slirp_options.h"

namespace ring3 {

enum class CardModel : uint8_t { kRtl8139, kRtl8139C, kNe2000, kVirtioNet };

/// A user-mode network; cards name it by `id`.
struct NetworkOptions {
  std::string id;
  SlirpOptions slirp;
};

/// A card in a slot. Without `address` it takes the next free slot.
struct ExpansionCard {
  enum class Kind : uint8_t { kNetwork, kEntropy, kShare, kBlock } kind = Kind::kNetwork;
  CardModel model = CardModel::kRtl8139;
  std::string network;            // kNetwork: id of one
  std::optional<MacAddress> mac;  // unset: counted up from 52:54:00:12:34:56
  std::string path, tag;          // kShare
  bool read_only = false;         // kShare
  std::string drive;              // kBlock: id of one
  std::optional<unsigned> slot;
  std::optional<unsigned> boot_index;   // its place among what firmware boots from
  std::optional<std::string> rom_file;  // kNetwork; empty: no ROM; unset: the usual one
};

struct ExpansionOptions {
  std::vector<NetworkOptions> networks;
  std::vector<ExpansionCard> cards;
};

/// What the user wrote, in order, before it is checked.
struct RawExpansionOptions {
  std::vector<std::string> nets, nics, netdevs, forwards, shares, fsdevs, virtfs;
  std::vector<std::string> devices;  // --device of the names that IsExpansionDevice() knows
};

}  // namespace ring3

namespace CLI {
class App;
}

namespace ring3 {

void AddNetOptions(CLI::App& app, RawExpansionOptions& raw);
/// Whether a --device of this name goes into RawExpansionOptions::devices.
bool IsExpansionDevice(const std::string& name);
/// The names, for error messages.
std::string ExpansionDeviceNames();
/// Throws UsageError for what makes no sense.
ExpansionOptions ParseExpansion(const RawExpansionOptions& raw);

}  // namespace ring3
