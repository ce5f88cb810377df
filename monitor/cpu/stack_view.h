// A stack in use by an instruction that hasn't committed yet: the current one, or an inner one taken from the TSS.
#pragma once

#include <cstdint>
#include <span>

#include "monitor/cpu/cpu.h"
#include "monitor/cpu/segments.h"

namespace ring3 {

class StackView {
 public:
  /// Most values that one PushAll takes: a call gate's SS, ESP, 31 parameters, CS and EIP.
  static constexpr unsigned kMaxValues = 35;

  /// The stack at `ss`:`esp` as code of privilege `cpl` uses it. Leaving its limits throws #SS(`error_code`).
  StackView(const SegmentRegister& ss, uint32_t esp, unsigned cpl, uint32_t error_code)
      : ss_(ss), esp_(esp), user_(cpl == 3), error_code_(error_code) {}
  /// The current stack.
  explicit StackView(const CpuState& state, uint32_t error_code = 0)
      : StackView(state.Segment(Seg::kSs), state.gpr[kEsp], state.cpl, error_code) {}

  /// Values in the order in which they are pushed. All or nothing, except on a 16-bit stack that wraps inside the
  /// frame.
  void PushAll(const Cpu& cpu, std::span<const uint32_t> values, OperandSize size);
  /// Values in the order in which they are popped.
  void PopAll(const Cpu& cpu, std::span<uint32_t> values, OperandSize size);
  /// Moves the pointer up by `bytes` without reading.
  void Drop(uint32_t bytes) { esp_ = Moved(bytes); }

  /// ESP for the commit; on a 16-bit stack its upper half is as it was.
  uint32_t Esp() const { return esp_; }

 private:
  uint32_t Moved(uint32_t by) const { return ss_.Big() ? esp_ + by : (esp_ & 0xFFFF'0000) | ((esp_ + by) & 0xFFFF); }
  uint32_t Offset(uint32_t esp) const { return ss_.Big() ? esp : esp & 0xFFFF; }
  bool WrapsAt64K(uint32_t offset, uint32_t bytes) const { return !ss_.Big() && offset + bytes > 0x1'0000; }
  GuestLinear Checked(uint32_t offset, uint32_t bytes) const;

  const SegmentRegister& ss_;
  uint32_t esp_;
  bool user_;
  uint32_t error_code_;
};

}  // namespace ring3
