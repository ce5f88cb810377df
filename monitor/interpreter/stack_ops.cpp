// Push, pop and stack frames. Push and Pop move ESP themselves; a fault later in the instruction rolls it back.
#include "monitor/cpu/privileged.h"
#include "monitor/interpreter/handlers.h"
#include "monitor/interpreter/operands.h"

namespace ring3 {
namespace {

constexpr unsigned kMaxEnterLevel = 32;  // ENTER takes its level modulo this

void SetStackPointer(Step& s, uint32_t value) {
  uint32_t& esp = s.state().gpr[kEsp];
  esp = (esp & ~s.StackMask()) | (value & s.StackMask());
}

}  // namespace

void ExecutePush(Step& s) { Push(s.cpu, ReadOperand(s, s.d.Op(0)), s.Size()); }

void ExecutePop(Step& s) {
  // An ESP-based destination is addressed with the incremented ESP; POP ESP keeps the popped value.
  const uint32_t value = Pop(s.cpu, s.Size());
  WriteOperand(s, s.d.Op(0), value);
}

void ExecutePushSegment(Step& s) { Push(s.cpu, s.state().Segment(SegOf(s.d.Op(0).reg.value)).selector, s.Size()); }

void ExecutePopSegment(Step& s) {
  const Seg seg = SegOf(s.d.Op(0).reg.value);
  LoadSegment(s.cpu, seg, static_cast<uint16_t>(Pop(s.cpu, s.Size())));
  if (seg == Seg::kSs) s.ShadowNext();
}

void ExecutePusha(Step& s) {
  const auto saved = s.state().gpr;
  for (uint32_t value : saved) Push(s.cpu, value, s.Size());
}

void ExecutePopa(Step& s) {
  for (int index = kEdi; index >= kEax; --index) {
    const uint32_t value = Pop(s.cpu, s.Size());
    if (index != kEsp) WriteLow(s.state(), static_cast<Gpr>(index), s.Bytes(), value);
  }
}

void ExecutePushf(Step& s) { Push(s.cpu, PushFlagsValue(s.cpu, s.Size()), s.Size()); }

void ExecutePopf(Step& s) {
  const uint32_t value = Pop(s.cpu, s.Size());
  s.state().eflags = PopFlagsValue(s.cpu, value, s.Size());
}

void ExecuteEnter(Step& s) {
  CpuState& state = s.state();
  const auto allocate = static_cast<uint16_t>(s.d.insn.raw.imm[0].value.u);
  const unsigned level = s.d.insn.raw.imm[1].value.u % kMaxEnterLevel;
  Push(s.cpu, state.gpr[kEbp], s.Size());
  const uint32_t frame = state.gpr[kEsp];
  uint32_t link = state.gpr[kEbp];
  for (unsigned i = 1; i < level; ++i) {
    link = (link - s.Bytes()) & s.StackMask();
    const GuestLinear linear = DataLinear(s, Seg::kSs, link, s.Bytes(), AccessType::kRead);
    Push(s.cpu, ReadMemory(s.cpu, linear, s.Bytes()), s.Size());
  }
  if (level > 0) Push(s.cpu, frame, s.Size());
  SetStackPointer(s, state.gpr[kEsp] - allocate);
  // The new top of stack must be writable, though nothing is written there.
  const uint32_t top = state.gpr[kEsp] & s.StackMask();
  const GuestLinear linear = DataLinear(s, Seg::kSs, top, s.Bytes(), AccessType::kWrite);
  s.cpu.memory.CheckWritable(linear, s.Bytes(), s.cpu.User());
  WriteLow(state, kEbp, s.Bytes(), frame);
}

void ExecuteLeave(Step& s) {
  SetStackPointer(s, s.state().gpr[kEbp]);
  WriteLow(s.state(), kEbp, s.Bytes(), Pop(s.cpu, s.Size()));
}

}  // namespace ring3
