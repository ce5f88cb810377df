#include "monitor/interpreter/operands.h"

#include "monitor/cpu/alignment.h"

namespace ring3 {
namespace {

bool IsHighByte(ZydisRegister reg) { return reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH; }

unsigned BytesOf(const Operand& op) { return op.size / 8u; }

}  // namespace

unsigned GprIndexOf(ZydisRegister reg) {
  if (reg >= ZYDIS_REGISTER_EAX && reg <= ZYDIS_REGISTER_EDI) return reg - ZYDIS_REGISTER_EAX;
  if (reg >= ZYDIS_REGISTER_AX && reg <= ZYDIS_REGISTER_DI) return reg - ZYDIS_REGISTER_AX;
  if (reg >= ZYDIS_REGISTER_AL && reg <= ZYDIS_REGISTER_BL) return reg - ZYDIS_REGISTER_AL;
  if (IsHighByte(reg)) return reg - ZYDIS_REGISTER_AH;
  return kGprCount;
}

uint32_t ReadGpr(const CpuState& state, ZydisRegister reg) {
  const unsigned index = GprIndexOf(reg);
  if (index == kGprCount) return 0;
  const uint32_t value = state.gpr[index];
  if (reg >= ZYDIS_REGISTER_EAX) return value;
  if (reg >= ZYDIS_REGISTER_AX) return value & 0xFFFF;
  return (IsHighByte(reg) ? value >> 8 : value) & 0xFF;
}

void WriteGpr(CpuState& state, ZydisRegister reg, uint32_t value) {
  const auto gpr = static_cast<Gpr>(GprIndexOf(reg));
  if (IsHighByte(reg)) {
    state.gpr[gpr] = (state.gpr[gpr] & ~0xFF00u) | ((value & 0xFF) << 8);
  } else {
    WriteLow(state, gpr, reg >= ZYDIS_REGISTER_EAX ? 4 : reg >= ZYDIS_REGISTER_AX ? 2 : 1, value);
  }
}

uint32_t ReadLow(const CpuState& state, Gpr gpr, unsigned bytes) {
  return bytes == 4 ? state.gpr[gpr] : state.gpr[gpr] & ((1u << (8 * bytes)) - 1);
}

void WriteLow(CpuState& state, Gpr gpr, unsigned bytes, uint32_t value) {
  const uint32_t mask = bytes == 4 ? 0xFFFF'FFFFu : (1u << (8 * bytes)) - 1;
  state.gpr[gpr] = (state.gpr[gpr] & ~mask) | (value & mask);
}

uint32_t EffectiveAddress(const Step& s, const Operand& op) {
  uint32_t address = static_cast<uint32_t>(op.mem.disp.value);
  address += ReadGpr(s.state(), op.mem.base);
  address += ReadGpr(s.state(), op.mem.index) * op.mem.scale;
  return address & s.AddressMask();
}

GuestLinear DataLinear(const Step& s, Seg seg, uint32_t offset, unsigned bytes, AccessType type) {
  return DataLinear(s, seg, offset, bytes, type, bytes);
}

GuestLinear DataLinear(const Step& s, Seg seg, uint32_t offset, unsigned bytes, AccessType type, unsigned alignment) {
  const GuestLinear linear = CheckedLinear(s.cpu, seg, offset, bytes, type);
  CheckAlignment(s.state(), linear, alignment);
  return linear;
}

GuestLinear MemoryLinear(const Step& s, const Operand& op, unsigned bytes, AccessType type) {
  return DataLinear(s, SegOf(op.mem.segment), EffectiveAddress(s, op), bytes, type);
}

uint32_t ReadMemory(Cpu& cpu, GuestLinear address, unsigned bytes) {
  switch (bytes) {
    case 1:
      return cpu.memory.Read<uint8_t>(address, cpu.Read());
    case 2:
      return cpu.memory.Read<uint16_t>(address, cpu.Read());
    default:
      return cpu.memory.Read<uint32_t>(address, cpu.Read());
  }
}

void WriteMemory(Cpu& cpu, GuestLinear address, unsigned bytes, uint32_t value) {
  switch (bytes) {
    case 1:
      cpu.memory.Write(address, static_cast<uint8_t>(value), cpu.Write());
      break;
    case 2:
      cpu.memory.Write(address, static_cast<uint16_t>(value), cpu.Write());
      break;
    default:
      cpu.memory.Write(address, value, cpu.Write());
      break;
  }
}

uint32_t ReadOperand(Step& s, const Operand& op) {
  switch (op.type) {
    case ZYDIS_OPERAND_TYPE_REGISTER:
      return ReadGpr(s.state(), op.reg.value);
    case ZYDIS_OPERAND_TYPE_IMMEDIATE:
      return static_cast<uint32_t>(op.imm.value.u);
    default:
      return ReadMemory(s.cpu, MemoryLinear(s, op, BytesOf(op), AccessType::kRead), BytesOf(op));
  }
}

void WriteOperand(Step& s, const Operand& op, uint32_t value) {
  if (op.type == ZYDIS_OPERAND_TYPE_REGISTER) {
    WriteGpr(s.state(), op.reg.value, value);
  } else {
    WriteMemory(s.cpu, MemoryLinear(s, op, BytesOf(op), AccessType::kWrite), BytesOf(op), value);
  }
}

uint16_t ReadWordOperand(Step& s, const Operand& op) {
  if (op.type == ZYDIS_OPERAND_TYPE_REGISTER) return static_cast<uint16_t>(ReadGpr(s.state(), op.reg.value));
  return static_cast<uint16_t>(ReadMemory(s.cpu, MemoryLinear(s, op, 2, AccessType::kRead), 2));
}

void WriteWordOperand(Step& s, const Operand& op, uint32_t value) {
  if (op.type == ZYDIS_OPERAND_TYPE_REGISTER) {
    WriteLow(s.state(), static_cast<Gpr>(GprIndexOf(op.reg.value)), s.Bytes(), value);
  } else {
    WriteMemory(s.cpu, MemoryLinear(s, op, 2, AccessType::kWrite), 2, value);
  }
}

}  // namespace ring3
