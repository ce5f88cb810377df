#include "monitor/lockstep/replica.h"

#include <fmt/core.h>
#include <signal.h>

#include <algorithm>
#include <cstring>

#include "monitor/crash_report.h"
#include "shadowmmu/paging.h"

namespace ring3::lockstep {
namespace {

/// More than a block has instructions and faults.
constexpr unsigned kMostSteps = 4096;

/// Thrown out of whatever was being executed; the report is written already.
struct Ended {};

/// Thrown out of the engine when one instruction has been executed.
struct Stepped {};

const CpuModel& ModelOf(const Options& options) {
  return options.cpu_model.empty() ? CpuModels().front() : FindCpuModel(options.cpu_model);
}

}  // namespace

Replica::Replica(Channel& channel, const Options& options, pid_t recorder)
    : channel_(channel),
      interpret_(options.lockstep == "interpreter"),
      recorder_(recorder),
      bios_(options.bios.empty() ? Bytes{} : ReadBios(options.bios)),
      physical_(options.memory_bytes, bios_.size()),
      mmu_(physical_, {.fast_paths = FastPaths::None()}),
      linear_(physical_, FastPaths::None()),
      vcpu_{.run = {},
            .cpu = {.state = {}, .model = ModelOf(options), .memory = linear_, .mmu = mmu_, .ports = ports_}},
      translator_(physical_, mmu_, vcpu_.cpu.model, {.max_block_instructions = 1, .fast_paths = FastPaths::None()}),
      engine_(vcpu_, mmu_, translator_, trace_),
      signals_(vcpu_, mmu_, translator_, ReportCrash),
      memory_(physical_, recorder) {
  if (!bios_.empty()) {
    InstallBios(bios_, physical_);
    shadow_ram_.emplace(physical_, bios_);
  }
  ports_.SetTap(this);
  vcpu_.cpu.host_counter = this;
  vcpu_.cpu.x87_pointers = false;
  engine_.SetObserver(this);
  system_pieces_.resize(size_t{SystemPiece::kBytes} * SystemPiece::kCount);
  SetCrashTrace(&trace_);
}

void Replica::Run() {
  try {
    while (Follow(channel_.Peek())) {
    }
  } catch (const Ended&) {
    channel_.SetDiffers();
    channel_.Answer();
    kill(recorder_, kKickSignal);
    return;
  }
  Answer();
}

void Replica::Answer() {
  channel_.GetMeeting().counts = counts_;
  channel_.Answer();
}

/// False at the end.
bool Replica::Follow(const Event& event) {
  switch (event.tag) {
    case EventTag::kBlock:
      FollowBlock(event.AsRecord());
      break;
    case EventTag::kPosition:
      FollowPosition(event.AsRecord());
      break;
    case EventTag::kPortRead:
    case EventTag::kPortWrite:
    case EventTag::kCounter:
      consumed_ = false;
      Step();
      if (!consumed_) Differ("a port or the time-stamp counter is accessed in linked blocks only");
      return true;  // the step took it
    case EventTag::kSystem:
      FollowSystem(std::bit_cast<SystemPiece>(event));
      break;
    case EventTag::kInterrupt:
      ++counts_.interrupts;
      step_eip_ = vcpu_.cpu.state.eip;
      engine_.DeliverInterrupt(static_cast<uint8_t>(event.words[0]));
      break;
    case EventTag::kA20:
      vcpu_.cpu.a20_enabled = event.words[0];
      vcpu_.cpu.PagingChanged();
      break;
    case EventTag::kLoad:
      Load();
      break;
    case EventTag::kCompare:
      Compare();
      break;
    case EventTag::kEnd:
      if (event.words[0] && !TripleFaults()) Differ("a triple fault in linked blocks only");
      return false;
  }
  channel_.Pop();
  return true;
}

void Replica::FollowBlock(const BlockRecord& record) {
  RunTo(record, false);
  ++counts_.blocks;
  last_block_ = record;
  in_block_ = true;
  path_.StartBlock(record.eip);
}

void Replica::FollowPosition(const BlockRecord& record) {
  RunTo(record, true);
  ++counts_.positions;
  if (const SystemState mine = SystemState::Of(vcpu_.cpu.state); !(mine == theirs_)) {
    Differ("system registers differ\n" + SystemDifferences(theirs_, mine));
  }
}

void Replica::FollowSystem(const SystemPiece& piece) {
  std::memcpy(&system_pieces_[size_t{piece.index} * SystemPiece::kBytes], piece.bytes.data(), SystemPiece::kBytes);
  if (piece.index + 1 == SystemPiece::kCount) std::memcpy(&theirs_, system_pieces_.data(), sizeof theirs_);
}

bool Replica::At(const BlockRecord& there, bool is_position) const {
  const CpuState& state = vcpu_.cpu.state;
  if (state.eip != there.eip || state.gpr != there.gpr) return false;
  if (is_position && PositionBits(state) != there.host_offset) return false;
  const uint32_t flags = is_position ? kComparedFlags : eflags::kHostHeld;
  return ((state.eflags ^ static_cast<uint32_t>(there.flags)) & flags) == 0;
}

/// Goes on to where the recorder was.
void Replica::RunTo(const BlockRecord& there, bool is_position) {
  there_ = there;
  const bool whole_block = in_block_ && (!is_position || there.instructions == kBlockCompleted);
  if (whole_block) {
    FinishBlock();
  } else {
    RunToInstruction(there);
  }
  in_block_ = false;
  if (!At(there, is_position)) Differ(fmt::format("registers differ at {:08x}", there.eip));
}

void Replica::FinishBlock() {
  const CpuState& state = vcpu_.cpu.state;
  for (uint32_t left = last_block_.instructions; left > 0;) {
    const uint32_t before = state.eip;
    Step();
    // Repeated instructions may come in several pieces, and a block may find itself stale.
    if (state.eip == before && (IsRepeated(vcpu_) || ExitedAs(ExitReason::kStale))) continue;
    --left;
  }
}

/// The recorder left its block in the middle, or has interpreted one instruction. A block runs straight on, so the
/// first time that EIP is reached is the time.
void Replica::RunToInstruction(const BlockRecord& there) {
  const CpuState& state = vcpu_.cpu.state;
  for (unsigned left = kMostSteps; left > 0;) {
    if (At(there, there.tag != BlockRecord::kTag)) return;
    if (state.eip == there.eip && (RepeatPart(there) || in_block_)) return;
    const uint32_t before = state.eip;
    Step();
    if (state.eip != before) --left;
  }
  Differ(fmt::format("one instruction at a time does not come to {:08x}", there.eip));
}

/// The recorder stopped in the middle of a repeated string instruction: makes as many iterations as it did.
bool Replica::RepeatPart(const BlockRecord& there) {
  CpuState& state = vcpu_.cpu.state;
  const uint32_t eip = state.eip, iterations = state.gpr[kEcx] - there.gpr[kEcx];
  if (state.gpr[kEcx] < iterations || !IsRepeated(vcpu_)) return false;
  if (iterations != 0) {
    state.gpr[kEcx] = iterations;
    while (state.eip == eip && state.gpr[kEcx] != 0) Step();
    state.eip = eip;
    state.gpr[kEcx] = there.gpr[kEcx];
  }
  state.eflags |= static_cast<uint32_t>(there.flags) & eflags::kRf;  // SDM 3B 17.3.1.1
  return At(there, true);
}

void Replica::Step() {
  ++counts_.instructions;
  step_eip_ = vcpu_.cpu.state.eip;
  vcpu_.run.target = 0;
  try {
    Execute();
  } catch (const Stepped&) {
  } catch (const TripleFault&) {
    Differ("a triple fault one instruction at a time only");
  }
  path_.Add(step_eip_, vcpu_.run.target);
}

bool Replica::TripleFaults() {
  step_eip_ = vcpu_.cpu.state.eip;
  try {
    Execute();
  } catch (const Stepped&) {
  } catch (const TripleFault&) {
    return true;
  }
  return false;
}

void Replica::Execute() {
  if (vcpu_.cpu.state.halted) Differ("HLT one instruction at a time only");
  if (interpret_ && !vcpu_.cpu.state.DebugTrapDue() && !vcpu_.cpu.state.NmiDue()) {
    engine_.StepOne();
  } else {
    engine_.RunOnce();
  }
}

std::array<uint32_t, 15> Replica::Expect(EventTag tag, uint16_t port, unsigned size) {
  const Event event = channel_.Peek();
  const bool port_access = tag != EventTag::kCounter;
  if (event.tag != tag || (port_access && (event.words[0] != port || event.words[1] != size))) {
    Differ(fmt::format("access to port {:x} ({} bytes), or to the time-stamp counter, one instruction at a time only",
                       port, size));
  }
  channel_.Pop();
  consumed_ = true;
  counts_.port_accesses += port_access;
  return event.words;
}

uint32_t Replica::ReadPort(PortBus&, uint16_t port, unsigned size) {
  return Expect(EventTag::kPortRead, port, size)[2];
}

void Replica::WritePort(PortBus&, uint16_t port, unsigned size, uint32_t value) {
  const uint32_t theirs = Expect(EventTag::kPortWrite, port, size)[2];
  if (theirs != value) {
    Differ(fmt::format("port {:x}: linked blocks write {:x}, one instruction at a time {:x}", port, theirs, value));
  }
}

uint64_t Replica::ReadCounter() {
  const auto words = Expect(EventTag::kCounter, 0, 0);
  return words[0] | uint64_t{words[1]} << 32;
}

/// A block with STI leaves the instruction behind it to the interpreter at once; that is a step of its own.
void Replica::MonitorActs(const CpuState& state) {
  if (state.eip != step_eip_) throw Stepped{};
}

void Replica::Load() {
  const Meeting& meeting = channel_.GetMeeting();
  memory_.CopyFrom(meeting.memory_fd);
  vcpu_.cpu.StoreFpu();
  vcpu_.cpu.state = meeting.state;
  vcpu_.cpu.a20_enabled = meeting.a20_enabled;
  vcpu_.cpu.PagingChanged();
  vcpu_.cpu.DebugRegistersChanged();
  theirs_ = SystemState::Of(meeting.state);
  Answer();
}

void Replica::Compare() {
  const Meeting& meeting = channel_.GetMeeting();
  ++counts_.memory_compares;
  if (const auto found = memory_.FirstDifference(meeting.memory_fd, counts_.accessed_bits)) Differ(*found);
  vcpu_.cpu.StoreFpu();
  const std::string fpu = FpuDifferences(meeting.state, vcpu_.cpu.state);
  if (!fpu.empty()) Differ("x87 or SSE registers differ\n" + fpu);
  Answer();
}

void Replica::Differ(const std::string& what) {
  Meeting& meeting = channel_.GetMeeting();
  meeting.suspect = last_block_.host_offset;
  WriteReport(meeting, {what, counts_, last_block_, there_, vcpu_, translator_, path_});
  throw Ended{};
}

}  // namespace ring3::lockstep
