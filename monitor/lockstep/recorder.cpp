#include "monitor/lockstep/recorder.h"

#include <fmt/core.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <x86intrin.h>

#include <cerrno>
#include <cstring>
#include <system_error>

#include "monitor/lockstep/replica.h"

namespace ring3::lockstep {
namespace {

/// All of memory is compared once in so many interrupts.
constexpr uint64_t kCompareEvery = 128;

[[noreturn]] void RunReplica(Channel& channel, const Options& options, pid_t recorder) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != recorder) _exit(0);
  Replica replica(channel, options, recorder);
  replica.Run();
  std::fflush(stderr);
  _exit(0);
}

}  // namespace

Recorder::Recorder(const Options& options) {
  const pid_t self = getpid();
  std::fflush(nullptr);
  replica_ = fork();
  if (replica_ < 0) throw std::system_error(errno, std::generic_category(), "fork");
  if (replica_ == 0) RunReplica(channel_, options, self);
}

Recorder::~Recorder() {
  if (replica_ <= 0) return;
  kill(replica_, SIGKILL);
  waitpid(replica_, nullptr, 0);
}

void Recorder::Attach(Vcpu& vcpu, BtEngine& engine, HostSignals& signals, Translator& translator) {
  vcpu_ = &vcpu;
  translator_ = &translator;
  vcpu.run.next_record = seen_ = channel_.Begin();
  vcpu.cpu.host_counter = this;
  vcpu.cpu.x87_pointers = false;
  vcpu.cpu.ports.SetTap(this);
  engine.SetObserver(this);
  signals.SetRecordRoom(this);
}

void Recorder::Start() {
  vcpu_->run.next_record = seen_ = channel_.Begin();
  started_ = true;
  Meet(EventTag::kLoad);
}

uint64_t Recorder::NextRoom() {
  if (!started_) return channel_.Begin();
  const bool all_seen = seen_ == vcpu_->run.next_record;
  channel_.Publish(vcpu_->run.next_record, ReplicaRunsHook, this);
  seen_ = all_seen ? channel_.Begin() : 0;
  return channel_.Begin();
}

void Recorder::Append(const Event& event) {
  if (!started_) return;
  uint64_t& next = vcpu_->run.next_record;
  if (channel_.IsEnd(next)) next = NextRoom();
  std::memcpy(reinterpret_cast<void*>(next), &event, sizeof event);
  next += sizeof event;
  seen_ = next;
}

void Recorder::Append(EventTag tag, std::array<uint32_t, 15> words) { Append(Event{tag, words}); }

void Recorder::Flush() {
  if (started_) vcpu_->run.next_record = NextRoom();
}

void Recorder::MonitorActs(const CpuState& state) {
  if (const SystemState system = SystemState::Of(state); !(system == sent_)) {
    sent_ = system;
    for (uint32_t i = 0; i < SystemPiece::kCount; ++i) {
      SystemPiece piece{.index = i};
      const size_t at = size_t{i} * SystemPiece::kBytes;
      std::memcpy(piece.bytes.data(), reinterpret_cast<const uint8_t*>(&system) + at,
                  std::min<size_t>(SystemPiece::kBytes, sizeof system - at));
      Append(std::bit_cast<Event>(piece));
    }
  }
  const BlockRecord record{.tag = static_cast<uint32_t>(EventTag::kPosition),
                           .eip = state.eip,
                           .flags = state.eflags,
                           .gpr = state.gpr,
                           .host_offset = PositionBits(state),
                           .instructions = completed_ ? kBlockCompleted : 0};
  Append(std::bit_cast<Event>(record));
}

/// An entry that was undone, or a block that had not yet written its record, says nothing new.
void Recorder::TranslatedCodeLeft(bool completed) {
  if (vcpu_->run.next_record != seen_) completed_ = completed;
  seen_ = vcpu_->run.next_record;
}

void Recorder::InterruptDelivered(uint8_t vector) {
  if (started_ && interrupts_++ % kCompareEvery == 0) Meet(EventTag::kCompare);
  Append(EventTag::kInterrupt, {vector});
}

uint32_t Recorder::ReadPort(PortBus& bus, uint16_t port, unsigned size) {
  const uint32_t value = bus.ReadDevice(port, size);
  Append(EventTag::kPortRead, {port, size, value});
  return value;
}

void Recorder::WritePort(PortBus& bus, uint16_t port, unsigned size, uint32_t value) {
  Append(EventTag::kPortWrite, {port, size, value});
  bus.WriteDevice(port, size, value);
}

uint64_t Recorder::ReadCounter() {
  const uint64_t value = __rdtsc();
  Append(EventTag::kCounter, {static_cast<uint32_t>(value), static_cast<uint32_t>(value >> 32)});
  return value;
}

/// Stands still until the replica has come to the same place and done what `tag` asks for.
void Recorder::Meet(EventTag tag) {
  vcpu_->cpu.StoreFpu();
  Meeting& meeting = channel_.GetMeeting();
  meeting.state = vcpu_->cpu.state;
  meeting.memory_fd = vcpu_->cpu.memory.Physical().MemoryFd();
  meeting.a20_enabled = vcpu_->cpu.a20_enabled;
  sent_ = SystemState::Of(vcpu_->cpu.state);
  Append(tag, {});
  Flush();
  channel_.AwaitAnswer(ReplicaRunsHook, this);
}

bool Recorder::ReplicaRuns() {
  if (Failed()) return false;
  int status = 0;
  if (waitpid(replica_, &status, WNOHANG) != replica_) return true;
  replica_ = -1;
  failed_ = !channel_.Differs();
  raise(kKickSignal);  // the machine's loop sees to the rest
  return false;
}

bool Recorder::Finish(bool triple_fault) {
  if (!started_) {
    fmt::print(stderr, "ring3: lockstep: not yet begun\n");
    return true;
  }
  if (!Failed()) {
    if (!triple_fault) {
      MonitorActs(vcpu_->cpu.state);
      Meet(EventTag::kCompare);
    }
    if (!Failed()) {
      Append(EventTag::kEnd, {triple_fault});
      Flush();
      channel_.AwaitAnswer(ReplicaRunsHook, this);
    }
  }
  const Meeting& meeting = channel_.GetMeeting();
  if (channel_.Differs()) {
    fmt::print(stderr, "{}", meeting.report_head.data());
    const BlockId suspect =
        translator_->Cache().FindByHost(reinterpret_cast<uint64_t>(translator_->Cache().At(meeting.suspect)));
    if (suspect != kNone) translator_->Dump(stderr, suspect);
    fmt::print(stderr, "{}", meeting.report_tail.data());
    return false;
  }
  if (failed_) {
    fmt::print(stderr, "ring3: lockstep: the replica died\n");
    return false;
  }
  const Counts& c = meeting.counts;
  fmt::print(
      stderr,
      "ring3: lockstep: {} instructions in {} blocks, {} stops, {} port accesses, {} interrupts and {} times all "
      "of memory compared: no difference ({} accessed or dirty bits apart)\n",
      c.instructions, c.blocks, c.positions, c.port_accesses, c.interrupts, c.memory_compares, c.accessed_bits);
  return true;
}

}  // namespace ring3::lockstep
