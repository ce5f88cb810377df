// Masked moves and gathers: elements that the mask leaves out are not accessed, so each has an address of its own.
#include <algorithm>
#include <array>
#include <cstring>

#include "monitor/interpreter/fpu_state.h"
#include "monitor/interpreter/handlers.h"
#include "monitor/interpreter/operands.h"

namespace ring3 {
namespace {

using VectorBytes = std::array<uint8_t, kYmmBytes>;

/// The element's top bit.
bool Selected(const VectorBytes& mask, unsigned element, unsigned bytes) {
  return mask[element * bytes + bytes - 1] & 0x80;
}

unsigned NumberOf(const Operand& op) { return static_cast<unsigned>(ZydisRegisterGetId(op.reg.value)); }

void StoreSelected(Step& s, const VectorBytes& mask, unsigned bytes, unsigned count) {
  const Operand& to = s.d.Op(0);
  VectorBytes value{};
  ReadVector(s.state(), NumberOf(s.d.Op(2)), value);
  const uint32_t offset = EffectiveAddress(s, to);
  std::array<GuestLinear, kYmmBytes / 4> where;
  for (unsigned i = 0; i < count; ++i) {
    if (!Selected(mask, i, bytes)) continue;
    where[i] = CheckedLinear(s.cpu, SegOf(to.mem.segment), offset + i * bytes, bytes, AccessType::kWrite);
    s.cpu.memory.CheckWritable(where[i], bytes, s.cpu.User());
  }
  for (unsigned i = 0; i < count; ++i) {
    if (Selected(mask, i, bytes)) s.cpu.memory.WriteBytes(where[i], {&value[i * bytes], bytes}, s.cpu.Write());
  }
}

void LoadSelected(Step& s, const VectorBytes& mask, unsigned bytes, unsigned count) {
  const Operand& from = s.d.Op(2);
  VectorBytes value{};
  const uint32_t offset = EffectiveAddress(s, from);
  for (unsigned i = 0; i < count; ++i) {
    if (!Selected(mask, i, bytes)) continue;
    const GuestLinear linear =
        CheckedLinear(s.cpu, SegOf(from.mem.segment), offset + i * bytes, bytes, AccessType::kRead);
    s.cpu.memory.ReadBytes(linear, {&value[i * bytes], bytes}, s.cpu.Read());
  }
  WriteVector(s.state(), NumberOf(s.d.Op(0)), {value.data(), count * bytes});
}

struct GatherShape {
  unsigned element_bytes, index_bytes;
};

GatherShape ShapeOf(ZydisMnemonic mnemonic) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_VGATHERDPS:
    case ZYDIS_MNEMONIC_VPGATHERDD:
      return {4, 4};
    case ZYDIS_MNEMONIC_VGATHERDPD:
    case ZYDIS_MNEMONIC_VPGATHERDQ:
      return {8, 4};
    case ZYDIS_MNEMONIC_VGATHERQPS:
    case ZYDIS_MNEMONIC_VPGATHERQD:
      return {4, 8};
    default:
      return {8, 8};
  }
}

}  // namespace

/// VMASKMOVPS, VMASKMOVPD, VPMASKMOVD and VPMASKMOVQ, both ways.
void ExecuteMaskedMove(Step& s) {
  const ZydisMnemonic mnemonic = s.d.insn.mnemonic;
  const unsigned bytes = mnemonic == ZYDIS_MNEMONIC_VMASKMOVPS || mnemonic == ZYDIS_MNEMONIC_VPMASKMOVD ? 4 : 8;
  const unsigned count = s.d.insn.avx.vector_length / 8u / bytes;
  VectorBytes mask{};
  ReadVector(s.state(), NumberOf(s.d.Op(1)), mask);
  if (s.d.Op(0).type == ZYDIS_OPERAND_TYPE_MEMORY) {
    StoreSelected(s, mask, bytes, count);
  } else {
    LoadSelected(s, mask, bytes, count);
  }
}

/// SDM 2B, VGATHERDPS and its siblings. Each element is complete before the next begins: after a fault the mask says
/// what is left to do.
void ExecuteGather(Step& s) {
  CpuState& state = s.state();
  const Operand& memory = s.d.Op(1);
  const GatherShape shape = ShapeOf(s.d.insn.mnemonic);
  const unsigned vector_bytes = s.d.insn.avx.vector_length / 8u;
  const unsigned count = vector_bytes / std::max(shape.element_bytes, shape.index_bytes);
  const unsigned target = NumberOf(s.d.Op(0)), mask_number = NumberOf(s.d.Op(2)), bytes = shape.element_bytes;
  // Results of half a vector's length have the rest of the 128 bits cleared.
  const unsigned result_bytes = std::max(count * bytes, kXmmBytes);
  VectorBytes value{}, mask{}, index{};
  ReadVector(state, target, value);
  ReadVector(state, mask_number, mask);
  ReadVector(state, static_cast<unsigned>(ZydisRegisterGetId(memory.mem.index)), index);
  const uint32_t base = static_cast<uint32_t>(memory.mem.disp.value) + ReadGpr(state, memory.mem.base);
  try {
    for (unsigned i = 0; i < count; ++i) {
      uint32_t low = 0;  // of the sign-extended index: the sum is cut to 32 bits
      std::memcpy(&low, &index[i * shape.index_bytes], sizeof low);
      const uint32_t offset = base + low * memory.mem.scale;
      if (Selected(mask, i, bytes)) {
        const GuestLinear linear = CheckedLinear(s.cpu, SegOf(memory.mem.segment), offset, bytes, AccessType::kRead);
        s.cpu.memory.ReadBytes(linear, {&value[i * bytes], bytes}, s.cpu.Read());
      }
      std::memset(&mask[i * bytes], 0, bytes);
    }
  } catch (const GuestFault&) {
    WriteVector(state, target, value);
    WriteVector(state, mask_number, mask);
    throw;
  }
  std::memset(value.data() + count * bytes, 0, kYmmBytes - count * bytes);
  mask = {};
  WriteVector(state, target, {value.data(), result_bytes});
  WriteVector(state, mask_number, {mask.data(), result_bytes});
}

}  // namespace ring3
