#include "monitor/net/expansion_cards.h"

#include <fmt/core.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstring>

#include "devices/net/ne2000.h"
#include "devices/net/rtl8139.h"
#include "devices/virtio/virtio_9p.h"
#include "devices/virtio/virtio_block.h"
#include "devices/virtio/virtio_net.h"
#include "devices/virtio/virtio_rng.h"
#include "monitor/cpu/fault.h"
#include "monitor/net/boot_rom.h"
#include "monitor/storage/storage.h"

namespace ring3 {
namespace {

constexpr unsigned kFirstSlot = 3, kLastSlot = 31;

/// A guest may hold many files of a shared folder open; each takes descriptors.
void RaiseFileLimit() {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

/// Network cards come first, and the first of them gets the first slot.
std::vector<ExpansionCard> InSlots(std::vector<ExpansionCard> cards) {
  std::stable_partition(cards.begin(), cards.end(),
                        [](const ExpansionCard& card) { return card.kind == ExpansionCard::Kind::kNetwork; });
  std::vector<bool> taken(kLastSlot + 1);
  for (const ExpansionCard& card : cards) {
    if (!card.slot) continue;
    if (*card.slot < kFirstSlot || taken[*card.slot])
      throw UsageError(fmt::format("addr={:x}: that PCI slot is taken", *card.slot));
    taken[*card.slot] = true;
  }
  const bool network = !cards.empty() && cards.front().kind == ExpansionCard::Kind::kNetwork;
  unsigned next = network ? kFirstSlot : kFirstSlot + 1;
  for (ExpansionCard& card : cards) {
    if (card.slot) continue;
    while (next <= kLastSlot && taken[next]) ++next;
    if (next > kLastSlot) throw UsageError("there are more cards than PCI slots");
    card.slot = next++;
  }
  return cards;
}

bool IsVirtio(const DriveOptions& drive) { return drive.bus == DriveBus::kVirtio; }

/// A card for each drive with if=virtio.
std::vector<ExpansionCard> WithDrives(std::vector<ExpansionCard> cards, const std::vector<DriveOptions>& drives) {
  for (const DriveOptions& drive : drives) {
    if (!IsVirtio(drive)) continue;
    ExpansionCard card;
    card.kind = ExpansionCard::Kind::kBlock;
    card.drive = drive.id;
    card.boot_index = drive.boot_index;
    cards.push_back(card);
  }
  return cards;
}

}  // namespace

bool ExpansionCards::Wanted(const ExpansionOptions& options, const std::vector<DriveOptions>& drives) {
  return !options.cards.empty() || std::any_of(drives.begin(), drives.end(), IsVirtio);
}

ExpansionCards::ExpansionCards(const ExpansionOptions& options, Board& board, Clock& clock, PhysicalMemory& memory,
                               Mailbox& mailbox, const std::vector<DriveOptions>& drives) {
  for (const NetworkOptions& network : options.networks) {
    auto post = [&mailbox](SlirpNetwork::Work work) { mailbox.Post(std::move(work)); };
    networks_.push_back({network.id, std::make_unique<SlirpNetwork>(network.slirp, post)});
  }
  places_ = InSlots(WithDrives(options.cards, drives));
  for (const ExpansionCard& card : places_) {
    std::unique_ptr<PciDevice> device;
    switch (card.kind) {
      case ExpansionCard::Kind::kNetwork:
        device = MakeNetworkCard(card, board, clock, memory);
        if (board.Config()) device->SetRom(ReadBootRom(card, *device));
        break;
      case ExpansionCard::Kind::kEntropy:
        device = std::make_unique<VirtioRng>(memory);
        break;
      case ExpansionCard::Kind::kShare:
        device = MakeShare(card, memory);
        break;
      case ExpansionCard::Kind::kBlock:
        device = MakeBlock(card, memory, mailbox, drives);
        break;
    }
    board.Pci().Add(*card.slot, 0, *device);
    cards_.push_back(std::move(device));
  }
}

ExpansionCards::~ExpansionCards() = default;

void ExpansionCards::AddTo(BootOrder& order) const {
  for (const ExpansionCard& card : places_) {
    if (!card.boot_index) continue;
    const bool network = card.kind == ExpansionCard::Kind::kNetwork;
    order.Add(*card.boot_index, network ? PciBootPath("ethernet", *card.slot, "ethernet-phy@0")
                                        : PciBootPath("scsi", *card.slot, "disk@0,0"));
  }
}

MacAddress ExpansionCards::NextMac() {
  MacAddress mac = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};
  mac.back() = static_cast<uint8_t>(mac.back() + macs_++);
  return mac;
}

std::unique_ptr<PciDevice> ExpansionCards::MakeNetworkCard(const ExpansionCard& card, Board& board, Clock& clock,
                                                           PhysicalMemory& memory) {
  const auto found =
      std::find_if(networks_.begin(), networks_.end(), [&](const Network& each) { return each.id == card.network; });
  NetworkBackend& network = *found->network;
  const MacAddress mac = card.mac ? *card.mac : NextMac();
  switch (card.model) {
    case CardModel::kRtl8139:
      return std::make_unique<Rtl8139>(clock, board.Timers(), memory, network, mac, Rtl8139::Model::kCPlus);
    case CardModel::kRtl8139C:
      return std::make_unique<Rtl8139>(clock, board.Timers(), memory, network, mac, Rtl8139::Model::kC);
    case CardModel::kNe2000:
      return std::make_unique<Ne2000>(clock, board.Timers(), network, mac);
    case CardModel::kVirtioNet:
      return std::make_unique<VirtioNet>(memory, network, mac);
  }
  return nullptr;
}

std::unique_ptr<PciDevice> ExpansionCards::MakeBlock(const ExpansionCard& card, PhysicalMemory& memory,
                                                     Mailbox& mailbox, const std::vector<DriveOptions>& drives) {
  const auto drive = std::find_if(drives.begin(), drives.end(), [&](const DriveOptions& each) {
    return each.id == card.drive && (IsVirtio(each) || each.bus == DriveBus::kNone);
  });
  if (drive == drives.end())
    throw UsageError(fmt::format("virtio-blk-pci: there is no --drive with if=none and id={}", card.drive));
  if (drive->image.file.empty()) throw UsageError(fmt::format("--drive {}: it needs file=", card.drive));
  disks_.push_back(OpenDisk(*drive, mailbox));
  return std::make_unique<VirtioBlock>(memory, *disks_.back(), drive->serial);
}

std::unique_ptr<PciDevice> ExpansionCards::MakeShare(const ExpansionCard& card, PhysicalMemory& memory) {
  RaiseFileLimit();
  try {
    folders_.push_back(std::make_unique<ninep::SharedFolder>(card.path, card.read_only));
  } catch (const ninep::HostError& error) {
    throw UsageError(fmt::format("--share {}: {} (it must be a folder)", card.path, std::strerror(error.code)));
  }
  return std::make_unique<Virtio9p>(memory, *folders_.back(), card.tag);
}

}  // namespace ring3
