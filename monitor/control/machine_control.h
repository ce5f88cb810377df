// What a user or a debugger does to a running machine: stop and continue it, step it, reset it, end it. All of it on
// the vCPU thread; other threads come through VcpuCalls.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "devices/board.h"
#include "devices/clock.h"
#include "devices/key_player.h"
#include "monitor/control/front_ends.h"
#include "monitor/control/pointer_input.h"
#include "monitor/engine.h"
#include "shadowmmu/physical_memory.h"

namespace ring3 {

enum class RunState : uint8_t {
  kPrelaunch,  // was told to wait before the first instruction
  kRunning,
  kPaused,    // by the user
  kDebug,     // by a debugger
  kShutdown,  // the guest has ended; a reset starts it anew
};

/// What a guest that has ended is refused with.
inline constexpr const char* kNeedsReset = "Resetting the Virtual Machine is required";

/// What a debugger's stop was for.
struct DebugEvent {
  enum class Kind : uint8_t { kBreakpoint, kWatch, kStep, kPause };
  Kind kind = Kind::kPause;
  unsigned watch = 0;  // kWatch: its place in DebugStops::data
};

/// Why the run ends; the names are QMP's.
enum class ShutdownCause : uint8_t { kGuestShutdown, kGuestReset, kGuestPanic, kHostQuit, kHostError };

/// Told of what happens to the machine, after it has. Nothing may be thrown.
class ControlListener {
 public:
  virtual ~ControlListener() = default;
  virtual void Stopped(const DebugEvent&) {}
  virtual void Resumed() {}
  virtual void WasReset(bool /*by_guest*/) {}
  virtual void PowerButtonPressed() {}
  virtual void ShuttingDown(ShutdownCause, int /*exit_code*/) {}
  virtual void TrayMoved(const std::string& /*device*/, bool /*open*/) {}
};

class MachineControl {
 public:
  struct Parts {
    Engine& engine;
    PhysicalMemory& memory;
    Board& board;
    PausableClock& clock;
  };
  /// What only the machine can do. Both take effect between two instructions.
  struct Hooks {
    std::function<void()> reset;
    std::function<void(int exit_code)> quit;
    std::function<void()> resumed;  // the clock goes on: deadlines are at other times of the host
  };

  MachineControl(Parts parts, Hooks hooks);
  MachineControl(const MachineControl&) = delete;

  Engine& GetEngine() { return parts_.engine; }
  PhysicalMemory& Memory() { return parts_.memory; }
  Board& GetBoard() { return parts_.board; }
  KeyPlayer& Keys() { return keys_; }
  PointerInput& Pointer() { return pointer_; }
  /// nullptr where there are none.
  DriveControl* Drives() { return drives_; }
  ScreenControl* Screen() { return screen_; }
  /// What query-chardev lists.
  const std::vector<CharacterDevice>& CharacterDevices() const { return character_devices_; }
  void AddCharacterDevice(CharacterDevice device) { character_devices_.push_back(std::move(device)); }
  void SetDrives(DriveControl* drives) { drives_ = drives; }
  void SetScreen(ScreenControl* screen) { screen_ = screen; }

  RunState State() const { return state_; }
  bool Running() const { return state_ == RunState::kRunning; }
  /// The guest stops, and its time with it. Nothing when it is stopped already.
  void Pause(RunState why = RunState::kPaused, DebugEvent event = {});
  /// Nothing when it runs already, or has ended.
  void Resume();
  /// Executes one instruction, or as many as EIP stays in [first, end), and stops again.
  void Step(GuestLinear first = {}, GuestLinear end = {});
  void SetDebugStops(DebugStops stops);

  void Reset();
  void PressPowerButton();
  void Quit(int exit_code = 0);

  void AddListener(ControlListener* listener) { listeners_.push_back(listener); }
  void RemoveListener(ControlListener* listener) { std::erase(listeners_, listener); }
  /// For each listener, which may remove itself.
  template <class Event>
  void Tell(Event event) {
    const std::vector<ControlListener*> told = listeners_;
    for (ControlListener* listener : told) event(*listener);
  }

  // For the machine's loop.
  bool Stepping() const { return stepping_; }
  /// An instruction was executed, or an interrupt delivered, while Stepping().
  void Stepped();
  /// The engine gave kDebug.
  void EngineStopped();
  /// The machine was reset; by the guest unless Reset() asked for it.
  void NoteReset();
  void NoteShutdown(ShutdownCause cause, int exit_code);

 private:
  bool InRange(GuestLinear at) const { return at - range_first_ < range_end_ - range_first_; }

  Parts parts_;
  Hooks hooks_;
  KeyPlayer keys_;
  PointerInput pointer_;
  std::vector<CharacterDevice> character_devices_;
  DriveControl* drives_ = nullptr;
  ScreenControl* screen_ = nullptr;
  RunState state_ = RunState::kRunning;
  bool stepping_ = false, reset_by_host_ = false;
  std::optional<ShutdownCause> quit_cause_;
  GuestLinear range_first_, range_end_;
  DebugStops stops_;
  uint64_t stopped_time_stamp_ = 0;  // the host's, when the guest was stopped
  std::vector<ControlListener*> listeners_;
};

}  // namespace ring3
