// Memory that recorder and replica share: a ring of segments of events, and a place to meet at.
#pragma once

#include <semaphore.h>
#include <sys/types.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <string>

#include "monitor/lockstep/event.h"

namespace ring3::lockstep {

/// How much was compared.
struct Counts {
  uint64_t instructions = 0, blocks = 0, positions = 0, port_accesses = 0, interrupts = 0, memory_compares = 0,
           accessed_bits = 0;
};

/// The state of the recorder's machine while it waits at kLoad or kCompare, and the replica's verdict.
struct Meeting {
  CpuState state;
  int memory_fd = -1;
  bool a20_enabled = true;
  Counts counts;
  uint32_t suspect = 0;  // host offset of the block entered last, once there is a difference
  std::array<char, 32 * 1024> report_head{}, report_tail{};
};

class Channel {
 public:
  static constexpr unsigned kSegments = 8;
  static constexpr uint32_t kEventsInSegment = 512;

  /// Before the fork.
  Channel();
  ~Channel();
  Channel(const Channel&) = delete;

  // The recorder's side. Events are written upwards from a segment's start; an unwritable page lies behind each.
  uint64_t Begin() const { return SegmentAddress(producing_); }
  bool IsEnd(uint64_t address) const;
  /// Hands over what lies from Begin() to `next` and waits for an empty segment. `alive` says whether to go on waiting.
  void Publish(uint64_t next, bool (*alive)(void*), void* context);
  /// Waits for Answer().
  void AwaitAnswer(bool (*alive)(void*), void* context);

  // The replica's side.
  /// The event to come; waits for it.
  const Event& Peek();
  void Pop() { ++consumed_; }
  void Answer();
  /// The replica has found a difference, and ends.
  void SetDiffers() { shared_->differs.store(true); }
  bool Differs() const { return shared_->differs.load(); }

  Meeting& GetMeeting() { return shared_->meeting; }

 private:
  struct Shared {
    sem_t full, empty, answered;
    std::atomic<bool> differs{false};
    std::array<uint32_t, kSegments> filled{};
    Meeting meeting;
  };
  uint64_t SegmentAddress(unsigned segment) const;

  void* memory_ = nullptr;
  Shared* shared_ = nullptr;
  uint64_t events_ = 0;  // address of the first segment
  unsigned producing_ = 0, consuming_ = 0;
  uint32_t consumed_ = 0;  // of the present segment
  bool have_segment_ = false;
};

}  // namespace ring3::lockstep
