#include "monitor/machine.h"

#include <fmt/core.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

#include "monitor/boot/bios.h"
#include "monitor/boot/loader.h"
#include "monitor/demo/demo_image.h"
#include "monitor/firmware.h"
#include "monitor/kvm/kvm_engine.h"
#include "monitor/report_file.h"
#include "monitor/translating_engine.h"

namespace ring3 {
namespace {

constexpr unsigned kFirstFamilyWithApic = 5;

constexpr uint64_t kRelaxPeriodNs = kNanosecondsPerSecond / 4;

timespec ToTimespec(uint64_t ns) {
  return {.tv_sec = static_cast<time_t>(ns / kNanosecondsPerSecond),
          .tv_nsec = static_cast<long>(ns % kNanosecondsPerSecond)};
}

/// One for each port that there is.
std::vector<std::unique_ptr<SerialConsole>> MakeConsoles(const Options& options) {
  std::vector<std::unique_ptr<SerialConsole>> consoles;
  for (const std::string& place : options.serials) {
    const auto port = static_cast<unsigned>(consoles.size());
    consoles.push_back(place == "none" ? nullptr : std::make_unique<SerialConsole>(place, port));
  }
  return consoles;
}

const CpuModel& NamedModel(const Options& options) {
  return options.cpu_model.empty() ? CpuModels().front() : FindCpuModel(options.cpu_model);
}

/// The model with what it has of the board's.
CpuModel ModelOf(const Options& options) {
  CpuModel model = NamedModel(options);
  if (options.UsesApic() && model.Family() >= kFirstFamilyWithApic) model.features_edx |= cpuid_edx::kApic;
  return model;
}

std::unique_ptr<Engine> MakeEngine(const Options& options, PhysicalMemory& physical, PortBus& ports,
                                   const CpuModel& model, lockstep::Recorder* recorder) {
  if (options.engine == EngineKind::kKvm) return std::make_unique<KvmEngine>(physical, ports, model);
  return std::make_unique<TranslatingEngine>(physical, ports, model, options, recorder);
}

/// The built-in guest needs none. Lockstep replays ports, but no registers in memory.
bool HasScreen(const Options& options) {
  return options.display.vga && options.command == Command::kRun && options.lockstep.empty();
}

}  // namespace

Machine::Machine(const Options& options)
    : options_(options),
      model_(ModelOf(options)),
      recorder_(options.lockstep.empty() ? nullptr : std::make_unique<lockstep::Recorder>(options)),
      mailbox_([this, vcpu_thread = pthread_self()] {
        if (running_) pthread_kill(vcpu_thread, kKickSignal);
      }),
      consoles_(MakeConsoles(options)),
      stats_(OpenReport(options.stats_file)),
      bios_(ReadFirmware(options)),
      firmware_log_(OpenReport(options.firmware_log)),
      physical_(options.memory_bytes, bios_.size(), HasScreen(options) ? Screen::kBackedBytes : 0),
      board_(clock_, MakeBoardOptions(), MakeBoardEvents()),
      screen_(MakeScreen()),
      cards_(MakeCards()),
      engine_(MakeEngine(options, physical_, board_.Ports(), model_, recorder_.get())) {
  if (options.command == Command::kRun) {
    storage_.emplace(board_, physical_, mailbox_, options.drives, !bios_.empty());
  }
  if (!bios_.empty()) {
    InstallBios(bios_, physical_);
    BootOrder order;
    order.AddDrives(options.drives);
    if (cards_) cards_->AddTo(order);
    DescribeMachine(board_, options_, order);
  }
  if (recorder_) physical_.AddKindListener(this);
  board_.VmPointer().SetRegisters([this] { return engine_->LiveRegisters(); });
  control_.emplace(MachineControl::Parts{*engine_, physical_, board_, clock_}, MakeControlHooks());
  if (storage_) storage_control_.emplace(*storage_, *control_);
  control_->SetScreen(screen_.get());
  StartGuest();
  sigevent event = {};
  event.sigev_notify = SIGEV_THREAD_ID;
  event.sigev_signo = kKickSignal;
  event._sigev_un._tid = static_cast<pid_t>(syscall(SYS_gettid));
  if (timer_create(CLOCK_MONOTONIC, &event, &host_timer_) != 0) {
    throw std::system_error(errno, std::generic_category(), "timer_create");
  }
}

Machine::~Machine() {
  if (recorder_) physical_.RemoveKindListener(this);
  timer_delete(host_timer_);
  input_.reset();
  CloseReport(stats_);
  CloseReport(firmware_log_);
  if (demo_fd_ >= 0) close(demo_fd_);
}

BoardOptions Machine::MakeBoardOptions() {
  BoardOptions board;
  board.ram_bytes = options_.memory_bytes;
  board.start_unix_ns = options_.rtc_start_ns;
  board.memory = &physical_;
  board.apic = model_.Has(cpuid_edx::kApic);
  board.firmware = bios_;
  if (firmware_log_) {
    board.firmware_log = [this](std::span<const uint8_t> bytes) {
      fwrite(bytes.data(), 1, bytes.size(), firmware_log_);
    };
  }
  for (unsigned port = 0; port < consoles_.size(); ++port) {
    if (!consoles_[port]) continue;
    board.serial.at(port) = [this, port](std::span<const uint8_t> bytes) { WriteSerial(port, bytes); };
    board.serial_ports |= 1u << port;
  }
  board.hpet = options_.UsesHpet();
  board.vm_port = options_.UsesVmPort();
  board.debug_console = [](std::span<const uint8_t> bytes) { WriteFully(STDERR_FILENO, bytes); };
  if (options_.debug_exit_port) board.debug_exit = {*options_.debug_exit_port, options_.debug_exit_port_count};
  if (options_.command == Command::kDemo) board.debug_exit = {0xF4, 4};
  return board;
}

void Machine::WriteSerial(unsigned port, std::span<const uint8_t> bytes) {
  if (recorder_ && !recorder_->Started() && port == 0) {
    const size_t kept = std::min(lockstep_trigger_.size(), options_.lockstep_from.size());
    lockstep_trigger_.erase(0, lockstep_trigger_.size() - kept);
    lockstep_trigger_.append(bytes.begin(), bytes.end());
    engine_->Kick();
  }
  if (consoles_[port]->Write(bytes)) return;
  const int error = errno;
  RawTerminal::Restore();
  fmt::print(stderr, "ring3: cannot write the guest's serial output: {}\n", std::strerror(error));
  Stop(exit_code::kUsage);
}

BoardEvents Machine::MakeBoardEvents() {
  BoardEvents events;
  events.a20 = [this](bool enabled) {
    if (engine_) engine_->SetA20(enabled);
  };
  events.reset = [this] { request_ = Request::kReset, engine_->Kick(); };
  events.power_off = [this] { Stop(exit_code::kSuccess, ShutdownCause::kGuestShutdown); };
  events.debug_exit = [this](int code) { Stop(code, ShutdownCause::kGuestShutdown); };
  events.ignore_fpu_error = [this] { engine_->IgnoreFpuError(); };
  events.interrupt_changed = [this] {
    if (engine_) engine_->SetInterruptWaiting(board_.HasInterrupt());
  };
  return events;
}

MachineControl::Hooks Machine::MakeControlHooks() {
  return {.reset = [this] { request_ = Request::kReset, engine_->Kick(); },
          .quit = [this](int code) { Stop(code, ShutdownCause::kHostQuit); },
          .resumed =
              [this] {
                if (time_limit_) time_limit_->Schedule(clock_.TimeAtSource(TimeLimit()));
                armed_deadline_.reset();
                ArmTimer();
              }};
}

std::unique_ptr<Screen> Machine::MakeScreen() {
  if (!HasScreen(options_)) return nullptr;
  return std::make_unique<Screen>(options_.display, clock_, physical_, board_, mailbox_,
                                  Screen::Events{.quit = [this] { control_->Quit(exit_code::kSuccess); }});
}

std::unique_ptr<ExpansionCards> Machine::MakeCards() {
  if (!ExpansionCards::Wanted(options_.expansion, options_.drives)) return nullptr;
  return std::make_unique<ExpansionCards>(options_.expansion, board_, clock_, physical_, mailbox_, options_.drives);
}

/// After power-on or reset.
void Machine::StartGuest() {
  CpuState state;
  state.Reset();
  state.gpr[kEdx] = model_.signature;  // SDM 3A table 9-1
  if (board_.Apic()) state.apic_base = LocalApic::kResetBase;
  if (bios_.empty()) LoadKernel(state);
  engine_->SetState(state);
}

void Machine::LoadKernel(CpuState& state) {
  BootOptions boot{.kernel = options_.kernel,
                   .initrd = options_.initrd,
                   .command_line = options_.append,
                   .acpi = AcpiMachineOf(board_, options_),
                   .vga_text = screen_ != nullptr};
  if (screen_) screen_->StartWithoutBios();
  if (options_.command == Command::kDemo) {
    if (demo_fd_ < 0) {
      demo_fd_ = memfd_create("ring3-demo", MFD_CLOEXEC);
      if (demo_fd_ < 0 || !WriteFully(demo_fd_, DemoKernelImage()))
        throw UsageError("cannot hold the demo guest in memory");
    }
    boot.kernel = fmt::format("/proc/self/fd/{}", demo_fd_);
  }
  LoadGuest(boot, physical_, state);
}

void Machine::ResetMachine() {
  request_ = Request::kNone;
  board_.FlushOutput();
  if (options_.no_reboot) {
    Stop(exit_code::kSuccess, ShutdownCause::kGuestReset);
    return;
  }
  board_.Reset();
  if (!options_.boot.once.empty()) StoreBootLetters(board_.Rtc(), options_.boot.order);
  if (storage_) storage_->Reset();
  StartGuest();
  control_->NoteReset();
}

void Machine::Stop(int code, ShutdownCause cause) {
  if (request_ == Request::kStop) return;  // the first reason counts
  request_ = Request::kStop;
  exit_code_ = code;
  if (control_) control_->NoteShutdown(cause, code);
  engine_->Kick();
}

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
    ReportEnd("triple fault: the guest's processor shut down");
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

void Machine::ReportEnd(const char* title) {
  board_.FlushOutput();
  RawTerminal::Restore();
  engine_->Report(stderr, title);
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
      if (!options_.UsesFirmware() || options_.no_reboot || recorder_) throw;
      ResetMachine();
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

void Machine::ConnectSerial() {
  for (unsigned port = 0; port < consoles_.size(); ++port) {
    if (!consoles_[port]) continue;
    SerialConsole& console = *consoles_[port];
    console.Connect(*board_.Serial(port), calls_);
    control_->AddCharacterDevice(console.Describe());
    if (SerialConsole::IsTerminal(options_.serials[port])) ConnectTerminal(port);
  }
}

void Machine::ConnectTerminal(unsigned port) {
  terminal_port_ = port;
  terminal_ = std::make_unique<RawTerminal>();
  const pthread_t vcpu_thread = pthread_self();
  input_ = std::make_unique<ConsoleInput>(
      STDIN_FILENO,
      ConsoleInput::Events{.wake = [vcpu_thread] { pthread_kill(vcpu_thread, kKickSignal); },
                           .monitor = [this](std::string_view bytes) { servers_->TypeToMonitor(bytes); }});
  consoles_[port]->OnRoom([this] { engine_->Kick(); });  // the reader may hold more
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

void Machine::WriteStats() {
  if (!stats_) return;
  const double seconds = static_cast<double>(HostClock().NowNs() - start_ns_) / 1e9;
  engine_->WriteStats(stats_, seconds);
}

}  // namespace ring3
