// CpuState to KVM's structures and back.
#include <linux/kvm.h>
#include <x86intrin.h>

#include <algorithm>
#include <cstring>
#include <iterator>

#include "monitor/cpu/xstate.h"
#include "monitor/kvm/kvm_ioctl.h"
#include "monitor/kvm/kvm_vcpu.h"

namespace ring3 {
namespace {

constexpr uint32_t kMsrTsc = 0x10, kMsrSysenterCs = 0x174, kMsrSysenterEsp = 0x175, kMsrSysenterEip = 0x176,
                   kMsrPat = 0x277;
constexpr uint16_t kTssBusyBit = 2;

constexpr uint32_t kMsrs[] = {kMsrTsc, kMsrSysenterCs, kMsrSysenterEsp, kMsrSysenterEip, kMsrPat};
using MsrList = KvmList<kvm_msr_entry, std::size(kMsrs)>;

MsrList Msrs() {
  MsrList list;
  for (uint32_t index : kMsrs) list.Add().index = index;
  return list;
}

kvm_segment ToKvm(const SegmentRegister& r) {
  const uint16_t a = r.attributes;
  return {.base = r.base,
          .limit = r.limit,
          .selector = r.selector,
          .type = static_cast<uint8_t>(a & segattr::kTypeMask),
          .present = r.Present(),
          .dpl = static_cast<uint8_t>(r.Dpl()),
          .db = r.Big(),
          .s = (a & segattr::kS) != 0,
          .l = 0,
          .g = (a & segattr::kG) != 0,
          .avl = (a & segattr::kAvl) != 0,
          .unusable = !r.Present()};
}

SegmentRegister FromKvm(const kvm_segment& k) {
  if (k.unusable) return {.selector = k.selector};
  return {.selector = k.selector,
          .attributes = static_cast<uint16_t>(k.type | k.s << 4 | k.dpl << segattr::kDplShift | k.present << 7 |
                                              k.avl << 12 | k.l << 13 | k.db << 14 | k.g << 15),
          .base = static_cast<uint32_t>(k.base),
          .limit = k.limit};
}

/// The members of kvm_sregs2 in the order of Seg.
constexpr kvm_segment kvm_sregs2::*kSegments[kSegCount] = {&kvm_sregs2::es, &kvm_sregs2::cs, &kvm_sregs2::ss,
                                                           &kvm_sregs2::ds, &kvm_sregs2::fs, &kvm_sregs2::gs};
/// The members of kvm_regs in the order of Gpr.
constexpr __u64 kvm_regs::*kRegisters[kGprCount] = {&kvm_regs::rax, &kvm_regs::rcx, &kvm_regs::rdx, &kvm_regs::rbx,
                                                    &kvm_regs::rsp, &kvm_regs::rbp, &kvm_regs::rsi, &kvm_regs::rdi};

bool LoadsPdptes(const CpuState& s) { return s.Paging() && (s.cr4 & cr4::kPae); }

}  // namespace

void KvmVcpu::PutTables(const CpuState& s) {
  kvm_sregs2 k{};
  KvmIoctl(vcpu_.Get(), KVM_GET_SREGS2, &k, "KVM_GET_SREGS2");  // what a 32-bit guest has no notion of stays
  for (unsigned i = 0; i < kSegCount; ++i) k.*kSegments[i] = ToKvm(s.seg[i]);
  k.ldt = ToKvm(s.ldtr);
  k.tr = ToKvm(s.tr);
  k.tr.type |= kTssBusyBit;  // hardware demands it in TR, whatever was loaded
  k.gdt = {.base = s.gdtr.base, .limit = s.gdtr.limit};
  k.idt = {.base = s.idtr.base, .limit = s.idtr.limit};
  k.cr0 = s.cr0;
  k.cr2 = s.cr2;
  k.cr3 = s.cr3;
  k.cr4 = s.cr4;
  k.efer = s.efer;
  k.flags = LoadsPdptes(s) ? KVM_SREGS2_FLAGS_PDPTRS_VALID : 0;
  std::copy(s.pdpte.begin(), s.pdpte.end(), k.pdptrs);
  KvmIoctl(vcpu_.Get(), KVM_SET_SREGS2, &k, "KVM_SET_SREGS2");
}

void KvmVcpu::GetTables(CpuState& s) {
  kvm_sregs2 k{};
  KvmIoctl(vcpu_.Get(), KVM_GET_SREGS2, &k, "KVM_GET_SREGS2");
  for (unsigned i = 0; i < kSegCount; ++i) s.seg[i] = FromKvm(k.*kSegments[i]);
  s.ldtr = FromKvm(k.ldt);
  s.tr = FromKvm(k.tr);
  s.gdtr = {static_cast<uint32_t>(k.gdt.base), k.gdt.limit};
  s.idtr = {static_cast<uint32_t>(k.idt.base), k.idt.limit};
  s.cr0 = static_cast<uint32_t>(k.cr0);
  s.cr2 = static_cast<uint32_t>(k.cr2);
  s.cr3 = static_cast<uint32_t>(k.cr3);
  s.cr4 = static_cast<uint32_t>(k.cr4);
  s.efer = k.efer;
  s.cpl = s.V86() ? 3 : s.ProtectedMode() ? k.ss.dpl : 0;
  if (LoadsPdptes(s) && (k.flags & KVM_SREGS2_FLAGS_PDPTRS_VALID)) std::copy(k.pdptrs, k.pdptrs + 4, s.pdpte.begin());
}

void KvmVcpu::PutMsrs(const CpuState& s) {
  MsrList list = Msrs();
  const uint64_t values[] = {__rdtsc() + s.tsc_offset, s.sysenter_cs, s.sysenter_esp, s.sysenter_eip, s.pat};
  for (size_t i = 0; i < std::size(values); ++i) list.entries[i].data = values[i];
  KvmIoctl(vcpu_.Get(), kSetMsrs, &list, "KVM_SET_MSRS");
}

void KvmVcpu::GetMsrs(CpuState& s) {
  MsrList list = Msrs();
  KvmIoctl(vcpu_.Get(), kGetMsrs, &list, "KVM_GET_MSRS");
  s.tsc_offset = list.entries[0].data - __rdtsc();
  s.sysenter_cs = static_cast<uint32_t>(list.entries[1].data);
  s.sysenter_esp = static_cast<uint32_t>(list.entries[2].data);
  s.sysenter_eip = static_cast<uint32_t>(list.entries[3].data);
  s.pat = list.entries[4].data;
}

void KvmVcpu::PutFpu(const CpuState& s) {
  if (has_xcrs_) {
    const kvm_xcrs registers{.nr_xcrs = 1, .flags = 0, .xcrs = {{.xcr = 0, .reserved = 0, .value = s.xcr0}}, .padding = {}};
    KvmIoctl(vcpu_.Get(), KVM_SET_XCRS, &registers, "KVM_SET_XCRS");
  }
  XsaveImage image{};
  std::copy(s.fxsave.begin(), s.fxsave.end(), image.begin());
  std::copy(s.ymm_high.begin(), s.ymm_high.end(), image.begin() + xstate::kAvxOffset);
  const bool upper_halves = std::any_of(s.ymm_high.begin(), s.ymm_high.end(), [](uint8_t byte) { return byte != 0; });
  const uint64_t components = xstate::kX87 | xstate::kSse | (upper_halves ? xstate::kAvx : 0);
  std::memcpy(&image[xstate::kLegacyBytes], &components, sizeof components);
  KvmIoctl(vcpu_.Get(), kSetXsave, &image, "KVM_SET_XSAVE");
}

void KvmVcpu::GetFpu(CpuState& s) {
  if (has_xcrs_) {
    kvm_xcrs registers{};
    KvmIoctl(vcpu_.Get(), KVM_GET_XCRS, &registers, "KVM_GET_XCRS");
    s.xcr0 = static_cast<uint32_t>(registers.xcrs[0].value);
  }
  XsaveImage image{};
  KvmIoctl(vcpu_.Get(), kGetXsave, &image, "KVM_GET_XSAVE");
  std::copy_n(image.begin(), s.fxsave.size(), s.fxsave.begin());
  uint64_t components;
  std::memcpy(&components, &image[xstate::kLegacyBytes], sizeof components);
  s.ymm_high.fill(0);  // what is not in the image has its initial value
  if (components & xstate::kAvx) std::copy_n(image.begin() + xstate::kAvxOffset, s.ymm_high.size(), s.ymm_high.begin());
}

void KvmVcpu::Put(const CpuState& s) {
  PutTables(s);
  PutMsrs(s);
  PutFpu(s);
  kvm_regs r{};
  for (unsigned i = 0; i < kGprCount; ++i) r.*kRegisters[i] = s.gpr[i];
  r.rip = s.eip;
  r.rflags = s.eflags;
  KvmIoctl(vcpu_.Get(), KVM_SET_REGS, &r, "KVM_SET_REGS");
  kvm_debugregs d{};
  std::copy(s.dr.begin(), s.dr.begin() + 4, d.db);
  d.dr6 = s.dr[6];
  d.dr7 = s.dr[7];
  KvmIoctl(vcpu_.Get(), KVM_SET_DEBUGREGS, &d, "KVM_SET_DEBUGREGS");
  kvm_vcpu_events events{};
  events.interrupt.shadow = s.interrupt_shadow ? KVM_X86_SHADOW_INT_STI : 0;
  events.flags = KVM_VCPUEVENT_VALID_SHADOW;
  KvmIoctl(vcpu_.Get(), KVM_SET_VCPU_EVENTS, &events, "KVM_SET_VCPU_EVENTS");
}

void KvmVcpu::Get(CpuState& s) {
  kvm_regs r{};
  KvmIoctl(vcpu_.Get(), KVM_GET_REGS, &r, "KVM_GET_REGS");
  for (unsigned i = 0; i < kGprCount; ++i) s.gpr[i] = static_cast<uint32_t>(r.*kRegisters[i]);
  s.eip = static_cast<uint32_t>(r.rip);
  s.eflags = static_cast<uint32_t>(r.rflags);
  GetTables(s);
  GetMsrs(s);
  GetFpu(s);
  kvm_debugregs d{};
  KvmIoctl(vcpu_.Get(), KVM_GET_DEBUGREGS, &d, "KVM_GET_DEBUGREGS");
  std::copy(d.db, d.db + 4, s.dr.begin());
  s.dr[6] = static_cast<uint32_t>(d.dr6);
  s.dr[7] = static_cast<uint32_t>(d.dr7);
  kvm_vcpu_events events{};
  KvmIoctl(vcpu_.Get(), KVM_GET_VCPU_EVENTS, &events, "KVM_GET_VCPU_EVENTS");
  s.interrupt_shadow = events.interrupt.shadow != 0;
}

}  // namespace ring3
