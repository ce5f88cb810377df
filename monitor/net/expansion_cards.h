// The cards in the PCI slots, made from the command line: network cards with their networks, virtio devices.
#pragma once

#include <memory>
#include <vector>

#include "devices/block/disk.h"
#include "devices/board.h"
#include "devices/mailbox.h"
#include "devices/ninep/shared_folder.h"
#include "monitor/boot_order.h"
#include "monitor/net/expansion_options.h"
#include "monitor/net/slirp_network.h"
#include "monitor/storage/drive_options.h"

namespace ring3 {

class ExpansionCards {
 public:
  /// Puts the cards into the board's slots; each drive with if=virtio gets one, too. Board, memory and mailbox outlive
  /// this. Throws UsageError: a port in use, a folder or image that is not there, a slot that is taken.
  ExpansionCards(const ExpansionOptions& options, Board& board, Clock& clock, PhysicalMemory& memory, Mailbox& mailbox,
                 const std::vector<DriveOptions>& drives);
  /// Whether these options ask for any.
  static bool Wanted(const ExpansionOptions& options, const std::vector<DriveOptions>& drives);
  ~ExpansionCards();

  /// Adds the cards that have a place there.
  void AddTo(BootOrder& order) const;

 private:
  std::unique_ptr<PciDevice> MakeNetworkCard(const ExpansionCard& card, Board& board, Clock& clock,
                                             PhysicalMemory& memory);
  std::unique_ptr<PciDevice> MakeBlock(const ExpansionCard& card, PhysicalMemory& memory, Mailbox& mailbox,
                                       const std::vector<DriveOptions>& drives);
  std::unique_ptr<PciDevice> MakeShare(const ExpansionCard& card, PhysicalMemory& memory);
  MacAddress NextMac();

  std::vector<std::unique_ptr<ninep::SharedFolder>> folders_;
  std::vector<std::unique_ptr<Disk>> disks_;
  std::vector<std::unique_ptr<PciDevice>> cards_;
  struct Network {
    std::string id;
    std::unique_ptr<SlirpNetwork> network;
  };
  std::vector<ExpansionCard> places_;  // each with its slot
  std::vector<Network> networks_;      // their threads end before the cards go
  unsigned macs_ = 0;
};

}  // namespace ring3
