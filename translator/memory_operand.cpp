#include "translator/memory_operand.h"

#include <bit>

#include "translator/host_registers.h"

namespace ring3 {
namespace {

uint8_t Host(uint8_t guest) { return guest == kNoRegister ? kNoRegister : host::NumberOf(guest); }

HostOperand ThroughSegment(HostOperand operand) {
  operand.address32 = true;
  operand.gs = true;
  return operand;
}

}  // namespace

HostOperand EncodeOperand(uint8_t base, uint8_t index, uint8_t scale, int32_t displacement) {
  HostOperand out;
  out.displacement = displacement;
  if (base == kNoRegister) {
    out.mod = 0;
    out.displacement_bytes = 4;
  } else if (displacement == 0 && (base & 7) != 5) {
    out.mod = 0;
  } else if (displacement == static_cast<int8_t>(displacement)) {
    out.mod = 1;
    out.displacement_bytes = 1;
  } else {
    out.mod = 2;
    out.displacement_bytes = 4;
  }
  constexpr uint8_t kSibFollows = 4, kNoIndex = 4, kNoBase = 5;
  if (index == kNoRegister && base != kNoRegister && (base & 7) != kSibFollows) {
    out.rm = base & 7;
  } else {
    out.rm = kSibFollows;
    out.has_sib = true;
    uint8_t index_field = index == kNoRegister ? kNoIndex : index & 7;
    uint8_t base_field = base == kNoRegister ? kNoBase : base & 7;
    out.sib = static_cast<uint8_t>(std::countr_zero(scale) << 6 | index_field << 3 | base_field);
    out.rex_x = index != kNoRegister && index >= 8;
  }
  out.rex_b = base != kNoRegister && base >= 8;
  return out;
}

bool StaysNear(int32_t displacement) {
  constexpr int32_t kSmallestStep = -0x10000;
  return displacement >= kSmallestStep;
}

Seg SegmentOf(const ZydisDecodedOperand& memory) { return static_cast<Seg>(ZydisRegisterGetId(memory.mem.segment)); }

GuestAddress AddressOf(const ZydisDecodedOperand& memory) {
  auto number = [](ZydisRegister reg) {
    return reg == ZYDIS_REGISTER_NONE ? kNoRegister : static_cast<uint8_t>(ZydisRegisterGetId(reg));
  };
  GuestAddress out;
  out.base = number(memory.mem.base);
  out.index = number(memory.mem.index);
  out.scale = memory.mem.scale ? memory.mem.scale : 1;
  out.displacement = memory.mem.disp.has_displacement ? static_cast<int32_t>(memory.mem.disp.value) : 0;
  return out;
}

GuestAddress WithoutIndex(GuestAddress address) {
  address.index = kNoRegister;
  return address;
}

HostOperand EncodeFlat(const GuestAddress& a, bool plain_frame) {
  const auto biased = [&](uint8_t reg) { return reg == kEsp || (reg == kEbp && !plain_frame); };
  bool has_base = a.base != kNoRegister, has_index = a.index != kNoRegister;
  if (!has_base && !has_index) {
    if (a.displacement >= 0) return EncodeOperand(host::kWindow, kNoRegister, 1, a.displacement);
    return EncodeFlatThroughSegment(a);
  }
  if (has_base && !has_index && biased(a.base)) {
    return EncodeOperand(host::NumberOf(a.base), kNoRegister, 1, a.displacement);
  }
  uint8_t only = has_base ? a.base : a.index;
  bool one_register = has_base != has_index && !biased(only);
  if (one_register && StaysNear(a.displacement)) {
    return EncodeOperand(host::kWindow, only, has_base ? 1 : a.scale, a.displacement);
  }
  return EncodeFlatThroughSegment(a);
}

HostOperand EncodeFlatThroughSegment(const GuestAddress& a) {
  return ThroughSegment(EncodeOperand(Host(a.base), Host(a.index), a.scale, a.displacement));
}

HostOperand EncodeVectorIndex(uint8_t base, const ZydisDecodedOperand& memory, int32_t displacement) {
  const auto index = static_cast<uint8_t>(ZydisRegisterGetId(memory.mem.index));
  return ThroughSegment(EncodeOperand(base, index, memory.mem.scale, displacement));
}

HostOperand EncodeSum(const GuestAddress& a) {
  return EncodeOperand(Host(a.base), Host(a.index), a.scale, a.displacement);
}

}  // namespace ring3
