#include "monitor/cpu/stack_view.h"

#include <array>
#include <cstring>

#include "monitor/cpu/alignment.h"
#include "monitor/cpu/descriptor.h"
#include "monitor/cpu/segment_checks.h"

namespace ring3 {
namespace {

constexpr uint32_t kExternal = 1;  // EXT of an error code

}  // namespace

GuestLinear StackView::Checked(uint32_t offset, uint32_t bytes) const {
  if (!ss_.Present() || !WithinLimit(ss_, offset, bytes)) [[unlikely]]
    ThrowFault(Vector::kStackFault, error_code_);
  return GuestLinear(ss_.base + offset);
}

void StackView::PushAll(const Cpu& cpu, std::span<const uint32_t> values, OperandSize size) {
  const auto width = static_cast<uint32_t>(size);
  const auto bytes = static_cast<uint32_t>(values.size()) * width;
  const uint32_t esp = Moved(-bytes);
  if (values.size() > 1 && WrapsAt64K(Offset(esp), bytes)) [[unlikely]] {
    for (uint32_t at = width; at <= bytes; at += width) Checked(Offset(Moved(-at)), width);  // limits before pages
    for (const uint32_t& value : values) PushAll(cpu, {&value, 1}, size);
    return;
  }
  std::array<uint8_t, kMaxValues * sizeof(uint32_t)> frame;
  uint8_t* slot = frame.data() + bytes;
  for (const uint32_t& value : values) std::memcpy(slot -= width, &value, width);
  const GuestLinear linear = Checked(Offset(esp), bytes);
  if (user_) CheckAlignment(cpu.state, linear, width, error_code_ & kExternal);
  cpu.memory.WriteBytes(linear, {frame.data(), bytes}, {AccessType::kWrite, user_});
  esp_ = esp;
}

void StackView::PopAll(const Cpu& cpu, std::span<uint32_t> values, OperandSize size) {
  const auto width = static_cast<uint32_t>(size);
  const auto bytes = static_cast<uint32_t>(values.size()) * width;
  if (values.size() > 1 && WrapsAt64K(Offset(esp_), bytes)) [[unlikely]] {
    for (uint32_t at = 0; at < bytes; at += width) Checked(Offset(Moved(at)), width);  // limits before pages
    for (uint32_t& value : values) PopAll(cpu, {&value, 1}, size);
    return;
  }
  std::array<uint8_t, kMaxValues * sizeof(uint32_t)> frame;
  const GuestLinear linear = Checked(Offset(esp_), bytes);
  if (user_) CheckAlignment(cpu.state, linear, width);
  cpu.memory.ReadBytes(linear, {frame.data(), bytes}, {AccessType::kRead, user_});
  const uint8_t* slot = frame.data();
  for (uint32_t& value : values) {
    value = 0;
    std::memcpy(&value, slot, width);
    slot += width;
  }
  esp_ = Moved(bytes);
}

void Push(Cpu& cpu, uint32_t value, OperandSize size) {
  StackView stack(cpu.state);
  stack.PushAll(cpu, {&value, 1}, size);
  cpu.state.gpr[kEsp] = stack.Esp();
}

uint32_t Pop(Cpu& cpu, OperandSize size) {
  StackView stack(cpu.state);
  uint32_t value = 0;
  stack.PopAll(cpu, {&value, 1}, size);
  cpu.state.gpr[kEsp] = stack.Esp();
  return value;
}

}  // namespace ring3
