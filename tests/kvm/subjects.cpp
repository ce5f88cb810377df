#include "tests/kvm/subjects.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "monitor/cpu/fault.h"
#include "monitor/cpu/interrupts.h"
#include "monitor/interpreter/interpreter.h"

namespace ring3::kvm_test {
namespace {

constexpr unsigned kMostSteps = 500;
constexpr unsigned kMostKicks = 3;  // of the timer that the tests keep running

/// Memory behind the arena stops runs as well.
void Fill(PhysicalMemory& memory) { std::memset(memory.Flat(GuestPhysical(0)), arena::kStop, memory.RamBytes()); }

/// Writes what differs; a page at a time, so that translations of the others live on.
void Load(PhysicalMemory& memory, const std::vector<uint8_t>& image) {
  for (uint32_t at = 0; at < image.size(); at += kPageSize) {
    if (std::memcmp(memory.Flat(GuestPhysical(at)), &image[at], kPageSize) != 0)
      memory.Write(GuestPhysical(at), std::span(image).subspan(at, kPageSize));
  }
  static const std::vector<uint8_t> stops(2 * kPageSize, arena::kStop);
  for (uint32_t at : arena::kBehindLargePages) {
    if (std::memcmp(memory.Flat(GuestPhysical(at)), stops.data(), stops.size()) != 0)
      memory.Write(GuestPhysical(at), stops);
  }
}

std::vector<uint8_t> Contents(PhysicalMemory& memory) {
  const uint8_t* from = memory.Flat(GuestPhysical(0));
  return {from, from + arena::kBytes};
}

}  // namespace

uint32_t RecordingPorts::ReadPort(uint16_t port, unsigned size) {
  uint32_t value = port * 0x9E3779B1u;
  if (size < 4) value &= (1u << 8 * size) - 1;
  accesses_.push_back({port, size, false, value});
  return value;
}

void RecordingPorts::WritePort(uint16_t port, unsigned size, uint32_t value) {
  if (port == arena::kStopPort && size == 1) {
    stopped_ = true;
    if (on_stop) on_stop(context);
    return;
  }
  if (size < 4) value &= (1u << 8 * size) - 1;
  accesses_.push_back({port, size, true, value});
}

std::vector<PortAccess> RecordingPorts::Take(bool& stopped) {
  stopped = std::exchange(stopped_, false);
  return std::exchange(accesses_, {});
}

KvmSubject::KvmSubject() : vcpu_(physical_, FindCpuModel("max")) {
  Fill(physical_);
  Random random(0);
  Scene scene(Mode::kProtected, 0, random);
  scene.Code({0x27});  // DAA, of which no processor is without
  interprets_ = Run(scene).end == End::kCannot;
  Scene paged(Mode::kProtected, 0, random);
  paged.EnablePaging();
  pages_ = Run(paged).end == End::kStopped;
  vcpu_.Put(Scene(Mode::kV86, 3, random).state);
  CpuState held;
  vcpu_.Get(held);
  has_v86_ = held.V86();
}

End KvmSubject::RunToEnd(Result& result) {
  kvm_run& area = vcpu_.Area();
  for (unsigned kicks = 0; kicks < kMostKicks;) {
    if (!vcpu_.Run()) {
      ++kicks;
      continue;
    }
    switch (area.exit_reason) {
      case KVM_EXIT_IO: {
        auto* data = reinterpret_cast<uint8_t*>(&area) + area.io.data_offset;
        for (uint32_t i = 0; i < area.io.count; ++i, data += area.io.size) {
          uint32_t value = 0;
          if (area.io.direction == KVM_EXIT_IO_IN) {
            value = ports_.ReadPort(area.io.port, area.io.size);
            std::memcpy(data, &value, area.io.size);
          } else {
            std::memcpy(&value, data, area.io.size);
            ports_.WritePort(area.io.port, area.io.size, value);
          }
        }
        if (!ports_.Stopped()) break;
        vcpu_.CompleteAccess();
        return End::kStopped;
      }
      case KVM_EXIT_MMIO:
        if (!area.mmio.is_write) std::memset(area.mmio.data, 0xFF, area.mmio.len);
        break;
      case KVM_EXIT_HLT:
        return End::kHalted;
      case KVM_EXIT_SHUTDOWN:
        return End::kShutdown;
      default:
        result.trouble = DescribeExit(area);
        return End::kCannot;
    }
  }
  return End::kRunaway;
}

Result KvmSubject::Run(const Scene& scene) {
  Result result;
  Load(physical_, scene.memory);
  CpuState flush;
  flush.Reset();
  vcpu_.Put(flush);  // what KVM has cached of the last scene's page tables goes with its paging mode
  vcpu_.Put(scene.state);
  result.end = RunToEnd(result);
  bool stopped;
  result.ports = ports_.Take(stopped);
  vcpu_.CompleteAccess();
  vcpu_.Get(result.state);
  result.memory = Contents(physical_);
  return result;
}

Ring3Subject::Ring3Subject(bool interpreter) : interpreter_(interpreter) {
  NewMachine();
  ports_.context = this;
  ports_.on_stop = [](void* self) { static_cast<Ring3Subject*>(self)->machine_->GetVcpu().run.kick = 1; };
}

void Ring3Subject::NewMachine() {
  machine_.reset();
  machine_ = std::make_unique<TestMachine>(TestMachineOptions{.interpreter = interpreter_});
  Fill(machine_->Physical());
  machine_->Ports().Attach(0, 0x10000, ports_, "recorder");
}

End Ring3Subject::RunInterpreted() {
  Cpu& cpu = machine_->GetCpu();
  for (unsigned steps = 0; steps < kMostSteps; ++steps) {
    try {
      if (cpu.state.DebugTrapDue()) throw GuestFault{Vector::kDebug, std::nullopt};
      const StepResult step = StepInstruction(cpu);
      if (step.debug_trap) DeliverFault(cpu, {Vector::kDebug, std::nullopt});
      if (step.halted) return End::kHalted;
    } catch (const GuestFault& fault) {
      DeliverFault(cpu, fault);
    }
    if (ports_.Stopped()) return End::kStopped;
  }
  return End::kRunaway;
}

End Ring3Subject::RunTranslated() {
  for (unsigned kicks = 0; kicks < kMostKicks;) {
    const EngineStop stop = machine_->Engine().Run();
    if (stop == EngineStop::kHalted) return End::kHalted;
    if (ports_.Stopped()) return End::kStopped;
    machine_->GetVcpu().run.kick = 0;
    ++kicks;
  }
  return End::kRunaway;
}

Result Ring3Subject::Run(const Scene& scene) {
  constexpr unsigned kRunsOfOneMachine = 500;  // then its pages count as code that keeps changing
  if (++runs_ % kRunsOfOneMachine == 0) NewMachine();
  Result result;
  if (!interpreter_) machine_->Engine().StoreFpu();
  Load(machine_->Physical(), scene.memory);
  machine_->State().Reset();
  machine_->GetCpu().PagingChanged();  // paging off: what is known of the last scene's page tables goes
  machine_->State() = scene.state;
  machine_->GetCpu().PagingChanged();
  machine_->GetCpu().DebugRegistersChanged();
  machine_->GetVcpu().run.kick = 0;
  try {
    result.end = interpreter_ ? RunInterpreted() : RunTranslated();
  } catch (const TripleFault&) {
    result.end = End::kShutdown;
  }
  if (!interpreter_) machine_->Engine().StoreFpu();
  bool stopped;
  result.ports = ports_.Take(stopped);
  result.state = machine_->State();
  result.memory = Contents(machine_->Physical());
  return result;
}

}  // namespace ring3::kvm_test
