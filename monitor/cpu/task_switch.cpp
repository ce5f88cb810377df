// Hardware task switches between 16- and 32-bit TSSs (SDM 3A 7.3).
#include "monitor/cpu/task_switch.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "monitor/cpu/descriptor.h"
#include "monitor/cpu/privileged.h"
#include "monitor/cpu/segment_checks.h"
#include "monitor/cpu/stack_view.h"

namespace ring3 {
namespace {

/// Where a TSS keeps what (SDM 3A figures 7-2 and 7-10). General registers and selectors are in encoding order.
struct TssLayout {
  uint32_t min_limit;
  uint32_t eip, eflags, gpr, segments, ldt;
  uint32_t width;  // bytes per register slot
  unsigned segment_count;
};
constexpr TssLayout kTss16Layout{0x2B, 0x0E, 0x10, 0x12, 0x22, 0x2A, 2, 4};
constexpr TssLayout kTss32Layout{0x67, 0x20, 0x24, 0x28, 0x48, 0x60, 4, 6};
constexpr uint32_t kLinkOffset = 0, kCr3Offset = 0x1C, kTrapOffset = 0x64, kTss32Bytes = 0x68;

const TssLayout& LayoutOf(bool wide) { return wide ? kTss32Layout : kTss16Layout; }

/// What the new task starts with, as read from its TSS.
struct TaskImage {
  std::array<uint32_t, kGprCount> gpr{};
  std::array<uint16_t, kSegCount> selectors{};
  uint32_t eip = 0, eflags = 0, cr3 = 0;
  uint16_t ldt = 0;
  bool debug_trap = false;
};

TaskImage ReadTask(const Cpu& cpu, uint32_t base, bool wide) {
  const TssLayout& layout = LayoutOf(wide);
  std::array<uint8_t, kTss32Bytes> bytes{};
  cpu.memory.ReadBytes(GuestLinear(base), {bytes.data(), layout.min_limit + 1}, kImplicitRead);
  const auto field = [&](uint32_t offset, uint32_t width) {
    uint32_t value = 0;
    std::memcpy(&value, bytes.data() + offset, width);
    return value;
  };
  TaskImage task;
  task.eip = field(layout.eip, layout.width);
  task.eflags = (field(layout.eflags, layout.width) & eflags::kDefined) | eflags::kReserved1;
  for (unsigned i = 0; i < kGprCount; ++i) task.gpr[i] = field(layout.gpr + i * layout.width, layout.width);
  for (unsigned i = 0; i < layout.segment_count; ++i) {
    task.selectors[i] = static_cast<uint16_t>(field(layout.segments + i * layout.width, 2));
  }
  task.ldt = static_cast<uint16_t>(field(layout.ldt, 2));
  if (wide) {
    task.cr3 = field(kCr3Offset, 4);
    task.debug_trap = field(kTrapOffset, 2) & 1;
  }
  return task;
}

/// The old TSS takes EIP, EFLAGS, general registers and selectors; its static fields stay.
void SaveTask(const Cpu& cpu, uint32_t eip, uint32_t saved_eflags) {
  const CpuState& state = cpu.state;
  const TssLayout& layout = LayoutOf(state.tr.attributes & systype::k32Bit);
  const auto put = [&](uint32_t offset, uint32_t value, uint32_t width) {
    std::array<uint8_t, 4> bytes;
    std::memcpy(bytes.data(), &value, sizeof value);
    cpu.memory.WriteBytes(GuestLinear(state.tr.base + offset), {bytes.data(), width}, kImplicitWrite);
  };
  put(layout.eip, eip, layout.width);
  put(layout.eflags, saved_eflags, layout.width);
  for (unsigned i = 0; i < kGprCount; ++i) put(layout.gpr + i * layout.width, state.gpr[i], layout.width);
  for (unsigned i = 0; i < layout.segment_count; ++i) {
    put(layout.segments + i * layout.width, state.seg[i].selector, 2);
  }
}

Descriptor CheckTss(const Cpu& cpu, const TaskSwitchRequest& request) {
  const bool returning = request.source == TaskSwitchSource::kReturn;
  const uint32_t error = SelectorError(request.selector, request.ext);
  const Vector bad = returning ? Vector::kInvalidTss : Vector::kGeneralProtection;
  if (InLdt(request.selector) || IsNull(request.selector)) ThrowFault(bad, error);
  const Descriptor tss = FetchDescriptor(cpu, request.selector, bad, request.ext);
  const bool busy = tss.Type() & systype::kBusy;
  if (!tss.IsTss() || busy != returning) ThrowFault(bad, error);
  if (!tss.Present()) ThrowFault(Vector::kSegmentNotPresent, error);
  if (tss.Limit() < LayoutOf(tss.Is32Bit()).min_limit) ThrowFault(Vector::kInvalidTss, error);
  return tss;
}

/// Everything that will be written must be writable before anything is.
void CheckOldTss(const Cpu& cpu, uint32_t ext) {
  const SegmentRegister& tr = cpu.state.tr;
  const TssLayout& layout = LayoutOf(tr.attributes & systype::k32Bit);
  if (tr.limit < layout.min_limit) ThrowFault(Vector::kInvalidTss, SelectorError(tr.selector, ext));
  cpu.memory.CheckWritable(GuestLinear(tr.base + layout.eip), layout.ldt - layout.eip, false);
}

void LoadNewLdt(Cpu& cpu, uint16_t selector, uint32_t ext) {
  if (IsNull(selector)) return;
  const uint32_t error = SelectorError(selector, ext);
  if (InLdt(selector)) ThrowFault(Vector::kInvalidTss, error);
  const Descriptor ldt = FetchDescriptor(cpu, selector, Vector::kInvalidTss, ext);
  if (!ldt.IsSystem() || ldt.Type() != systype::kLdt || !ldt.Present()) ThrowFault(Vector::kInvalidTss, error);
  cpu.state.ldtr = ldt.Load(selector);
}

void LoadNewCode(Cpu& cpu, uint16_t selector, uint32_t ext) {
  const uint32_t error = SelectorError(selector, ext);
  if (IsNull(selector)) ThrowFault(Vector::kInvalidTss, error);
  const Descriptor code = FetchDescriptor(cpu, selector, Vector::kInvalidTss, ext);
  const bool level = code.IsConforming() ? code.Dpl() <= Rpl(selector) : code.Dpl() == Rpl(selector);
  if (!code.IsCode() || !level) ThrowFault(Vector::kInvalidTss, error);
  if (!code.Present()) ThrowFault(Vector::kSegmentNotPresent, error);
  MarkAccessed(cpu, selector, code);
  cpu.state.Segment(Seg::kCs) = code.Load(selector);
}

void LoadNewStack(Cpu& cpu, uint16_t selector, uint32_t ext) {
  const uint32_t error = SelectorError(selector, ext);
  if (IsNull(selector)) ThrowFault(Vector::kInvalidTss, error);
  const Descriptor data = FetchDescriptor(cpu, selector, Vector::kInvalidTss, ext);
  const unsigned cpl = cpu.state.cpl;
  if (!data.IsWritable() || data.Dpl() != cpl || Rpl(selector) != cpl) ThrowFault(Vector::kInvalidTss, error);
  if (!data.Present()) ThrowFault(Vector::kStackFault, error);
  MarkAccessed(cpu, selector, data);
  cpu.state.Segment(Seg::kSs) = data.Load(selector);
}

void LoadNewData(Cpu& cpu, Seg s, uint16_t selector, uint32_t ext) {
  if (IsNull(selector)) return;
  const uint32_t error = SelectorError(selector, ext);
  const Descriptor data = FetchDescriptor(cpu, selector, Vector::kInvalidTss, ext);
  const unsigned privilege = std::max<unsigned>(cpu.state.cpl, Rpl(selector));
  const bool level = data.IsConforming() || privilege <= data.Dpl();
  if (!data.IsReadable() || !level) ThrowFault(Vector::kInvalidTss, error);
  if (!data.Present()) ThrowFault(Vector::kSegmentNotPresent, error);
  MarkAccessed(cpu, selector, data);
  cpu.state.Segment(s) = data.Load(selector);
}

/// In the new task's context already: a fault here is the new task's.
void LoadNewSegments(Cpu& cpu, const TaskImage& task, uint32_t ext) {
  LoadNewLdt(cpu, task.ldt, ext);
  if (cpu.state.V86()) return;  // real-mode style segments were complete with their selectors
  LoadNewCode(cpu, task.selectors[static_cast<unsigned>(Seg::kCs)], ext);
  LoadNewStack(cpu, task.selectors[static_cast<unsigned>(Seg::kSs)], ext);
  for (Seg s : {Seg::kEs, Seg::kDs, Seg::kFs, Seg::kGs}) {
    LoadNewData(cpu, s, task.selectors[static_cast<unsigned>(s)], ext);
  }
}

void CommitTask(Cpu& cpu, const TaskImage& task, const SegmentRegister& tr, uint32_t extra_eflags) {
  CpuState& state = cpu.state;
  state.tr = tr;
  state.gpr = task.gpr;
  state.eip = task.eip;
  state.eflags = task.eflags | extra_eflags;
  state.cr0 |= cr0::kTs;
  state.dr[7] &= ~dr7::kLocalEnables;
  cpu.DebugRegistersChanged();
  state.ldtr = NullSegment(task.ldt);
  state.cpl = state.V86() ? 3 : Rpl(task.selectors[static_cast<unsigned>(Seg::kCs)]);
  for (unsigned i = 0; i < kSegCount; ++i) {
    state.seg[i] = state.V86() ? V86Segment(static_cast<Seg>(i), task.selectors[i]) : NullSegment(task.selectors[i]);
  }
}

void PushErrorCode(Cpu& cpu, const TaskSwitchRequest& request, bool wide) {
  StackView stack(cpu.state, request.ext);
  stack.PushAll(cpu, {&*request.error_code, 1}, wide ? OperandSize::k32 : OperandSize::k16);
  cpu.state.gpr[kEsp] = stack.Esp();
}

}  // namespace

void SwitchTask(Cpu& cpu, const TaskSwitchRequest& request) {
  CpuState& state = cpu.state;
  const Descriptor tss = CheckTss(cpu, request);
  const bool wide = tss.Is32Bit();
  const bool nests = request.source == TaskSwitchSource::kCall || request.source == TaskSwitchSource::kInterrupt;
  const bool returning = request.source == TaskSwitchSource::kReturn;
  CheckOldTss(cpu, request.ext);
  if (nests) cpu.memory.CheckWritable(GuestLinear(tss.Base() + kLinkOffset), 2, false);
  if (!nests) CheckTssWritable(cpu, state.tr.selector);
  if (!returning) CheckTssWritable(cpu, request.selector);
  const TaskImage task = ReadTask(cpu, tss.Base(), wide);
  const bool loads_cr3 = wide && state.Paging();
  const bool loads_pdptes = loads_cr3 && (state.cr4 & cr4::kPae);
  const std::array<uint64_t, 4> pdpte = loads_pdptes ? ReadPdptes(cpu, task.cr3) : state.pdpte;

  if (!nests) SetTssBusy(cpu, state.tr.selector, false);
  SaveTask(cpu, request.return_eip, request.saved_eflags & ~(returning ? eflags::kNt : 0));
  if (nests) cpu.memory.Write<uint16_t>(GuestLinear(tss.Base() + kLinkOffset), state.tr.selector, kImplicitWrite);
  if (!returning) SetTssBusy(cpu, request.selector, true);

  SegmentRegister tr = tss.Load(request.selector);
  tr.attributes |= systype::kBusy;
  CommitTask(cpu, task, tr, nests ? eflags::kNt : 0);
  if (loads_cr3) {
    state.cr3 = task.cr3;
    state.pdpte = pdpte;
    cpu.PagingChanged();
  }
  LoadNewSegments(cpu, task, request.ext);
  if (request.error_code) PushErrorCode(cpu, request, wide);
  CheckCodeLimit(state.Segment(Seg::kCs), state.eip, request.ext);
  if (task.debug_trap) state.pending_debug |= dr6::kBt;
}

void SwitchTask(Cpu& cpu, uint16_t tss_selector, TaskSwitchSource source, uint32_t return_eip) {
  SwitchTask(cpu, TaskSwitchRequest{tss_selector, source, return_eip, cpu.state.eflags, 0, std::nullopt});
}

}  // namespace ring3
