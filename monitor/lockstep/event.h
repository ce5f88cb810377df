// What the recording side tells the replica: where its processor stood, and all that came to it from outside.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

#include "monitor/cpu/cpu_state.h"
#include "translator/block_record.h"

namespace ring3::lockstep {

enum class EventTag : uint32_t {
  kBlock = BlockRecord::kTag,  // a block was entered: BlockRecord, written by the block itself
  kPosition,                   // the monitor acts: BlockRecord's layout, with all of EFLAGS and Position() bits
  kSystem,                     // a piece of the SystemState, before the position it belongs to: SystemPiece
  kInterrupt,                  // delivered at the position before: words[0] vector
  kPortRead,                   // words[0] port, [1] size, [2] value
  kPortWrite,                  // the same
  kCounter,                    // the host's time-stamp counter was read: words[0..1]
  kA20,                        // words[0]: enabled or not
  kLoad,                       // memory and state were set anew; the recorder waits until both have been copied
  kCompare,                    // the recorder waits until all of memory and state has been compared
  kEnd,                        // words[0]: 1 after a triple fault
};

struct Event {
  EventTag tag;
  std::array<uint32_t, 15> words;

  BlockRecord AsRecord() const { return std::bit_cast<BlockRecord>(*this); }
};
static_assert(sizeof(Event) == sizeof(BlockRecord));

/// The part of the state that blocks leave alone but for segment registers: sent when it has changed.
struct SystemState {
  std::array<SegmentRegister, kSegCount> seg;
  SegmentRegister ldtr, tr;
  TableRegister gdtr, idtr;
  uint32_t cr0, cr2, cr3, cr4;
  std::array<uint32_t, 8> dr;
  std::array<uint64_t, 4> pdpte;
  uint64_t efer, pat, apic_base, misc_enable;
  uint32_t sysenter_cs, sysenter_esp, sysenter_eip;

  static SystemState Of(const CpuState& s) {
    return {s.seg, s.ldtr,  s.tr,   s.gdtr, s.idtr,      s.cr0,         s.cr2,         s.cr3,          s.cr4,
            s.dr,  s.pdpte, s.efer, s.pat,  s.apic_base, s.misc_enable, s.sysenter_cs, s.sysenter_esp, s.sysenter_eip};
  }
  bool operator==(const SystemState&) const = default;
};

struct SystemPiece {
  static constexpr uint32_t kBytes = 56;
  static constexpr uint32_t kCount = (sizeof(SystemState) + kBytes - 1) / kBytes;
  EventTag tag = EventTag::kSystem;
  uint32_t index = 0;
  std::array<uint8_t, kBytes> bytes{};
};
static_assert(sizeof(SystemPiece) == sizeof(Event));

/// In BlockRecord::instructions of a position: the block entered last ran to its end.
inline constexpr uint32_t kBlockCompleted = 1;

/// What a position says besides registers and flags, in BlockRecord::host_offset.
inline uint32_t PositionBits(const CpuState& state) { return state.cpl | (state.halted ? 1u << 8 : 0); }

inline constexpr uint32_t kComparedFlags = eflags::kDefined;

}  // namespace ring3::lockstep
