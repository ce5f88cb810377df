#include "monitor/kvm/kvm_engine.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>
#include <span>
#include <system_error>

#include "monitor/cpu/fault.h"
#include "monitor/crash_report.h"

namespace ring3 {
namespace {

KvmEngine* g_kicked_engine = nullptr;  // signal handlers need a fixed place to look

constexpr int kCrashSignals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};

const char* NameOfExit(size_t reason) {
  switch (reason) {
    case KVM_EXIT_IO:
      return "port";
    case KVM_EXIT_HLT:
      return "halt";
    case KVM_EXIT_MMIO:
      return "mmio";
    case KVM_EXIT_IRQ_WINDOW_OPEN:
      return "interrupt-window";
    case KVM_EXIT_SHUTDOWN:
      return "shutdown";
    case KVM_EXIT_INTR:
      return "signal";
    default:
      return nullptr;
  }
}

}  // namespace

KvmEngine::KvmEngine(PhysicalMemory& physical, PortBus& ports, const CpuModel& model)
    : physical_(physical), ports_(ports), vcpu_(physical, model) {
  g_kicked_engine = this;
  physical_.SetWritersUnseen();
  struct sigaction kick = {};
  kick.sa_handler = OnKickSignal;  // no SA_RESTART: KVM_RUN is to end
  sigaction(kKickSignal, &kick, nullptr);
  struct sigaction crash = {};
  crash.sa_sigaction = ReportCrash;
  crash.sa_flags = SA_SIGINFO;
  for (int signal : kCrashSignals) sigaction(signal, &crash, nullptr);
}

KvmEngine::~KvmEngine() {
  std::signal(kKickSignal, SIG_IGN);
  for (int signal : kCrashSignals) std::signal(signal, SIG_DFL);
  g_kicked_engine = nullptr;
}

void KvmEngine::OnKickSignal(int) {
  if (g_kicked_engine) g_kicked_engine->Kick();
}

/// Reaches a signal that comes before KVM_RUN, too: immediate_exit is asked inside.
void KvmEngine::Kick() {
  kicked_ = 1;
  vcpu_.Area().immediate_exit = 1;
}

void KvmEngine::ClearKick() {
  vcpu_.Area().immediate_exit = 0;
  kicked_ = 0;
}

void KvmEngine::SetState(const CpuState& state) {
  if (runs_) vcpu_.CompleteAccess();  // or KVM would finish the old guest's instruction on the new state
  vcpu_.Put(state);
  vcpu_.Area().ready_for_interrupt_injection = 0;  // not known before the guest has run
  halted_ = state.halted;
}

void KvmEngine::SetA20(bool enabled) {
  a20_enabled_ = enabled;
  vcpu_.SetA20(enabled);
}

bool KvmEngine::Interruptible() {
  const kvm_run& area = vcpu_.Area();
  return waiting_ && area.if_flag && (halted_ || area.ready_for_interrupt_injection);
}

EngineStop KvmEngine::Run() {
  for (;;) {
    if (kicked_) return EngineStop::kAttention;
    if (Interruptible()) return EngineStop::kInterruptible;
    if (halted_) return EngineStop::kHalted;
    vcpu_.Area().request_interrupt_window = waiting_;
    ++runs_;
    if (vcpu_.Run()) HandleExit();
  }
}

void KvmEngine::DeliverInterrupt(uint8_t vector) {
  ++interrupts_;
  vcpu_.Interrupt(vector);
  vcpu_.Area().ready_for_interrupt_injection = 0;  // one at a time: KVM says when it has room again
  halted_ = false;
}

void KvmEngine::HandleExit() {
  const kvm_run& area = vcpu_.Area();
  if (area.exit_reason < exits_.size()) ++exits_[area.exit_reason];
  switch (area.exit_reason) {
    case KVM_EXIT_IO:
      return AccessPort();
    case KVM_EXIT_MMIO:
      return AccessMmio();
    case KVM_EXIT_HLT:
      halted_ = true;
      return;
    case KVM_EXIT_IRQ_WINDOW_OPEN:
    case KVM_EXIT_INTR:
      return;
    case KVM_EXIT_SHUTDOWN:
      throw TripleFault{};
    default:
      throw EngineFailure("the kvm engine cannot go on: " + DescribeExit(area));
  }
}

void KvmEngine::AccessPort() {
  kvm_run& area = vcpu_.Area();
  auto* data = reinterpret_cast<uint8_t*>(&area) + area.io.data_offset;
  for (uint32_t i = 0; i < area.io.count; ++i, data += area.io.size) {
    uint32_t value = 0;
    if (area.io.direction == KVM_EXIT_IO_IN) {
      value = ports_.Read(area.io.port, area.io.size);
      std::memcpy(data, &value, area.io.size);
    } else {
      std::memcpy(&value, data, area.io.size);
      ports_.Write(area.io.port, area.io.size, value);
    }
  }
  if (on_access_) on_access_(access_context_);
}

void KvmEngine::AccessMmio() {
  kvm_run& area = vcpu_.Area();
  const std::span<uint8_t> data(area.mmio.data, area.mmio.len);
  if (area.mmio.is_write) {
    physical_.Write(GuestPhysical(area.mmio.phys_addr), data);
  } else {
    physical_.Read(GuestPhysical(area.mmio.phys_addr), data);
  }
  if (on_access_) on_access_(access_context_);
}

CpuState KvmEngine::State() {
  if (runs_) vcpu_.CompleteAccess();
  CpuState state;
  vcpu_.Get(state);
  state.halted = halted_;
  return state;
}

void KvmEngine::Report(FILE* out, const char* title) {
  CpuState state;
  vcpu_.Get(state);
  state.halted = halted_;
  PrintGuestState(out, title, state, physical_, a20_enabled_);
}

void KvmEngine::WriteStats(FILE* out, double seconds) {
  nlohmann::ordered_json exits = nlohmann::ordered_json::object();
  for (size_t reason = 0; reason < exits_.size(); ++reason) {
    if (!exits_[reason]) continue;
    const char* name = NameOfExit(reason);
    exits[name ? name : fmt::format("kvm-{}", reason)] = exits_[reason];
  }
  const nlohmann::ordered_json json = {{"seconds", seconds},
                                       {"engine", "kvm"},
                                       {"runs", runs_},
                                       {"exits", exits},
                                       {"interrupts_delivered", interrupts_}};
  fmt::print(out, "{}\n", json.dump(2));
}

}  // namespace ring3
