#include "monitor/control/machine_control.h"

#include <x86intrin.h>

#include <algorithm>

namespace ring3 {
namespace {

GuestLinear CodeAddress(const CpuState& state) { return GuestLinear(state.Segment(Seg::kCs).base + state.eip); }

}  // namespace

MachineControl::MachineControl(Parts parts, Hooks hooks)
    : parts_(parts),
      hooks_(std::move(hooks)),
      keys_(parts_.clock, parts_.board.Timers(), parts_.board.Keyboard()),
      pointer_(parts_.board.VmPointer()) {}

void MachineControl::Pause(RunState why, DebugEvent event) {
  stepping_ = false;
  if (state_ != RunState::kRunning) {
    if (why == RunState::kDebug) state_ = why;
    return;
  }
  state_ = why;
  parts_.clock.Stop();
  stopped_time_stamp_ = __rdtsc();
  parts_.engine.Kick();
  Tell([&](ControlListener& listener) { listener.Stopped(event); });
}

void MachineControl::Resume() {
  if (state_ == RunState::kRunning || state_ == RunState::kShutdown) return;
  state_ = RunState::kRunning;
  parts_.clock.Start();
  parts_.engine.HideTimeStamps(__rdtsc() - stopped_time_stamp_);
  parts_.engine.Kick();
  hooks_.resumed();
  Tell([](ControlListener& listener) { listener.Resumed(); });
}

void MachineControl::Step(GuestLinear first, GuestLinear end) {
  range_first_ = first;
  range_end_ = end;
  Resume();
  stepping_ = true;
}

void MachineControl::SetDebugStops(DebugStops stops) {
  stops_ = std::move(stops);
  parts_.engine.SetDebugStops(stops_);
}

void MachineControl::Stepped() {
  if (const auto hit = parts_.engine.TakeDebugHit()) {
    return Pause(RunState::kDebug, {DebugEvent::Kind::kWatch, *hit});
  }
  if (range_first_ != range_end_) {
    const GuestLinear at = CodeAddress(parts_.engine.State());
    if (InRange(at) && std::ranges::find(stops_.code, at) == stops_.code.end()) return;
  }
  Pause(RunState::kDebug, {DebugEvent::Kind::kStep});
}

void MachineControl::EngineStopped() {
  const auto hit = parts_.engine.TakeDebugHit();
  Pause(RunState::kDebug, hit ? DebugEvent{DebugEvent::Kind::kWatch, *hit} : DebugEvent{DebugEvent::Kind::kBreakpoint});
}

void MachineControl::Reset() {
  reset_by_host_ = true;
  hooks_.reset();
}

void MachineControl::PressPowerButton() {
  parts_.board.Pm().PressPowerButton();
  Tell([](ControlListener& listener) { listener.PowerButtonPressed(); });
}

void MachineControl::Quit(int exit_code) {
  quit_cause_ = ShutdownCause::kHostQuit;
  hooks_.quit(exit_code);
}

void MachineControl::NoteReset() {
  keys_.Clear();
  if (state_ == RunState::kShutdown) state_ = RunState::kPrelaunch;
  const bool by_guest = !std::exchange(reset_by_host_, false);
  Tell([&](ControlListener& listener) { listener.WasReset(by_guest); });
}

void MachineControl::NoteShutdown(ShutdownCause cause, int exit_code) {
  const ShutdownCause told = quit_cause_.value_or(cause);
  Tell([&](ControlListener& listener) { listener.ShuttingDown(told, exit_code); });
}

}  // namespace ring3
