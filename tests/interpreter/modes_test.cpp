// 16-bit code, stack sizes, segment limits, addresses that wrap, page crossing, fetch.
#include <catch2/catch.hpp>

#include "tests/interpreter/machine.h"

using namespace ring3;

TEST_CASE("real mode: 16-bit operands, addresses and stack") {
  Machine m;
  m.EnterReal(0x1000, 0x0100);
  m.State().Segment(Seg::kDs) = {.selector = 0x2000, .attributes = 0x93, .base = 0x20000, .limit = 0xFFFF};
  m.State().Segment(Seg::kSs) = {.selector = 0x3000, .attributes = 0x93, .base = 0x30000, .limit = 0xFFFF};
  m.Reg(kEax) = 0xAAAA'1234;
  m.Reg(kEbx) = 0x5555'FFF0;
  m.Reg(kEsi) = 0x7777'0020;
  m.Reg(kEsp) = 0x9999'0100;
  m.Set<uint16_t>(0x20012, 0x1111);
  m.Step({0x03, 0x40, 0x02});  // add ax, [bx + si + 2]: wraps at 64 KiB
  CHECK(m.Reg(kEax) == 0xAAAA'2345);
  CHECK(m.State().eip == 0x103);
  m.Step({0x50});  // push ax
  CHECK(m.Reg(kEsp) == 0x9999'00FE);
  CHECK(m.Get<uint16_t>(0x300FE) == 0x2345);
  m.Step({0x66, 0x50});  // push eax
  CHECK(m.Reg(kEsp) == 0x9999'00FA);
  CHECK(m.Get<uint32_t>(0x300FA) == 0xAAAA'2345);
  m.Step({0x66, 0xB8, 0x78, 0x56, 0x34, 0x12});  // mov eax, 12345678h
  CHECK(m.Reg(kEax) == 0x1234'5678);
  m.Reg(kEsi) = 0x1000;
  m.Set<uint32_t>(0x21004, 0xCAFE'F00D);
  m.Step({0x67, 0x66, 0x8B, 0x4E, 0x04});  // mov ecx, [esi + 4]
  CHECK(m.Reg(kEcx) == 0xCAFE'F00D);
  m.Reg(kEsi) = 0x7777'0020;  // beyond the limit
  CHECK(FaultOf([&] { m.Step({0x67, 0x8B, 0x06}); }).vector == Vector::kGeneralProtection);
}

TEST_CASE("real mode: the stack pointer wraps at 64 KiB") {
  Machine m;
  m.EnterReal(0x1000, 0x0100);
  m.Reg(kEsp) = 0x1234'0000;
  m.Reg(kEax) = 0xBEEF;
  m.Step({0x50});
  CHECK(m.Reg(kEsp) == 0x1234'FFFE);
  CHECK(m.Get<uint16_t>(0xFFFE) == 0xBEEF);
  m.Step({0x58});
  CHECK(m.Reg(kEsp) == 0x1234'0000);
}

TEST_CASE("16-bit branches wrap and 32-bit ones meet the limit") {
  Machine m;
  m.EnterReal(0x1000, 0xFFF0);
  m.Step({0xEB, 0x7E});
  CHECK(m.State().eip == 0x70);
  m.Step({0xE8, 0x00, 0x80});  // call
  CHECK(m.State().eip == 0x8073);
  const GuestFault fault = FaultOf([&] { m.Step({0x66, 0xE9, 0, 0, 1, 0}); });
  CHECK(fault.vector == Vector::kGeneralProtection);
  CHECK(m.State().eip == 0x8073);
}

TEST_CASE("execution that runs past 64 KiB faults at the limit, not before, and goes on where there is none") {
  Machine m;
  m.EnterReal(0x1000, 0xFFFF);
  m.Step({0x90});
  CHECK(m.State().eip == 0x1'0000);  // EIP does not wrap
  CHECK(FaultOf([&] { StepInstruction(m.cpu); }).vector == Vector::kGeneralProtection);
  m.State().eip = 0xFFFE;
  CHECK(FaultOf([&] { m.Step({0xB8, 0x11, 0x22}); }).vector == Vector::kGeneralProtection);  // mov ax, imm16
  CHECK(m.State().eip == 0xFFFE);
  m.EnterFlat(0);
  m.State().Segment(Seg::kCs).attributes &= ~segattr::kDb;
  m.State().eip = 0xFFFF;
  m.Step({0x90});
  m.Step({0x90});
  CHECK(m.State().eip == 0x1'0001);
  m.Step({0xEB, 0x10});  // jmp: 16 bits of EIP
  CHECK(m.State().eip == 0x13);
  m.State().eip = 0xFFFE;
  m.Reg(kEsp) = Machine::kStack + 0x100;
  m.Step({0xE8, 0x00, 0x00});  // call: the return address has 16 bits
  CHECK(m.Get<uint16_t>(m.Reg(kEsp)) == 0x0001);
}

TEST_CASE("protected-mode instructions are undefined in real mode") {
  Machine m;
  m.EnterReal(0x1000, 0x100);
  for (auto code : {std::initializer_list<uint8_t>{0x0F, 0x00, 0xC0},
                    {0x0F, 0x00, 0xD8},
                    {0x0F, 0x02, 0xC1},
                    {0x0F, 0x03, 0xC1},
                    {0x63, 0xC1},
                    {0x0F, 0x00, 0xE0}}) {
    CHECK(FaultOf([&] { m.Step(code); }).vector == Vector::kInvalidOpcode);
  }
}

TEST_CASE("real mode far jump and interrupt") {
  Machine m;
  m.EnterReal(0x1000, 0x100);
  m.Step({0xEA, 0x34, 0x12, 0x00, 0x20});
  CHECK(m.State().eip == 0x1234);
  CHECK(m.State().Segment(Seg::kCs).base == 0x20000);
  m.Set<uint32_t>(0x21 * 4, 0x4000'0010);
  m.Reg(kEsp) = 0x8000;
  m.Step({0xCD, 0x21});
  CHECK(m.State().eip == 0x10);
  CHECK(m.State().Segment(Seg::kCs).selector == 0x4000);
  CHECK(m.Get<uint16_t>(0x7FFA) == 0x1236);
  m.Step({0xCF});
  CHECK(m.State().eip == 0x1236);
}

TEST_CASE("flat code with a 16-bit stack moves SP only") {
  Machine m;
  m.EnterFlat(0);
  m.State().Segment(Seg::kSs).attributes &= ~segattr::kDb;
  m.State().Segment(Seg::kSs).base = Machine::kStack;
  m.Reg(kEsp) = 0x7000'1000;
  m.Reg(kEbp) = 0x6000'0800;
  m.Step({0x6A, 0xFF});  // push -1
  CHECK(m.Reg(kEsp) == 0x7000'0FFC);
  CHECK(m.Get<uint32_t>(Machine::kStack + 0xFFC) == 0xFFFF'FFFF);
  m.Step({0xC9});  // leave
  CHECK((m.Reg(kEsp) & 0xFFFF) == 0x804);
  CHECK((m.Reg(kEsp) >> 16) == 0x7000);
}

TEST_CASE("pop with esp as base and as destination") {
  Machine m;
  m.EnterFlat(3);
  const uint32_t esp = m.Reg(kEsp);
  m.Set<uint32_t>(esp, 0x1357'9BDF);
  m.Step({0x8F, 0x44, 0x24, 0x08});  // pop [esp + 8]: esp after the pop
  CHECK(m.Get<uint32_t>(esp + 12) == 0x1357'9BDF);
  CHECK(m.Reg(kEsp) == esp + 4);
  m.Set<uint32_t>(esp + 4, 0x2468'ACE0);
  m.Step({0x5C});
  CHECK(m.Reg(kEsp) == 0x2468'ACE0);
  m.Reg(kEsp) = esp;
  m.Step({0x54});
  CHECK(m.Get<uint32_t>(esp - 4) == esp);
}

TEST_CASE("segment limits: #GP for data, #SS for stack, nothing changed") {
  Machine m;
  m.EnterFlat(3);
  m.Step({0x8E, 0xC1});  // mov es, cx: null
  SegmentRegister small = m.State().Segment(Seg::kDs);
  small.base = Machine::kData;
  small.limit = 0xFF;
  m.State().Segment(Seg::kDs) = small;
  m.State().Segment(Seg::kSs) = small;
  m.Reg(kEbx) = 0xFD;
  m.Reg(kEbp) = 0xFD;
  m.Reg(kEax) = 7;
  const auto before = m.State().gpr;
  CHECK(FaultOf([&] { m.Step({0x01, 0x03}); }).vector == Vector::kGeneralProtection);
  CHECK(FaultOf([&] { m.Step({0x01, 0x45, 0x00}); }).vector == Vector::kStackFault);
  CHECK(FaultOf([&] { m.Step({0x26, 0x8B, 0x03}); }).vector == Vector::kGeneralProtection);  // null ES
  CHECK(m.State().gpr == before);
  CHECK(m.State().eip == Machine::kCode + 2);
  CHECK_NOTHROW(m.Step({0x01, 0x43, 0xFF}));  // [ebx - 1]: the last dword
}

TEST_CASE("pusha that fails half way leaves ESP") {
  Machine m;
  m.EnterFlat(3);
  m.State().Segment(Seg::kSs).base = Machine::kStack;
  m.State().Segment(Seg::kSs).limit = 0xFFF;
  m.Reg(kEsp) = 0x10;
  CHECK(FaultOf([&] { m.Step({0x60}); }).vector == Vector::kStackFault);
  CHECK(m.Reg(kEsp) == 0x10);
}

TEST_CASE("operands across a page boundary: both pages are checked first") {
  Machine m;
  m.EnterFlat(3);
  m.EnablePaging();
  const uint32_t edge = Machine::kData + 0x1000;
  m.Reg(kEbx) = edge - 2;
  m.Reg(kEax) = 1;
  m.Set<uint32_t>(edge - 2, 0xFFFF'FFFF);
  m.MapPage(edge, 5);  // read-only
  const GuestFault fault = FaultOf([&] { m.Step({0x01, 0x03}); });
  CHECK(fault.vector == Vector::kPageFault);
  CHECK(fault.cr2 == edge);
  CHECK(fault.error_code == 7u);
  CHECK(m.Get<uint32_t>(edge - 2) == 0xFFFF'FFFF);
  CHECK(m.State().eflags == (eflags::kReserved1 | eflags::kIf));
  m.MapPage(edge, 7);
  m.Step({0x01, 0x03});
  CHECK(m.Get<uint32_t>(edge - 2) == 0);
  CHECK((m.State().eflags & (eflags::kZf | eflags::kCf)) == (eflags::kZf | eflags::kCf));
}

TEST_CASE("fetch takes the next page only when it must") {
  Machine m;
  m.EnterFlat(3);
  m.EnablePaging();
  const uint32_t edge = Machine::kCode + 0x1000;
  m.MapPage(edge, 0);
  m.State().eip = edge - 1;
  CHECK_NOTHROW(m.Step({0x90}));
  m.State().eip = edge - 2;
  const GuestFault fault = FaultOf([&] { m.Step({0xB8, 0x01}); });
  CHECK(fault.vector == Vector::kPageFault);
  CHECK(fault.cr2 == edge);
  CHECK(m.State().eip == edge - 2);
  m.MapPage(edge, 7);
  m.Step({0xB8, 0x01, 0x02, 0x03, 0x04});
  CHECK(m.Reg(kEax) == 0x0403'0201);
}

TEST_CASE("instructions are at most 15 bytes and end before the CS limit") {
  Machine m;
  m.EnterFlat(3);
  CHECK_NOTHROW(m.Step({0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x90}));
  CHECK(FaultOf([&] {
          m.Step({0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x90});
        }).vector == Vector::kGeneralProtection);
  m.State().Segment(Seg::kCs).limit = m.State().eip + 3;
  CHECK(FaultOf([&] { m.Step({0xB8, 1, 2, 3, 4}); }).vector == Vector::kGeneralProtection);
  CHECK_NOTHROW(m.Step({0x66, 0xB8, 1, 2}));
  CHECK(FaultOf([&] { StepInstruction(m.cpu); }).vector == Vector::kGeneralProtection);
}

TEST_CASE("changed code bytes are seen at once") {
  Machine m;
  m.EnterFlat(3);
  for (uint8_t value : {1, 2, 3}) {
    m.State().eip = Machine::kCode;
    m.Step({0xB0, value});
    CHECK((m.Reg(kEax) & 0xFF) == value);
  }
  m.State().eip = Machine::kCode;
  m.State().Segment(Seg::kCs).attributes &= ~segattr::kDb;
  m.Reg(kEax) = 0;
  m.Step({0x48});  // dec ax in 16-bit code
  CHECK(m.Reg(kEax) == 0xFFFF);
}

TEST_CASE("extensions that the model lacks are undefined") {
  Machine m("486");
  m.EnterFlat(3);
  for (auto code : {std::initializer_list<uint8_t>{0x0F, 0x44, 0xC1},
                    {0x0F, 0xEF, 0xC0},
                    {0x0F, 0x58, 0xC0},
                    {0x0F, 0xC7, 0x0B},
                    {0x0F, 0x31},
                    {0xC5, 0xF8, 0x77},
                    {0x0F, 0x1F, 0x00}}) {
    CHECK(FaultOf([&] { m.Step(code); }).vector == Vector::kInvalidOpcode);
  }
  Machine max;
  max.EnterFlat(3);
  for (auto code : {std::initializer_list<uint8_t>{0xC5, 0xF8, 0x77},
                    {0x0F, 0x01, 0xD0},
                    {0xF2, 0x0F, 0x79, 0xC1},
                    {0x0F, 0x05},
                    {0x0F, 0xAA},
                    {0x0F, 0x01, 0xC8}}) {
    CHECK(FaultOf([&] { max.Step(code); }).vector == Vector::kInvalidOpcode);
  }
  for (bool real : {false, true}) {  // VEX exists in protected mode alone
    if (real) max.EnterReal(0x100, 0);
    max.cpu.state.cr4 |= cr4::kOsxsave;
    max.cpu.state.xcr0 = max.cpu.model.Xcr0Supported();
    if (!max.cpu.state.xcr0) break;
    for (auto code : {std::initializer_list<uint8_t>{0xC5, 0xF8, 0x77}, {0xC4, 0xE2, 0x68, 0xF2, 0xC9}}) {
      if (real) {
        CHECK(FaultOf([&] { max.Step(code); }).vector == Vector::kInvalidOpcode);
      } else {
        max.Step(code);
      }
    }
  }
  Machine atom("n270");
  atom.EnterFlat(3);
  atom.Reg(kEcx) = 8;
  atom.Step({0xF3, 0x0F, 0xBC, 0xC1});  // TZCNT runs as BSF where BMI1 doesn't exist
  CHECK(atom.Reg(kEax) == 3);
  atom.Step({0xF3, 0x0F, 0xBD, 0xC1});  // LZCNT as BSR
  CHECK(atom.Reg(kEax) == 3);
}
