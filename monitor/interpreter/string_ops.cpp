// MOVS, CMPS, STOS, LODS, SCAS, INS, OUTS with and without REP. Every iteration commits ESI, EDI and ECX before the
// next begins, so a fault leaves the state after the last whole iteration.
#include <algorithm>
#include <cstring>

#include "monitor/cpu/privileged.h"
#include "monitor/interpreter/alu_flags.h"
#include "monitor/interpreter/handlers.h"
#include "monitor/interpreter/operands.h"

namespace ring3 {
namespace {

/// REP stops after so many iterations for interrupts to be taken.
constexpr uint32_t kChunk = 4096;
constexpr uint8_t kPrefixes[] = {0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65};
constexpr Seg kPrefixSegments[] = {Seg::kEs, Seg::kCs, Seg::kSs, Seg::kDs, Seg::kFs, Seg::kGs};

/// The registers and rights of one string instruction.
class StringOperation {
 public:
  explicit StringOperation(Step& s) : s_(s) {
    // The low opcode bit tells byte forms from word forms.
    element_bytes_ = s.d.insn.opcode & 1 ? s.Bytes() : 1;
    index_bytes_ = s.d.address32 ? 4 : 2;
    for (unsigned i = 0; i < s.d.insn.raw.prefix_count; ++i) {
      const auto* found = std::find(std::begin(kPrefixes), std::end(kPrefixes), s.d.insn.raw.prefixes[i].value);
      if (found != std::end(kPrefixes)) source_segment_ = kPrefixSegments[found - std::begin(kPrefixes)];
    }
  }

  Cpu& cpu() const { return s_.cpu; }
  CpuState& state() const { return s_.cpu.state; }
  unsigned ElementBytes() const { return element_bytes_; }
  bool Repeated() const { return s_.d.rep || s_.d.repne; }
  bool Forward() const { return !(state().eflags & eflags::kDf); }
  uint32_t Count() const { return Index(kEcx); }
  uint32_t Index(Gpr gpr) const { return ReadLow(state(), gpr, index_bytes_); }

  GuestLinear Source(AccessType type = AccessType::kRead) const {
    return DataLinear(s_, source_segment_, Index(kEsi), element_bytes_, type);
  }
  GuestLinear Destination(AccessType type) const { return DataLinear(s_, Seg::kEs, Index(kEdi), element_bytes_, type); }
  uint32_t LoadSource() const { return ReadMemory(cpu(), Source(), element_bytes_); }
  uint32_t LoadDestination() const { return ReadMemory(cpu(), Destination(AccessType::kRead), element_bytes_); }
  void StoreDestination(uint32_t value) const {
    WriteMemory(cpu(), Destination(AccessType::kWrite), element_bytes_, value);
  }

  void Advance(Gpr gpr, uint32_t elements = 1) const {
    const uint32_t distance = elements * element_bytes_;
    WriteLow(state(), gpr, index_bytes_, Forward() ? Index(gpr) + distance : Index(gpr) - distance);
  }
  void CountDown(uint32_t elements = 1) const { WriteLow(state(), kEcx, index_bytes_, Count() - elements); }

  /// Elements, at most `most`, that lie forward of the index register in one page and one segment; with their host
  /// address. 0 where element by element is the only way.
  uint32_t DirectRun(Gpr gpr, AccessType type, uint32_t most, uint8_t*& host) const {
    const Seg seg = gpr == kEsi ? source_segment_ : Seg::kEs;
    const SegmentRegister& segment = state().Segment(seg);
    if (!segment.IsCode() && (segment.attributes & segattr::kExpandDown)) return 0;
    const uint32_t offset = Index(gpr);
    const GuestLinear linear(segment.base + offset);
    const uint64_t space = uint64_t{s_.AddressMask()} + 1 - offset;
    const uint64_t in_page = std::min<uint64_t>(space, kPageSize - linear.PageOffset());
    const uint32_t run = static_cast<uint32_t>(std::min<uint64_t>(most, in_page / element_bytes_));
    if (run < 2 || offset > segment.limit || segment.limit - offset < run * element_bytes_ - 1) return 0;
    DataLinear(s_, seg, offset, element_bytes_, type);  // rights and alignment of the first are those of all
    host = cpu().memory.TryDirect(linear, {type, cpu().User()});
    return host ? run : 0;
  }

  /// Runs `iteration` once, or under REP until ECX is 0, `iteration` returns false (repeat condition ended), or the
  /// chunk is used up.
  template <class Iteration>
  void Run(Iteration iteration) {
    if (!Repeated()) {
      iteration(1);
      return;
    }
    // With TF set, the trap comes after each iteration.
    uint32_t budget = state().eflags & eflags::kTf ? 1 : kChunk;
    while (Count() != 0) {
      if (budget == 0) {
        s_.result.rep_unfinished = true;
        s_.eip_set = true;
        state().eflags |= eflags::kRf;  // what comes between iterations saves RF (SDM 3B 17.3.1.1)
        return;
      }
      const uint32_t before = Count();
      const bool again = iteration(std::min(budget, before));
      if (before == Count()) CountDown();
      budget = TrapWaits() ? 0 : budget - (before - Count());
      s_.CommitIteration();
      if (!again) return;
    }
  }

  /// Whether REPE/REPNE goes on after this comparison.
  bool RepeatCondition() const { return static_cast<bool>(state().eflags & eflags::kZf) == s_.d.rep; }
  void SetCompareFlags(uint32_t a, uint32_t b) const {
    state().eflags = (state().eflags & ~kArithmeticFlags) | CompareFlags(a, b, element_bytes_);
  }

 private:
  bool TrapWaits() const {
    const LinearMemory& memory = cpu().memory;
    return memory.Marks(Watcher::kGuest) || memory.Marks(Watcher::kDebugger) || state().pending_debug;
  }

  Step& s_;
  unsigned element_bytes_, index_bytes_;
  Seg source_segment_ = Seg::kDs;
};

/// Moves what can be moved at once; 0 when nothing can.
uint32_t MoveDirect(const StringOperation& op, uint32_t most) {
  if (most < 2 || !op.Forward()) return 0;
  uint8_t *from = nullptr, *to = nullptr;
  uint32_t run = op.DirectRun(kEsi, AccessType::kRead, most, from);
  if (run) run = op.DirectRun(kEdi, AccessType::kWrite, run, to);
  const size_t bytes = size_t{run} * op.ElementBytes();
  // A destination just above its source repeats a pattern, which is not what memmove does.
  if (run == 0 || (to > from && to < from + bytes)) return 0;
  std::memmove(to, from, bytes);
  return run;
}

uint32_t FillDirect(const StringOperation& op, uint32_t most) {
  if (most < 2 || !op.Forward()) return 0;
  uint8_t* to = nullptr;
  const uint32_t run = op.DirectRun(kEdi, AccessType::kWrite, most, to);
  const uint32_t bytes = op.ElementBytes();
  for (uint32_t i = 0; i < run; ++i) std::memcpy(to + size_t{i} * bytes, &op.state().gpr[kEax], bytes);
  return run;
}

constexpr uint16_t kPortMask = 0xFFFF;

}  // namespace

void ExecuteMovs(Step& s) {
  StringOperation op(s);
  op.Run([&](uint32_t most) {
    const uint32_t moved = MoveDirect(op, most);
    if (moved == 0) op.StoreDestination(op.LoadSource());
    const uint32_t elements = std::max(moved, 1u);
    op.Advance(kEsi, elements);
    op.Advance(kEdi, elements);
    if (op.Repeated()) op.CountDown(elements);
    return true;
  });
}

void ExecuteStos(Step& s) {
  StringOperation op(s);
  op.Run([&](uint32_t most) {
    const uint32_t filled = FillDirect(op, most);
    if (filled == 0) op.StoreDestination(ReadLow(op.state(), kEax, op.ElementBytes()));
    const uint32_t elements = std::max(filled, 1u);
    op.Advance(kEdi, elements);
    if (op.Repeated()) op.CountDown(elements);
    return true;
  });
}

void ExecuteLods(Step& s) {
  StringOperation op(s);
  op.Run([&](uint32_t) {
    WriteLow(op.state(), kEax, op.ElementBytes(), op.LoadSource());
    op.Advance(kEsi);
    return true;
  });
}

void ExecuteCmps(Step& s) {
  StringOperation op(s);
  op.Run([&](uint32_t) {
    const uint32_t source = op.LoadSource();
    op.SetCompareFlags(source, op.LoadDestination());
    op.Advance(kEsi);
    op.Advance(kEdi);
    return op.RepeatCondition();
  });
}

void ExecuteScas(Step& s) {
  StringOperation op(s);
  op.Run([&](uint32_t) {
    op.SetCompareFlags(ReadLow(op.state(), kEax, op.ElementBytes()), op.LoadDestination());
    op.Advance(kEdi);
    return op.RepeatCondition();
  });
}

void ExecuteIns(Step& s) {
  StringOperation op(s);
  const auto port = static_cast<uint16_t>(s.state().gpr[kEdx] & kPortMask);
  CheckPortAccess(s.cpu, port, op.ElementBytes());  // even when there is nothing to repeat
  op.Run([&](uint32_t) {
    const GuestLinear to = op.Destination(AccessType::kWrite);
    // Reading a port has effects, so the store must not fault after it.
    s.cpu.memory.CheckWritable(to, op.ElementBytes(), s.cpu.User());
    WriteMemory(s.cpu, to, op.ElementBytes(), s.cpu.ports.Read(port, op.ElementBytes()));
    NotePortAccess(s.cpu, port, op.ElementBytes());
    op.Advance(kEdi);
    return true;
  });
}

void ExecuteOuts(Step& s) {
  StringOperation op(s);
  const auto port = static_cast<uint16_t>(s.state().gpr[kEdx] & kPortMask);
  CheckPortAccess(s.cpu, port, op.ElementBytes());
  op.Run([&](uint32_t) {
    s.cpu.ports.Write(port, op.ElementBytes(), op.LoadSource());
    NotePortAccess(s.cpu, port, op.ElementBytes());
    op.Advance(kEsi);
    return true;
  });
}

}  // namespace ring3
