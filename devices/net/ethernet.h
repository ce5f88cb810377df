// Ethernet addresses, the frame check sequence and the multicast hash that cards share.
#pragma once

#include <cstdint>

#include "devices/net/network.h"

namespace ring3 {

enum class FrameTarget : uint8_t { kUnicast, kMulticast, kBroadcast };

/// What the destination address of a frame of at least kEthernetHeader bytes is.
FrameTarget TargetOf(FrameView frame);
bool IsAddressedTo(FrameView frame, const MacAddress& mac);

/// IEEE 802.3 frame check sequence, in the byte order in which a little-endian store puts it on the wire.
uint32_t FrameCheckSequence(FrameView frame);

/// Which of 64 filter bits a multicast address uses on DP8390s, the RTL8139 and others: the top six bits of the
/// address's CRC, before its final inversion and bit reversal.
unsigned MulticastHash(FrameView frame);

}  // namespace ring3
