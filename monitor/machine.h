// One virtual machine: memory, processor, board and engine, and the loop that joins them.
#pragma once

#include <atomic>
#include <csignal>
#include <ctime>
#include <memory>
#include <optional>
#include <vector>

#include "devices/board.h"
#include "devices/mailbox.h"
#include "monitor/boot/little_endian.h"
#include "monitor/control/machine_control.h"
#include "monitor/control/servers.h"
#include "monitor/control/vcpu_calls.h"
#include "monitor/display/screen.h"
#include "monitor/engine.h"
#include "monitor/lockstep/recorder.h"
#include "monitor/net/expansion_cards.h"
#include "monitor/options.h"
#include "monitor/serial_console.h"
#include "monitor/storage/drive_control.h"
#include "monitor/storage/storage.h"
#include "monitor/terminal.h"
#include "shadowmmu/physical_memory.h"

namespace ring3 {

class Machine : private KindListener {
 public:
  /// Builds the machine and loads the guest. Throws UsageError.
  explicit Machine(const Options& options);
  ~Machine();
  Machine(const Machine&) = delete;

  /// How threads of the host reach devices and memory. Works that are posted before Run() wait for it.
  Mailbox& Work() { return mailbox_; }

  /// The disks' drives; nullptr for the demo.
  Storage* Disks() { return storage_ ? &*storage_ : nullptr; }

  /// Runs until the guest or the user ends it. Returns the program's exit code.
  int Run();
  /// At the end. Throws UsageError for a file that did not take all that went to it.
  void WriteReports();

 private:
  enum class Request : uint8_t { kNone, kReset, kStop };

  void KindChanged(GuestPhysical first, uint64_t bytes) override;
  BoardOptions MakeBoardOptions();
  BoardEvents MakeBoardEvents();
  MachineControl::Hooks MakeControlHooks();
  std::unique_ptr<Screen> MakeScreen();
  std::unique_ptr<ExpansionCards> MakeCards();
  void StartGuest();
  void LoadKernel(CpuState& state);
  void ResetMachine();
  void RunLoop();
  void RunOnce();
  void HandleAttention();
  void ConnectSerial();
  void ConnectTerminal(unsigned port);
  void WriteSerial(unsigned port, std::span<const uint8_t> bytes);
  void Sleep();
  void WaitFor(const sigset_t& signals);
  uint64_t TimeLimit() const;
  bool ArmedInTime() const;
  void ArmTimer();
  void FollowLockstep();
  void NoticeDeadline();
  void EndGuest(int code, ShutdownCause cause);
  void Stop(int code, ShutdownCause cause = ShutdownCause::kHostError);
  void ReportGuest(const char* title);
  void ReportEnd(const char* title);

  Options options_;
  const CpuModel model_;
  std::unique_ptr<lockstep::Recorder> recorder_;  // with --lockstep; first, because it forks
  std::atomic<bool> running_ = false;             // the engine takes kicks
  Mailbox mailbox_;
  HostClock host_clock_;
  PausableClock clock_{host_clock_};
  std::vector<std::unique_ptr<SerialConsole>> consoles_;  // by port; null: there is no such port
  int demo_fd_ = -1;
  FILE* stats_ = nullptr;
  Bytes bios_;
  FILE* firmware_log_ = nullptr;
  PhysicalMemory physical_;
  Board board_;
  std::optional<Storage> storage_;
  std::unique_ptr<Screen> screen_;  // null: no display adapter
  std::unique_ptr<ExpansionCards> cards_;
  std::unique_ptr<Engine> engine_;
  VcpuCalls calls_{mailbox_};
  std::optional<MachineControl> control_;
  std::optional<StorageControl> storage_control_;
  std::unique_ptr<RawTerminal> terminal_;
  std::unique_ptr<ControlServers> servers_;
  std::unique_ptr<ConsoleInput> input_;
  unsigned terminal_port_ = 0;  // whose console is on the terminal
  std::optional<Timer> time_limit_;
  std::string lockstep_trigger_;  // what COM1 wrote last, while lockstep waits for a text
  timer_t host_timer_;
  std::optional<uint64_t> armed_deadline_;  // when the host timer goes off, or went off last
  bool lockstep_lost_ = false;              // the guest has done what lockstep cannot follow
  Request request_ = Request::kNone;
  int exit_code_ = 0;
  uint64_t start_ns_ = 0, relaxed_ns_ = 0;
};

}  // namespace ring3
