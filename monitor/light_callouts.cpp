// Light callouts: the usual case of each instruction, with every check of the slow path; all else is declined. This
// file is compiled for general registers only and may call nothing that is not.
#include "monitor/light_callouts.h"

#include <cstring>

#include "monitor/callout_context.h"
#include "monitor/cpu/descriptor.h"
#include "monitor/cpu/return_flags.h"
#include "monitor/cpu/system_call_segments.h"

namespace ring3 {
namespace {

constexpr CalloutResult kDeclined = CalloutResult::kDeclined;

// Guest memory, wherever it lies.
using UnalignedWord [[gnu::aligned(1), gnu::may_alias]] = uint16_t;
using UnalignedDword [[gnu::aligned(1), gnu::may_alias]] = uint32_t;

template <class T>
bool Read(const Vcpu& vcpu, uint32_t linear, Access access, T& value) {
  const uint8_t* host = vcpu.cpu.memory.CachedRead(GuestLinear(linear), sizeof value, access);
  if (!host) return false;
  __builtin_memcpy(&value, host, sizeof value);
  return true;
}

/// The descriptor of a non-null selector in the GDT.
bool ReadGdt(const Vcpu& vcpu, uint16_t selector, Descriptor& descriptor) {
  const TableRegister& gdtr = vcpu.cpu.state.gdtr;
  const uint32_t offset = selector & 0xFFF8u;
  if (IsNull(selector) || InLdt(selector) || offset + 7 > gdtr.limit) return false;
  return Read(vcpu, gdtr.base + offset, kImplicitRead, descriptor.raw);
}

bool Accessed(const Descriptor& descriptor) { return descriptor.Type() & segattr::kAccessed; }

/// A code segment that an event or a return may load as it is, with `offset` inside.
bool PlainCode(const Descriptor& code, uint32_t offset) {
  return code.IsCode() && !code.IsConforming() && code.Present() && Accessed(code) && offset <= code.Limit();
}

/// A stack whose accesses need no check of the limit.
bool PlainStack(const SegmentRegister& ss) {
  constexpr uint16_t kMustBe = segattr::kPresent | segattr::kS | segattr::kWritable | segattr::kDb;
  constexpr uint16_t kMustNotBe = segattr::kCode | segattr::kExpandDown;
  return (ss.attributes & (kMustBe | kMustNotBe)) == kMustBe && ss.limit == 0xFFFF'FFFF;
}

bool PlainStackDescriptor(const Descriptor& ss, uint16_t selector, unsigned cpl) {
  return Rpl(selector) == cpl && ss.Dpl() == cpl && Accessed(ss) && PlainStack(ss.Load(selector));
}

struct Stack {
  SegmentRegister ss;
  uint32_t esp;
};

/// The ring 0 stack of a 32-bit TSS.
bool ReadRing0Stack(const Vcpu& vcpu, Stack& stack) {
  constexpr uint32_t kEsp0 = 4, kEnd = 10;
  const SegmentRegister& tr = vcpu.cpu.state.tr;
  uint32_t fields[2];
  if (!(tr.attributes & systype::k32Bit) || tr.limit < kEnd || !Read(vcpu, tr.base + kEsp0, kImplicitRead, fields)) {
    return false;
  }
  const uint16_t selector = static_cast<uint16_t>(fields[1]);
  Descriptor descriptor;
  if (!ReadGdt(vcpu, selector, descriptor) || !PlainStackDescriptor(descriptor, selector, 0)) return false;
  stack = {descriptor.Load(selector), fields[0]};
  return true;
}

/// INT n through a 32-bit interrupt or trap gate, to the same level or from an outer one to ring 0.
CalloutResult Interrupt(Vcpu& vcpu, CalloutArguments arguments, uint32_t) {
  CpuState& state = vcpu.cpu.state;
  const uint32_t offset = arguments.operand * 8u;
  Descriptor gate, code;
  if (offset + 7 > state.idtr.limit || !Read(vcpu, state.idtr.base + offset, kImplicitRead, gate.raw)) return kDeclined;
  const bool usual = gate.IsSystem() && (gate.Type() | 1u) == systype::kTrapGate32 && gate.Present();
  if (!usual || gate.Dpl() < state.cpl || !ReadGdt(vcpu, gate.GateSelector(), code)) return kDeclined;
  if (!PlainCode(code, gate.GateOffset())) return kDeclined;
  const bool inner = state.cpl != 0;
  if (code.Dpl() != 0) return kDeclined;
  Stack stack{state.Segment(Seg::kSs), state.gpr[kEsp]};
  if (inner ? !ReadRing0Stack(vcpu, stack) : !PlainStack(stack.ss)) return kDeclined;
  const uint32_t flags = vcpu.Flags();
  const uint32_t frame[] = {state.eip + arguments.length, state.Segment(Seg::kCs).selector, flags, state.gpr[kEsp],
                            state.Segment(Seg::kSs).selector};
  const uint32_t bytes = inner ? 20 : 12;
  uint8_t* top = vcpu.cpu.memory.CachedWrite(GuestLinear(stack.ss.base + stack.esp - bytes), bytes, kImplicitWrite);
  if (!top) return kDeclined;
  for (uint32_t at = 0; at < bytes; at += 4) __builtin_memcpy(top + at, &frame[at / 4], 4);
  state.Segment(Seg::kSs) = stack.ss;
  state.gpr[kEsp] = stack.esp - bytes;
  state.Segment(Seg::kCs) = code.Load(gate.GateSelector() & 0xFFFC);
  state.eip = gate.GateOffset();
  state.cpl = 0;
  const bool trap_gate = gate.Type() & 1;
  vcpu.SetFlags(flags & ~(eflags::kTf | eflags::kNt | eflags::kRf | eflags::kVm | (trap_gate ? 0 : eflags::kIf)));
  return GoOnAfter(vcpu, Seg::kCs, Seg::kSs);
}

/// Whether a return to CPL 3 leaves all data segment registers as they are.
bool SegmentsMayStay(const CpuState& state) {
  for (Seg s : {Seg::kEs, Seg::kDs, Seg::kFs, Seg::kGs}) {
    const SegmentRegister& segment = state.Segment(s);
    if (segment.Dpl() < 3 && !(segment == SegmentRegister{})) return false;
  }
  return true;
}

/// IRETD to the same level or from ring 0 to ring 3.
CalloutResult InterruptReturn(Vcpu& vcpu, CalloutArguments, uint32_t) {
  CpuState& state = vcpu.cpu.state;
  const SegmentRegister& ss = state.Segment(Seg::kSs);
  const uint32_t held = vcpu.Flags();
  if ((held & eflags::kNt) || state.nmi_blocked || state.cpl != 0 || !PlainStack(ss)) return kDeclined;
  uint32_t popped[3];
  const uint32_t top = ss.base + state.gpr[kEsp];
  if (!Read(vcpu, top, kImplicitRead, popped)) return kDeclined;
  const auto [eip, cs, image] = popped;
  // RF is set when a fault was handled. The slow path then executes the instruction that faulted, too: mostly a page
  // is touched for the first time, and to have it mapped would take another fault, the host's.
  if (image & (eflags::kVm | eflags::kTf | eflags::kRf)) return kDeclined;
  const uint16_t selector = static_cast<uint16_t>(cs);
  const unsigned cpl = Rpl(selector);
  Descriptor code;
  if (!ReadGdt(vcpu, selector, code) || !PlainCode(code, eip) || code.Dpl() != cpl) return kDeclined;
  const uint32_t flags = ReturnedFlags(held, state.cpl, true, image, OperandSize::k32);
  if (cpl == 0) {
    state.gpr[kEsp] += sizeof popped;
  } else {
    uint32_t outer[2];
    Descriptor stack;
    if (cpl != 3 || !Read(vcpu, top + sizeof popped, kImplicitRead, outer)) return kDeclined;
    const uint16_t stack_selector = static_cast<uint16_t>(outer[1]);
    if (!ReadGdt(vcpu, stack_selector, stack) || !PlainStackDescriptor(stack, stack_selector, cpl)) return kDeclined;
    if (!SegmentsMayStay(state)) return kDeclined;
    state.Segment(Seg::kSs) = stack.Load(stack_selector);
    state.gpr[kEsp] = outer[0];
    state.cpl = 3;
  }
  state.Segment(Seg::kCs) = code.Load(selector);
  state.eip = eip;
  vcpu.SetFlags(flags);
  return GoOnAfter(vcpu, Seg::kCs, Seg::kSs);
}

bool SystemCallsUsable(const Cpu& cpu) {
  return cpu.model.Has(cpuid_edx::kSep) && !IsNull(static_cast<uint16_t>(cpu.state.sysenter_cs));
}

CalloutResult SystemEnter(Vcpu& vcpu, CalloutArguments, uint32_t) {
  if (!SystemCallsUsable(vcpu.cpu)) return kDeclined;
  const uint32_t flags = vcpu.Flags();
  EnterKernel(vcpu.cpu.state);
  vcpu.SetFlags(flags & ~(eflags::kVm | eflags::kIf | eflags::kRf));
  return GoOnAfter(vcpu, Seg::kCs, Seg::kSs);
}

CalloutResult SystemExit(Vcpu& vcpu, CalloutArguments, uint32_t) {
  if (!SystemCallsUsable(vcpu.cpu) || vcpu.cpu.state.cpl != 0) return kDeclined;
  ExitKernel(vcpu.cpu.state);
  return GoOnAfter(vcpu, Seg::kCs, Seg::kSs);
}

CalloutResult Cpuid(Vcpu& vcpu, CalloutArguments arguments, uint32_t) {
  CpuState& state = vcpu.cpu.state;
  const CalloutContext::CpuidAnswer& answer = vcpu.run.callout_context->CpuidSlot(state.gpr[kEax], state.gpr[kEcx]);
  const bool known = answer.known && answer.leaf == state.gpr[kEax] && answer.subleaf == state.gpr[kEcx] &&
                     answer.cr4 == (state.cr4 & cr4::kOsxsave) && answer.xcr0 == state.xcr0;
  if (!known) return kDeclined;
  state.gpr[kEax] = answer.values[0];
  state.gpr[kEbx] = answer.values[1];
  state.gpr[kEcx] = answer.values[2];
  state.gpr[kEdx] = answer.values[3];
  state.eip += arguments.length;
  return GoOnInMode(vcpu);
}

CalloutResult ClearTaskSwitched(Vcpu& vcpu, CalloutArguments arguments, uint32_t) {
  CpuState& state = vcpu.cpu.state;
  if (state.cpl != 0) return kDeclined;
  const bool was_set = state.cr0 & cr0::kTs;
  state.cr0 &= ~cr0::kTs;
  state.eip += arguments.length;
  return was_set ? GoOn(vcpu) : GoOnInMode(vcpu);
}

/// Notes that loading `segment` again from the descriptor `raw` changes nothing (SegmentCheck).
void Learn(Vcpu& vcpu, unsigned index, const SegmentRegister& segment, uint64_t raw) {
  SegmentCheck& check = vcpu.run.segment_checks[index];
  check.negated_descriptor = -raw;
  check.descriptor_address = vcpu.cpu.state.gdtr.base + (segment.selector & 0xFFF8u);
  check.negated_selector = -uint32_t{segment.selector};
  vcpu.run.callout_context->learnt[index] = segment;
}

/// MOV to or POP of ES, DS, FS or GS.
CalloutResult LoadSegment(Vcpu& vcpu, CalloutArguments arguments, uint32_t value) {
  CpuState& state = vcpu.cpu.state;
  const auto [index, popped_bytes] = LoadSegmentOperand::Unpack(arguments.operand);
  const uint16_t selector = static_cast<uint16_t>(value);
  SegmentRegister loaded{.selector = selector};
  uint64_t raw = 0;
  if (IsNull(selector)) {
    if (state.gdtr.limit < 7 || !Read(vcpu, state.gdtr.base, kImplicitRead, raw)) return kDeclined;
  } else {
    Descriptor descriptor;
    if (!ReadGdt(vcpu, selector, descriptor)) return kDeclined;
    const unsigned rpl = Rpl(selector), privilege = rpl > state.cpl ? rpl : state.cpl;
    const bool allowed = descriptor.IsReadable() && (descriptor.IsConforming() || privilege <= descriptor.Dpl());
    if (!allowed || !descriptor.Present() || !Accessed(descriptor)) return kDeclined;
    loaded = descriptor.Load(selector);
    raw = descriptor.raw;
  }
  state.seg[index] = loaded;
  Learn(vcpu, index, loaded, raw);
  state.gpr[kEsp] += popped_bytes;
  state.eip += arguments.length;
  return GoOnAfter(vcpu, static_cast<Seg>(index), static_cast<Seg>(index));
}

uint32_t MaskOf(unsigned bytes) { return bytes == 4 ? 0xFFFF'FFFF : (1u << 8 * bytes) - 1; }

bool Load(Vcpu& vcpu, const SoftMove& move, uint32_t linear, Access access) {
  const uint8_t* host = vcpu.cpu.memory.CachedRead(GuestLinear(linear), move.bytes, access);
  if (!host) return false;
  uint32_t value = *host;
  if (move.bytes == 2) value = *reinterpret_cast<const UnalignedWord*>(host);
  if (move.bytes == 4) value = *reinterpret_cast<const UnalignedDword*>(host);
  const uint32_t sign = 1u << (8 * move.bytes - 1);
  if (move.is_signed) value = (value ^ sign) - sign;
  uint32_t& gpr = vcpu.cpu.state.gpr[move.gpr];
  const uint32_t mask = MaskOf(move.result_bytes) << move.shift;
  gpr = (gpr & ~mask) | (value << move.shift & mask);
  return true;
}

bool Store(Vcpu& vcpu, const SoftMove& move, uint32_t linear, uint32_t value, Access access) {
  uint8_t* host = vcpu.cpu.memory.CachedWrite(GuestLinear(linear), move.bytes, access);
  if (!host) return false;
  if (move.bytes == 1) *host = static_cast<uint8_t>(value);
  if (move.bytes == 2) *reinterpret_cast<UnalignedWord*>(host) = static_cast<uint16_t>(value);
  if (move.bytes == 4) *reinterpret_cast<UnalignedDword*>(host) = value;
  return true;
}

/// `count` elements, none of which lies in two pages. The host's own instruction decides what overlapping operands
/// become.
void RunString(const SoftMove& move, uint8_t* to, const uint8_t* from, uint64_t count, uint32_t value) {
  const bool moves = move.kind == SoftKind::kMoveString;
  if (moves && move.bytes == 1) asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
  if (moves && move.bytes == 2) asm volatile("rep movsw" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
  if (moves && move.bytes == 4) asm volatile("rep movsl" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
  if (!moves && move.bytes == 1) asm volatile("rep stosb" : "+D"(to), "+c"(count) : "a"(value) : "memory");
  if (!moves && move.bytes == 2) asm volatile("rep stosw" : "+D"(to), "+c"(count) : "a"(value) : "memory");
  if (!moves && move.bytes == 4) asm volatile("rep stosl" : "+D"(to), "+c"(count) : "a"(value) : "memory");
}

/// How many whole elements there are before the end of the page.
uint32_t ElementsInPage(uint32_t linear, unsigned bytes) { return (kPageSize - linear % kPageSize) / bytes; }

/// MOVS and STOS forwards. What was done stays done when it returns false, as between two iterations.
bool MoveString(Vcpu& vcpu, const SoftMove& move, bool user) {
  CpuState& state = vcpu.cpu.state;
  LinearMemory& memory = vcpu.cpu.memory;
  if (vcpu.run.host_flags & eflags::kDf) return false;
  uint32_t &edi = state.gpr[kEdi], &esi = state.gpr[kEsi], &ecx = state.gpr[kEcx];
  const bool moves = move.kind == SoftKind::kMoveString;
  uint32_t count = move.repeated ? ecx : 1;
  while (count != 0) {
    uint32_t now = ElementsInPage(edi, move.bytes);
    if (moves && ElementsInPage(esi, move.bytes) < now) now = ElementsInPage(esi, move.bytes);
    if (count < now) now = count;
    if (now == 0) return false;
    const uint32_t bytes = now * move.bytes;
    uint8_t* to = memory.CachedWrite(GuestLinear(edi), bytes, {AccessType::kWrite, user});
    const uint8_t* from = moves ? memory.CachedRead(GuestLinear(esi), bytes, {AccessType::kRead, user}) : to;
    if (!to || !from) return false;
    RunString(move, to, from, now, state.gpr[kEax]);
    edi += bytes;
    if (moves) esi += bytes;
    count -= now;
    if (move.repeated) ecx = count;
  }
  return true;
}

bool Move(Vcpu& vcpu, const SoftMove& move, uint32_t linear) {
  const bool user = vcpu.cpu.state.cpl == 3;
  switch (move.kind) {
    case SoftKind::kLoad:
      return Load(vcpu, move, linear, {AccessType::kRead, user});
    case SoftKind::kStore:
      return Store(vcpu, move, linear, vcpu.cpu.state.gpr[move.gpr] >> move.shift, {AccessType::kWrite, user});
    case SoftKind::kStoreImmediate:
      return Store(vcpu, move, linear, move.immediate, {AccessType::kWrite, user});
    case SoftKind::kInline:
      return true;
    default:
      return MoveString(vcpu, move, user);
  }
}

/// Lets translated code find the page itself from now on.
bool Share(Vcpu& vcpu, const SoftMove& move, bool writes, uint32_t linear) {
  const Access access{writes ? AccessType::kWrite : AccessType::kRead, vcpu.cpu.state.cpl == 3};
  return vcpu.cpu.memory.Share(GuestLinear(linear), move.bytes, access);
}

bool Worthwhile(Vcpu& vcpu, SoftSite& site, uint16_t number, uint32_t linear) {
  CalloutContext& context = *vcpu.run.callout_context;
  if (!site.budgeted) return ++site.accesses <= site.limit;
  SoftBudget& budget = vcpu.run.soft_budgets[number];
  if (budget.value <= 0) return false;
  if (!context.soft_news.Meets(number, linear >> kPageShift, context.switches))
    return budget.Spend(SoftBudget::kCallout);
  budget.Earn(SoftBudget::kNewPage);
  return true;
}

/// A demoted instruction that only moves data. The interpreter has those that the monitor's TLB does not serve, and
/// decides whether the site is better off with mappings.
CalloutResult SoftAccess(Vcpu& vcpu, CalloutArguments arguments, uint32_t linear) {
  const auto [number, second] = SoftAccessOperand::Unpack(arguments.operand);
  SoftSite& site = vcpu.run.callout_context->soft_sites[number];
  const bool writes = site.move.Writes(second);
  const bool shared = !site.move.IsString() && Share(vcpu, site.move, writes, linear);
  const bool is_inline = site.move.kind == SoftKind::kInline;
  if (!Worthwhile(vcpu, site, number, linear) || (is_inline && !shared) || !Move(vcpu, site.move, linear)) {
    vcpu.run.callout_context->soft_miss = {&site.move, linear, writes};
    return CalloutResult::kStep;
  }
  if (!is_inline) vcpu.cpu.state.eip += arguments.length;  // else once more, with the page
  return GoOnInMode(vcpu);
}

using Function = CalloutResult (*)(Vcpu&, CalloutArguments, uint32_t);

template <Function kFunction>
CalloutResult Count(Vcpu* vcpu, uint32_t packed, uint32_t value) {
  const CalloutArguments arguments = CalloutArguments::Unpack(packed);
  return vcpu->run.callout_context->Count(arguments.callout, kFunction(*vcpu, arguments, value));
}

}  // namespace

CalloutFunction LightCallout(Callout callout) {
  switch (callout) {
    case Callout::kInterrupt:
      return Count<Interrupt>;
    case Callout::kInterruptReturn:
      return Count<InterruptReturn>;
    case Callout::kSystemEnter:
      return Count<SystemEnter>;
    case Callout::kSystemExit:
      return Count<SystemExit>;
    case Callout::kCpuid:
      return Count<Cpuid>;
    case Callout::kClearTaskSwitched:
      return Count<ClearTaskSwitched>;
    case Callout::kLoadSegment:
      return Count<LoadSegment>;
    case Callout::kSoftAccess:
      return Count<SoftAccess>;
    default:
      return nullptr;
  }
}

}  // namespace ring3
