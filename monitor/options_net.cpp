// Options about networks, shared folders and other cards: --net, --nic, --netdev, --hostfwd, --share and --device.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cstdio>
#include <map>
#include <set>

#include "monitor/cpu/fault.h"
#include "monitor/net/expansion_options.h"
#include "monitor/numbers.h"
#include "monitor/options_slirp.h"
#include "monitor/properties.h"
#include "monitor/storage/drive_options.h"

namespace ring3 {
namespace {

constexpr const char* kUserProperties =
    "id, hostfwd, restrict, net, host, dhcpstart, dns, ipv4, ipv6, hostname, domainname, dnssearch, tftp, "
    "tftp-server-name, bootfile";
constexpr const char* kDefaultTag = "share";
constexpr size_t kLongestTag = 31;  // Linux takes no longer one

const std::map<std::string, CardModel>& CardModels() {
  static const std::map<std::string, CardModel> kModels = {
      {"rtl8139", CardModel::kRtl8139},
      {"rtl8139c", CardModel::kRtl8139C},
      {"ne2k_pci", CardModel::kNe2000},
      {"virtio-net-pci", CardModel::kVirtioNet},
      {"virtio-net", CardModel::kVirtioNet},
      {"virtio", CardModel::kVirtioNet},
      {"virtio-net-pci-transitional", CardModel::kVirtioNet},
  };
  return kModels;
}

constexpr const char* kModelNames = "rtl8139, rtl8139c, ne2k_pci, virtio-net-pci";

CardModel ModelNamed(const Properties& properties, const std::string& name) {
  const auto found = CardModels().find(name);
  if (found == CardModels().end()) {
    throw UsageError(
        fmt::format("{}: ring3 has no network card '{}' (it has: {})", properties.Option(), name, kModelNames));
  }
  return found->second;
}

MacAddress ParseMac(const Properties& properties, const std::string& text) {
  unsigned bytes[6];
  char rest;
  const int fields = std::sscanf(text.c_str(), "%2x:%2x:%2x:%2x:%2x:%2x%c", &bytes[0], &bytes[1], &bytes[2], &bytes[3],
                                 &bytes[4], &bytes[5], &rest);
  if (fields != 6) properties.Refuse(fmt::format("mac={}: write it like 52:54:00:12:34:56", text));
  MacAddress mac;
  std::copy(std::begin(bytes), std::end(bytes), mac.begin());
  if (mac[0] & 1) properties.Refuse(fmt::format("mac={}: that is a multicast address", text));
  return mac;
}

/// addr=5, addr=0x5 or addr=05.0, hexadecimal as in QEMU
void TakeSlot(Properties& properties, ExpansionCard& card) {
  const auto text = properties.Take("addr");
  if (!text) return;
  std::string_view digits = *text;
  if (digits.starts_with("0x")) digits.remove_prefix(2);
  if (digits.ends_with(".0")) digits.remove_suffix(2);
  const auto slot = ParseDigits(digits, 16);
  if (!slot || *slot > 31) properties.Refuse(fmt::format("addr={}: say a slot, 3 to 1f", *text));
  card.slot = static_cast<unsigned>(*slot);
}

void TakeBoot(Properties& properties, ExpansionCard& card) {
  if (const auto index = properties.Take("bootindex")) card.boot_index = ParseBootIndex(*index);
  card.rom_file = properties.Take("romfile");
}

class Parser {
 public:
  explicit Parser(const RawExpansionOptions& raw) : raw_(raw) {}

  ExpansionOptions Parse() {
    for (const std::string& text : raw_.netdevs) Netdev({"--netdev", text});
    for (const std::string& text : raw_.fsdevs) Fsdev({"--fsdev", text});
    for (const std::string& text : raw_.nets) Net({"--net", text});
    for (const std::string& text : raw_.nics) Net({"--nic", text});
    if (!raw_.forwards.empty() && options_.networks.empty()) AddCard(AddNetwork(""), CardModel::kRtl8139);
    for (const std::string& text : raw_.forwards)
      options_.networks.front().slirp.forwards.push_back(ParseForward(text));
    for (const std::string& text : raw_.devices) Device({"--device", text});
    for (const std::string& text : raw_.virtfs) Virtfs({"--virtfs", text});
    for (const std::string& text : raw_.shares) Share(text);
    CheckUses();
    return std::move(options_);
  }

 private:
  /// Returns the network's id.
  std::string AddNetwork(const std::string& id) {
    const std::string name = id.empty() ? fmt::format("#net{}", options_.networks.size()) : id;
    options_.networks.push_back({name, {}});
    return name;
  }

  ExpansionCard& AddCard(const std::string& network, CardModel model) {
    ExpansionCard card;
    card.network = network;
    card.model = model;
    return options_.cards.emplace_back(card);
  }

  void Netdev(Properties properties) {
    if (properties.First() != "user") properties.Refuse("ring3 has 'user' only");
    const auto id = properties.Take("id");
    if (!id) properties.Refuse("it needs an id=");
    if (FindNetwork(*id)) properties.Refuse(fmt::format("there is an id={} already", *id));
    AddNetwork(*id);
    options_.networks.back().slirp = TakeSlirp(properties);
    properties.ExpectNothingElse(kUserProperties);
  }

  /// "user,model=...", "MODEL,...", "none"; and QEMU's older pair of "nic,model=..." and "user".
  void Net(Properties properties) {
    const std::string& kind = properties.First();
    const bool model_first = CardModels().contains(kind);
    if (kind == "none") {
      properties.ExpectNothingElse("none");
      return;
    }
    if (kind != "user" && kind != "nic" && !model_first)
      properties.Refuse(fmt::format("say user, none or a card ({})", kModelNames));
    const auto model = properties.Take("model"), mac = properties.Take("mac");
    const std::string id = properties.Take("id").value_or("");
    const bool pair = properties.Option() == "--net" && !model && !mac && kind == "user" && HasNic();
    std::string network;
    if (kind == "nic") {
      network = properties.Take("netdev").value_or("");
      if (network.empty() && bare_nic_) properties.Refuse("a second card needs a --netdev of its own");
      if (network.empty()) network = UserNetwork();
      bare_nic_ = true;
    } else if (pair) {
      network = UserNetwork();
    } else {
      network = AddNetwork(id);
    }
    if (kind != "nic") {
      NetworkOptions* const options = FindNetwork(network);
      options->slirp = TakeSlirp(properties);
    }
    if (!pair) {
      const CardModel which = model_first ? CardModels().at(kind)
                              : model     ? ModelNamed(properties, *model)
                                          : CardModel::kRtl8139;
      ExpansionCard& card = AddCard(network, which);
      if (mac) card.mac = ParseMac(properties, *mac);
      TakeSlot(properties, card);
      TakeBoot(properties, card);
    }
    properties.ExpectNothingElse(std::string("model, mac, addr, bootindex, romfile, ") + kUserProperties);
  }

  /// Whether QEMU's older "--net nic" is among the options, so that "--net user" is just its network.
  bool HasNic() const {
    return std::any_of(raw_.nets.begin(), raw_.nets.end(),
                       [](const std::string& text) { return text == "nic" || text.starts_with("nic,"); });
  }
  std::string UserNetwork() {
    if (!shared_network_) shared_network_ = AddNetwork("");
    return *shared_network_;
  }

  void Device(Properties properties) {
    ExpansionCard card;
    const std::string& name = properties.First();
    TakeSlot(properties, card);
    properties.Take("id");
    properties.Take("bus");
    const std::string common = "addr, id, bus";
    if (CardModels().contains(name)) {
      card.model = CardModels().at(name);
      const auto network = properties.Take("netdev");
      if (!network) properties.Refuse("it needs netdev=ID of a --netdev");
      card.network = *network;
      if (const auto mac = properties.Take("mac")) card.mac = ParseMac(properties, *mac);
      TakeBoot(properties, card);
      properties.ExpectNothingElse("netdev, mac, bootindex, romfile, " + common);
    } else if (name.starts_with("virtio-rng")) {
      card.kind = ExpansionCard::Kind::kEntropy;
      properties.Take("rng");
      properties.ExpectNothingElse("rng, " + common);
    } else if (name.starts_with("virtio-9p")) {
      const auto folder = properties.Take("fsdev"), tag = properties.Take("mount_tag");
      if (!folder || !tag) properties.Refuse("it needs fsdev=ID of an --fsdev, and mount_tag=");
      const auto found = folders_.find(*folder);
      if (found == folders_.end()) properties.Refuse(fmt::format("there is no --fsdev with id={}", *folder));
      card = found->second;
      card.tag = *tag;
      properties.ExpectNothingElse("fsdev, mount_tag, " + common);
    } else {
      card.kind = ExpansionCard::Kind::kBlock;
      const auto drive = properties.Take("drive");
      if (!drive) properties.Refuse("it needs drive=ID of a --drive with if=none");
      card.drive = *drive;
      properties.Take("serial");
      if (const auto index = properties.Take("bootindex")) card.boot_index = ParseBootIndex(*index);
      properties.ExpectNothingElse("drive, serial, bootindex, " + common);
    }
    options_.cards.push_back(card);
  }

  ExpansionCard Folder(Properties& properties) {
    ExpansionCard card;
    card.kind = ExpansionCard::Kind::kShare;
    if (properties.First() != "local") properties.Refuse("ring3 has 'local' only");
    card.path = properties.Take("path").value_or("");
    if (card.path.empty()) properties.Refuse("it needs a path=");
    card.read_only = properties.TakeFlag("readonly", false);
    const std::string security = properties.Take("security_model").value_or("none");
    if (security != "none" && security != "passthrough")
      properties.Refuse(fmt::format("security_model={}: ring3 has 'none' only", security));
    return card;
  }

  void Fsdev(Properties properties) {
    ExpansionCard card = Folder(properties);
    const auto id = properties.Take("id");
    if (!id) properties.Refuse("it needs an id=");
    properties.ExpectNothingElse("id, path, readonly, security_model");
    folders_[*id] = card;
  }

  void Virtfs(Properties properties) {
    ExpansionCard card = Folder(properties);
    card.tag = properties.Take("mount_tag").value_or(kDefaultTag);
    properties.Take("id");
    properties.ExpectNothingElse("path, mount_tag, readonly, security_model, id");
    options_.cards.push_back(card);
  }

  /// PATH[,tag=T][,ro]
  void Share(const std::string& text) {
    Properties properties("--share", text);
    ExpansionCard card;
    card.kind = ExpansionCard::Kind::kShare;
    card.path = properties.First();
    card.tag = properties.Take("tag").value_or(kDefaultTag);
    card.read_only = properties.TakeFlag("ro", false);
    properties.ExpectNothingElse("tag, ro");
    if (card.path.empty()) throw UsageError("--share: say which folder");
    options_.cards.push_back(card);
  }

  NetworkOptions* FindNetwork(const std::string& id) {
    for (NetworkOptions& network : options_.networks) {
      if (network.id == id) return &network;
    }
    return nullptr;
  }

  void CheckUses() {
    std::set<std::string> used, tags;
    for (const ExpansionCard& card : options_.cards) {
      if (card.kind == ExpansionCard::Kind::kNetwork) {
        if (!FindNetwork(card.network)) throw UsageError(fmt::format("there is no --netdev with id={}", card.network));
        if (!used.insert(card.network).second)
          throw UsageError(fmt::format("--netdev {}: two cards cannot share it", card.network));
      } else if (card.kind == ExpansionCard::Kind::kShare) {
        if (card.tag.empty() || card.tag.size() > kLongestTag)
          throw UsageError(fmt::format("--share {}: a tag has 1 to {} characters", card.path, kLongestTag));
        if (!tags.insert(card.tag).second)
          throw UsageError(fmt::format("--share {}: the tag '{}' is taken; give another tag=", card.path, card.tag));
      }
    }
  }

  const RawExpansionOptions& raw_;
  ExpansionOptions options_;
  std::map<std::string, ExpansionCard> folders_;
  std::optional<std::string> shared_network_;
  bool bare_nic_ = false;
};

}  // namespace

void AddNetOptions(CLI::App& app, RawExpansionOptions& raw) {
  app.add_option(
      "--net", raw.nets,
      std::string("a card with a user-mode network: user[,model=M][,hostfwd=...], or none; models: ") + kModelNames);
  app.add_option("--nic", raw.nics, "the same")->group("");
  app.add_option("--netdev", raw.netdevs, "user,id=N: a network for a --device MODEL,netdev=N")->group("");
  app.add_option("--hostfwd", raw.forwards, "a port of the host that leads to the guest: tcp::2222-:22");
  app.add_option("--share", raw.shares, "a folder for the guest, by virtio-9p: PATH[,tag=share][,ro]");
  app.add_option("--fsdev", raw.fsdevs, "local,id=F,path=P for a --device virtio-9p-pci")->group("");
  app.add_option("--virtfs", raw.virtfs, "local,path=P,mount_tag=T")->group("");
}

bool IsExpansionDevice(const std::string& name) {
  static const std::set<std::string> kOthers = {"virtio-rng-pci",
                                                "virtio-rng",
                                                "virtio-9p-pci",
                                                "virtio-9p",
                                                "virtio-blk-pci",
                                                "virtio-blk",
                                                "virtio-rng-pci-transitional",
                                                "virtio-9p-pci-transitional",
                                                "virtio-blk-pci-transitional"};
  return CardModels().contains(name) || kOthers.contains(name);
}

std::string ExpansionDeviceNames() {
  return std::string(kModelNames) + ", virtio-blk-pci, virtio-rng-pci, virtio-9p-pci";
}

ExpansionOptions ParseExpansion(const RawExpansionOptions& raw) { return Parser(raw).Parse(); }

}  // namespace ring3
