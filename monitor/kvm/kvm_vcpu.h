// One virtual machine with one processor on /dev/kvm: memory, state in and out, and running. Knows nothing of devices.
#pragma once

#include <linux/kvm.h>

#include <cstdint>
#include <string>

#include "monitor/cpu/cpu_model.h"
#include "monitor/cpu/cpu_state.h"
#include "shadowmmu/physical_memory.h"

namespace ring3 {

/// A file descriptor that is closed with its owner.
class OwnedFd {
 public:
  explicit OwnedFd(int fd) : fd_(fd) {}
  ~OwnedFd();
  OwnedFd(const OwnedFd&) = delete;
  int Get() const { return fd_; }

 private:
  int fd_;
};

class KvmVcpu : private KindListener {
 public:
  /// `memory` must outlive it. Throws UsageError where /dev/kvm is absent, not permitted or too old.
  /// RING3_KVM_DEVICE=FILE names another device.
  KvmVcpu(PhysicalMemory& memory, const CpuModel& model);
  ~KvmVcpu() override;
  KvmVcpu(const KvmVcpu&) = delete;

  /// Address line 20 cuts guest-physical addresses, or does not.
  void SetA20(bool enabled);

  /// All of `state` but `halted` and `cpl`, which KVM takes from SS.
  void Put(const CpuState& state);
  /// All of `state` but `halted`. An access to a device that the last exit asked for must have been completed.
  void Get(CpuState& state);

  /// Enters the guest. Returns false when a signal or immediate_exit came first.
  bool Run();
  /// Finishes the instruction whose device access the last exit asked for, and no more.
  void CompleteAccess();
  /// What the last exit was, and what KVM takes along with the next Run().
  kvm_run& Area() { return *run_; }
  /// The guest takes this interrupt first. Only while Area().ready_for_interrupt_injection.
  void Interrupt(uint8_t vector);

 private:
  void KindChanged(GuestPhysical first, uint64_t bytes) override;
  void SetCpuid(const CpuModel& model);
  void MapMemory();
  void SetSlot(uint32_t slot, uint64_t guest, uint64_t bytes, uint64_t offset, bool read_only);
  void PutTables(const CpuState& state);
  void PutMsrs(const CpuState& state);
  void PutFpu(const CpuState& state);
  void GetTables(CpuState& state);
  void GetMsrs(CpuState& state);
  void GetFpu(CpuState& state);

  PhysicalMemory& memory_;
  bool a20_enabled_ = true, has_xcrs_ = false;
  uint32_t slots_ = 0;
  OwnedFd kvm_, vm_, vcpu_;
  kvm_run* run_ = nullptr;
  size_t run_bytes_ = 0;
};

/// One line for a report: what kind of exit, with KVM's details where there are any.
std::string DescribeExit(const kvm_run& run);

}  // namespace ring3
