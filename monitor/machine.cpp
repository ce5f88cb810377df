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
  events.power_off = [this] { EndGuest(exit_code::kSuccess, ShutdownCause::kGuestShutdown); };
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
    EndGuest(exit_code::kSuccess, ShutdownCause::kGuestReset);
    return;
  }
  board_.Reset();
  if (!options_.boot.once.empty()) StoreBootLetters(board_.Rtc(), options_.boot.order);
  if (storage_) storage_->Reset();
  StartGuest();
  control_->NoteReset();
}

/// The run ends with the guest, or waits for the user to have seen what became of it.
void Machine::EndGuest(int code, ShutdownCause cause) {
  if (!options_.no_shutdown) return Stop(code, cause);
  if (control_->State() == RunState::kShutdown) return;
  control_->NoteShutdown(cause, code);
  control_->Pause(RunState::kShutdown);
}

void Machine::Stop(int code, ShutdownCause cause) {
  if (request_ == Request::kStop) return;  // the first reason counts
  request_ = Request::kStop;
  exit_code_ = code;
  if (control_) control_->NoteShutdown(cause, code);
  engine_->Kick();
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

void Machine::WriteReports() {
  engine_->CheckReports();
  CheckReport(firmware_log_, options_.firmware_log);
  if (!stats_) return;
  const double seconds = static_cast<double>(HostClock().NowNs() - start_ns_) / 1e9;
  try {
    engine_->WriteStats(stats_, seconds);
  } catch (const std::system_error&) {  // told below, with the name
  }
  CheckReport(stats_, options_.stats_file);
}

}  // namespace ring3
