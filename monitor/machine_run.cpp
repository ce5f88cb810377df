// The machine while it runs: the loop around the engine, the host's timer, sleep.
#include <fmt/core.h>

#include <cerrno>

#include "monitor/machine.h"

namespace ring3 {
namespace {

constexpr uint64_t kRelaxPeriodNs = kNanosecondsPerSecond / 4;
constexpr const char* kTripleFault = "triple fault: the guest's processor shut down";

timespec ToTimespec(uint64_t ns) {
  return {.tv_sec = static_cast<time_t>(ns / kNanosecondsPerSecond),
          .tv_nsec = static_cast<long>(ns % kNanosecondsPerSecond)};
}

}  // namespace

int Machine::Run() {
  start_ns_ = clock_.NowNs();
  running_ = true;
  if (screen_) screen_->Start();
  servers_ = std::make_unique<ControlServers>(options_.control, *control_, calls_);
  ConnectSerial();
  engine_->OnDeviceAccess([](void* machine) { static_cast<Machine*>(machine)->NoticeDeadline(); }, this);
  engine_->OnFpuError([](void* board) { static_cast<Board*>(board)->FpuError().Assert(); }, &board_);
  if (options_.max_seconds > 0) {
    time_limit_.emplace(board_.Timers(), [this](uint64_t) { Stop(exit_code::kTimeLimit); });
    time_limit_->Schedule(clock_.TimeAtSource(TimeLimit()));
  }
  bool triple_fault = false;
  try {
    RunLoop();
  } catch (const TripleFault&) {
    triple_fault = true;
    ReportEnd(kTripleFault);
  } catch (const EngineFailure& failure) {
    ReportEnd(failure.what());
  }
  calls_.Close();
  running_ = false;
  input_.reset();
  servers_.reset();
  for (const auto& console : consoles_) {
    if (console) console->Disconnect();
  }
  if (screen_) screen_->Stop();
  board_.FlushOutput();
  if (recorder_ && !lockstep_lost_) {
    RawTerminal::Restore();
    if (!recorder_->Finish(triple_fault)) exit_code_ = exit_code::kDifference;
  }
  return exit_code_;
}

void Machine::ReportGuest(const char* title) {
  board_.FlushOutput();
  RawTerminal::Restore();
  engine_->Report(stderr, title);
}

void Machine::ReportEnd(const char* title) {
  ReportGuest(title);
  exit_code_ = exit_code::kInternal;
  control_->NoteShutdown(ShutdownCause::kGuestPanic, exit_code_);
}

void Machine::RunLoop() {
  HandleAttention();
  while (request_ != Request::kStop) {
    try {
      RunOnce();
    } catch (const TripleFault&) {
      // The board's logic answers a shutdown with RESET. Where there is no firmware to start over with, or the user
      // wants to see what became of the guest, it ends the run.
      if (options_.UsesFirmware() && !options_.no_reboot && !recorder_) {
        ResetMachine();
      } else if (options_.no_shutdown && !recorder_) {
        ReportGuest(kTripleFault);
        EndGuest(exit_code::kInternal, ShutdownCause::kGuestPanic);
      } else {
        throw;
      }
    }
  }
}

void Machine::RunOnce() {
  if (!control_->Running()) return Sleep();
  if (control_->Stepping() && !engine_->Kicked() && engine_->Step()) return control_->Stepped();
  switch (engine_->Run()) {
    case EngineStop::kInterruptible:
      engine_->DeliverInterrupt(board_.AcknowledgeInterrupt());
      if (control_->Stepping()) control_->Stepped();
      break;
    case EngineStop::kHalted:
      Sleep();
      break;
    case EngineStop::kAttention:
      HandleAttention();
      break;
    case EngineStop::kDebug:
      control_->EngineStopped();
      break;
  }
}

void Machine::HandleAttention() {
  engine_->ClearKick();
  mailbox_.Run();
  if (input_) {
    const ConsoleInput::Batch batch = input_->Take(consoles_[terminal_port_]->HasRoom());
    if (batch.send_break) board_.Serial(terminal_port_)->ReceiveBreak();
    if (batch.quit) Stop(exit_code::kSuccess);
    consoles_[terminal_port_]->Take(batch.bytes);
  }
  board_.RunTimers();
  if (const uint64_t now = clock_.NowNs(); now - relaxed_ns_ > kRelaxPeriodNs) {
    relaxed_ns_ = now;
    engine_->Relax();
  }
  if (recorder_) FollowLockstep();
  if (request_ == Request::kReset) ResetMachine();
  ArmTimer();
}

/// Lockstep's other side has the memory that there was at the start.
void Machine::KindChanged(GuestPhysical, uint64_t) {
  if (!recorder_->Started() || lockstep_lost_) return;
  lockstep_lost_ = true;
  RawTerminal::Restore();
  fmt::print(stderr, "ring3: --lockstep cannot follow a guest that switches between ROM and RAM (PAM, SMRAM)\n");
  Stop(exit_code::kUsage);
}

/// Between two instructions.
void Machine::FollowLockstep() {
  if (lockstep_lost_) return;
  if (recorder_->Failed()) Stop(exit_code::kDifference);
  if (!recorder_->Started() && lockstep_trigger_.find(options_.lockstep_from) != std::string::npos) recorder_->Start();
}

/// The kick comes early enough for the board's next deadline. One that comes too early does no harm, so the host timer
/// is left alone when the deadline has only moved back.
bool Machine::ArmedInTime() const {
  const std::optional<uint64_t> deadline = board_.NextDeadline();
  return !deadline || (armed_deadline_ && *armed_deadline_ <= *deadline);
}

void Machine::ArmTimer() {
  if (armed_deadline_ && *armed_deadline_ <= clock_.NowNs()) armed_deadline_.reset();  // it has gone off
  if (ArmedInTime()) return;
  armed_deadline_ = board_.NextDeadline();
  const itimerspec at{.it_interval = {}, .it_value = ToTimespec(clock_.SourceTimeOf(*armed_deadline_))};
  timer_settime(host_timer_, TIMER_ABSTIME, &at, nullptr);
}

/// A port access may have moved the next deadline.
void Machine::NoticeDeadline() {
  if (!ArmedInTime()) engine_->Kick();
}

/// HLT: waits for the next timer or input. The kick is taken here rather than by its handler, which costs more.
void Machine::Sleep() {
  board_.FlushOutput();
  if (recorder_) recorder_->Flush();
  ArmTimer();
  sigset_t kick, before;
  sigemptyset(&kick);
  sigaddset(&kick, kKickSignal);
  pthread_sigmask(SIG_BLOCK, &kick, &before);
  if (!engine_->Kicked()) WaitFor(kick);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  HandleAttention();
}

/// While the guest is stopped its time stands still, but not that of --max-seconds.
void Machine::WaitFor(const sigset_t& signals) {
  if (control_->Running() || !time_limit_) {
    sigwaitinfo(&signals, nullptr);
    return;
  }
  const uint64_t now = host_clock_.NowNs(), end = TimeLimit();
  const timespec patience = ToTimespec(end > now ? end - now : 0);
  if (sigtimedwait(&signals, nullptr, &patience) < 0 && errno == EAGAIN) Stop(exit_code::kTimeLimit);
}

/// On the host's clock.
uint64_t Machine::TimeLimit() const { return start_ns_ + static_cast<uint64_t>(options_.max_seconds * 1e9); }

}  // namespace ring3
