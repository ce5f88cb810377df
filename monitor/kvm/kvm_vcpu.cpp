#include "monitor/kvm/kvm_vcpu.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <system_error>
#include <utility>

#include "monitor/cpu/fault.h"
#include "monitor/kvm/kvm_ioctl.h"

namespace ring3 {
namespace {

/// Pages that KVM needs for itself on processors without unrestricted guests: in the hole below the firmware, where
/// this machine has nothing.
constexpr uint64_t kIdentityMap = 0xFEFF'C000, kTaskStatePages = 0xFEFF'D000;
constexpr uint64_t kA20 = 1u << 20;

const char* Device() {
  const char* other = std::getenv("RING3_KVM_DEVICE");
  return other ? other : "/dev/kvm";
}

int OpenKvm() {
  const int fd = open(Device(), O_RDWR | O_CLOEXEC);
  if (fd < 0) throw UsageError(fmt::format("cannot open {}: {}", Device(), std::strerror(errno)));
  return fd;
}

int CreateVm(int kvm) {
  if (ioctl(kvm, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
    throw UsageError(fmt::format("{} does not speak KVM's protocol", Device()));
  for (int needed : {KVM_CAP_USER_MEMORY, KVM_CAP_SREGS2, KVM_CAP_XSAVE, KVM_CAP_DEBUGREGS, KVM_CAP_VCPU_EVENTS,
                     KVM_CAP_IMMEDIATE_EXIT, KVM_CAP_READONLY_MEM}) {
    if (ioctl(kvm, KVM_CHECK_EXTENSION, needed) <= 0)
      throw UsageError(fmt::format("{} lacks a capability that ring3 needs (number {})", Device(), needed));
  }
  const int vm = ioctl(kvm, KVM_CREATE_VM, 0);
  if (vm < 0) throw UsageError(fmt::format("{} gives no virtual machine: {}", Device(), std::strerror(errno)));
  return vm;
}

}  // namespace

OwnedFd::~OwnedFd() {
  if (fd_ >= 0) close(fd_);
}

int KvmIoctl(int fd, unsigned long request, const void* argument, const char* name) {
  const int result = ioctl(fd, request, argument);
  if (result < 0) throw std::system_error(errno, std::generic_category(), name);
  return result;
}

KvmVcpu::KvmVcpu(PhysicalMemory& memory, const CpuModel& model)
    : memory_(memory), kvm_(OpenKvm()), vm_(CreateVm(kvm_.Get())), vcpu_([this] {
        ioctl(vm_.Get(), KVM_SET_TSS_ADDR, kTaskStatePages);  // fails where KVM needs none
        const uint64_t map = kIdentityMap;
        ioctl(vm_.Get(), KVM_SET_IDENTITY_MAP_ADDR, &map);
        return KvmIoctl(vm_.Get(), KVM_CREATE_VCPU, nullptr, "KVM_CREATE_VCPU");
      }()) {
  run_bytes_ = static_cast<size_t>(KvmIoctl(kvm_.Get(), KVM_GET_VCPU_MMAP_SIZE, nullptr, "KVM_GET_VCPU_MMAP_SIZE"));
  void* area = mmap(nullptr, run_bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu_.Get(), 0);
  if (area == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "mapping the KVM vCPU");
  run_ = static_cast<kvm_run*>(area);
  has_xcrs_ = ioctl(kvm_.Get(), KVM_CHECK_EXTENSION, KVM_CAP_XCRS) > 0;
  SetCpuid(model);
  MapMemory();
  memory_.AddKindListener(this);
}

KvmVcpu::~KvmVcpu() {
  memory_.RemoveKindListener(this);
  munmap(run_, run_bytes_);
}

void KvmVcpu::SetCpuid(const CpuModel& model) {
  constexpr uint32_t kExtended = 0x8000'0000, kMostSubleaves = 8, kMostEntries = 80;
  constexpr uint32_t kAddressSizes = 0x8000'0008, kLinearBits = 0xFF00, kLinearBits48 = 48 << 8;
  KvmList<kvm_cpuid_entry2, kMostEntries> cpuid;
  const auto add = [&](uint32_t leaf, uint32_t subleaf, uint32_t flags) {
    CpuidResult r = model.Cpuid(leaf, subleaf);
    if (leaf == kAddressSizes) r.eax = (r.eax & ~kLinearBits) | kLinearBits48;  // KVM refuses CPUs with fewer
    cpuid.Add() = {
        .function = leaf, .index = subleaf, .flags = flags, .eax = r.eax, .ebx = r.ebx, .ecx = r.ecx, .edx = r.edx};
  };
  for (uint32_t leaf = 0; leaf <= model.max_leaf; ++leaf) {
    const bool indexed = model.Cpuid(leaf, 0) != model.Cpuid(leaf, 1);
    for (uint32_t subleaf = 0; subleaf < (indexed ? kMostSubleaves : 1); ++subleaf)
      add(leaf, subleaf, indexed ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0);
  }
  for (uint32_t leaf = kExtended; model.max_extended_leaf && leaf <= model.max_extended_leaf; ++leaf) add(leaf, 0, 0);
  KvmIoctl(vcpu_.Get(), kSetCpuid2, &cpuid, "KVM_SET_CPUID2");
}

void KvmVcpu::SetSlot(uint32_t slot, uint64_t guest, uint64_t bytes, uint64_t offset, bool read_only) {
  const kvm_userspace_memory_region region{
      .slot = slot,
      .flags = read_only ? uint32_t{KVM_MEM_READONLY} : 0,
      .guest_phys_addr = guest,
      .memory_size = bytes,
      .userspace_addr = reinterpret_cast<uint64_t>(memory_.Flat(GuestPhysical(offset)))};
  KvmIoctl(vm_.Get(), KVM_SET_USER_MEMORY_REGION, &region, "KVM_SET_USER_MEMORY_REGION");
}

/// One slot for each run of pages of one kind. With A20 held low, odd megabytes show the even ones below them.
void KvmVcpu::MapMemory() {
  for (uint32_t slot = 0; slot < slots_; ++slot) SetSlot(slot, 0, 0, 0, false);
  slots_ = 0;
  const auto seen_at = [this](uint64_t guest) {
    return memory_.Resolve(GuestPhysical(a20_enabled_ ? guest : guest & ~kA20)).value;
  };
  const uint64_t end = memory_.Extent();
  for (uint64_t first = 0; first < end;) {
    const uint64_t offset = seen_at(first);
    const PageKind kind = memory_.KindOf(GuestPhysical(offset));
    uint64_t next = first + kPageSize;
    while (next < end && seen_at(next) - offset == next - first && memory_.KindOf(GuestPhysical(seen_at(next))) == kind)
      next += kPageSize;
    if (kind != PageKind::kMmio) SetSlot(slots_++, first, next - first, offset, kind == PageKind::kRom);
    first = next;
  }
}

void KvmVcpu::SetA20(bool enabled) {
  if (std::exchange(a20_enabled_, enabled) != enabled) MapMemory();
}

void KvmVcpu::KindChanged(GuestPhysical, uint64_t) { MapMemory(); }

bool KvmVcpu::Run() {
  if (ioctl(vcpu_.Get(), KVM_RUN, 0) == 0) return true;
  if (errno == EINTR || errno == EAGAIN) return false;
  throw std::system_error(errno, std::generic_category(), "KVM_RUN");
}

void KvmVcpu::CompleteAccess() {
  const uint8_t before = std::exchange(run_->immediate_exit, uint8_t{1});
  if (Run()) throw std::logic_error("KVM ran on: " + DescribeExit(*run_));
  run_->immediate_exit = before;
}

void KvmVcpu::Interrupt(uint8_t vector) {
  const kvm_interrupt interrupt{.irq = vector};
  KvmIoctl(vcpu_.Get(), KVM_INTERRUPT, &interrupt, "KVM_INTERRUPT");
}

std::string DescribeExit(const kvm_run& run) {
  switch (run.exit_reason) {
    case KVM_EXIT_SHUTDOWN:
      return "shutdown";
    case KVM_EXIT_FAIL_ENTRY:
      return fmt::format("entry failed, hardware reason {:#x}", run.fail_entry.hardware_entry_failure_reason);
    case KVM_EXIT_INTERNAL_ERROR:
      return run.internal.suberror == KVM_INTERNAL_ERROR_EMULATION
                 ? "KVM cannot emulate an instruction"
                 : fmt::format("KVM internal error {}", run.internal.suberror);
    default:
      return fmt::format("exit reason {}", run.exit_reason);
  }
}

}  // namespace ring3
