// System state: any descriptors, gates and task states in memory, and system instructions at any privilege and in any
// mode. The processor that is left must be one that can exist; a fault must leave it as it was.
#include <Zydis/Zydis.h>
#include <fmt/core.h>

#include <algorithm>
#include <cstring>

#include "monitor/cpu/interrupts.h"
#include "monitor/cpu/segment_checks.h"
#include "monitor/interpreter/interpreter.h"
#include "tests/fuzz/input.h"
#include "tests/fuzz/processor_rules.h"

namespace ring3::fuzz {
namespace {

constexpr uint32_t kGdt = 0x1000, kIdt = 0x2000, kLdt = 0x3000, kTss = 0x4000, kTssStride = 0x100, kCode = 0x7000,
                   kStack = 0x9000, kStackBytes = 0x1000, kTables = 0x10000, kLowBytes = 0x20000;
constexpr unsigned kGdtEntries = 40, kLdtEntries = 6, kTssCount = 4, kMostSteps = 12;
constexpr uint16_t kTaskSlot = 9, kLdtSlot = 10, kFirstAnySlot = 11;

struct World {
  PhysicalMemory physical{PhysicalMemory::kMinRam};
  LinearMemory memory{physical};
  ShadowMmu mmu{physical, {.user_windows = 2}};
  PortBus ports;
};
World& TheWorld() {
  static World world;
  return world;
}

uint64_t MakeDescriptor(uint32_t base, uint32_t limit20, uint16_t attributes) {
  return (limit20 & 0xFFFF) | uint64_t{base & 0xFF'FFFF} << 16 | uint64_t{attributes & 0xF0FFu} << 40 |
         uint64_t{limit20 & 0xF'0000} << 32 | uint64_t{base >> 24} << 56;
}

class Trial {
 public:
  Trial(World& world, Input& input)
      : w_(world),
        input_(input),
        cpu_{{}, FindCpuModel(input.Bit() ? "max" : "n270"), world.memory, world.mmu, world.ports} {
    std::memset(w_.physical.Flat(GuestPhysical(0)), 0, kLowBytes);
    Registers();
    Tables();
    EnterMode();
  }

  void Run() {
    if (!BrokenRule(cpu_, left_).empty()) return;  // not a state to start from
    for (unsigned step = 0; step < kMostSteps && !input_.Empty(); ++step) {
      if (!PlaceInstruction()) return;
      try {
        Step();
      } catch (const TripleFault&) {
        return;
      }
      if (!cpu_.state.ProtectedMode()) left_.from_real_mode = true;
      if (std::string broken = BrokenRule(cpu_, left_); !broken.empty()) {
        Fail(fmt::format("{} after {} (cs {:04x} eip {:08x} cpl {} cr0 {:08x} eflags {:08x})", broken, done_,
                         cpu_.state.Segment(Seg::kCs).selector, cpu_.state.eip, cpu_.state.cpl, cpu_.state.cr0,
                         cpu_.state.eflags));
      }
    }
  }

 private:
  template <class T>
  void Set(uint32_t address, T value) {
    std::memcpy(w_.physical.Flat(GuestPhysical(address)), &value, sizeof value);
  }

  /// Mostly one that names something.
  uint16_t Selector() {
    const uint8_t which = input_.Byte(), rpl = input_.Byte();
    if (which >= 0xF0) return input_.Take<uint16_t>();
    return static_cast<uint16_t>((which % kGdtEntries) << 3 | (rpl & 7));
  }
  uint32_t Offset() {
    constexpr uint32_t kOffsets[] = {kCode, kCode + 0x100, 0, 0xFFFF, 0x1'0000, 0xFFFF'FFFF, kStack + 0x800, 4};
    const uint8_t which = input_.Byte();
    return which < 0xE0 ? kOffsets[which % 8] : input_.Take<uint32_t>();
  }

  uint64_t AnyDescriptor() {
    const uint8_t kind = input_.Byte(), rights = input_.Byte();
    const uint16_t dpl = (rights & 3u) << segattr::kDplShift, present = rights & 0x1C ? segattr::kPresent : 0;
    if (kind >= 0xF0) return input_.Take<uint64_t>();
    if (kind >= 0x80) {  // gates
      constexpr uint16_t kTypes[] = {systype::kCallGate16, systype::kTaskGate,   systype::kInterruptGate16,
                                     systype::kTrapGate16, systype::kCallGate32, systype::kInterruptGate32,
                                     systype::kTrapGate32, systype::kCallGate32};
      const uint16_t selector = Selector();
      const uint32_t offset = Offset();
      return (offset & 0xFFFF) | uint64_t{selector} << 16 | static_cast<uint64_t>(rights >> 5) << 32 |
             uint64_t{static_cast<uint16_t>(kTypes[kind % 8] | dpl | present)} << 40 | uint64_t{offset >> 16} << 48;
    }
    if (kind >= 0x60) {  // task states and local tables
      constexpr uint16_t kTypes[] = {systype::kTss16, systype::kTss32, systype::kTss16Busy, systype::kTss32Busy,
                                     systype::kLdt};
      const uint32_t base = kind & 1 ? kLdt : kTss + input_.Below(kTssCount) * kTssStride;
      return MakeDescriptor(base, rights & 0x20 ? 0x20 : 0x67, kTypes[kind % 5] | dpl | present);
    }
    const uint16_t attributes =
        static_cast<uint16_t>((kind & 0xF) | segattr::kS | dpl | present | (rights & 0x20 ? 0 : segattr::kDb) |
                              (rights & 0x40 ? 0 : segattr::kG));
    return MakeDescriptor(rights & 0x80 ? 0x100 : 0, kind & 0x10 ? 0xFF : 0xF'FFFF, attributes);
  }

  void Registers() {
    CpuState& s = cpu_.state;
    s.Reset();
    s.dr[6] = dr6::kFixedOnes;
    s.dr[7] = dr7::kFixedOnes;
    for (uint32_t& gpr : s.gpr) gpr = input_.Bit() ? Offset() : Selector();
    s.gpr[kEsp] = kStack + kStackBytes / 2 + (input_.Byte() & ~3u);
    s.sysenter_cs = Selector();
    s.sysenter_esp = kStack + 0x400;
    s.sysenter_eip = kCode;
  }

  void Tables() {
    for (unsigned cpl = 0; cpl < 4; ++cpl) {
      const uint16_t dpl = static_cast<uint16_t>(cpl << segattr::kDplShift);
      Set(kGdt + 8 * (1 + 2 * cpl), MakeDescriptor(0, 0xF'FFFF, 0xC09B | dpl));
      Set(kGdt + 8 * (2 + 2 * cpl), MakeDescriptor(0, 0xF'FFFF, 0xC093 | dpl));
    }
    Set(kGdt + 8 * kTaskSlot, MakeDescriptor(kTss, 0x67, 0x8B));
    Set(kGdt + 8 * kLdtSlot, MakeDescriptor(kLdt, 8 * kLdtEntries - 1, 0x82));
    for (unsigned i = kFirstAnySlot; i < kGdtEntries; ++i) Set(kGdt + 8 * i, AnyDescriptor());
    for (unsigned i = 0; i < kLdtEntries; ++i) Set(kLdt + 8 * i, AnyDescriptor());
    std::array<uint64_t, 8> gates;
    for (uint64_t& gate : gates) gate = AnyDescriptor();
    for (unsigned i = 0; i < 256; ++i) Set(kIdt + 8 * i, gates[i % 8]);
    for (unsigned i = 0; i < kTssCount; ++i) TaskState(kTss + i * kTssStride);
    for (uint32_t at = kStack; at < kStack + kStackBytes; at += 4) {
      const uint8_t kind = static_cast<uint8_t>(at * 7 >> 2) % 5;
      Set<uint32_t>(at, kind < 2 ? 0x10u + (at >> 2) % 8 * 8 : kind == 2 ? kCode : 0x202);
    }
    for (unsigned i = 0; i < 24; ++i) {
      Set<uint32_t>(cpu_.state.gpr[kEsp] + 4 * i, input_.Bit() ? Offset() : input_.Bit() ? Selector() : Flags());
    }
    CpuState& s = cpu_.state;
    s.gdtr = {kGdt, 8 * kGdtEntries - 1};
    s.idtr = {kIdt, static_cast<uint16_t>(input_.Byte() < 0x20 ? 0x7F : 0x7FF)};
    s.tr = Descriptor{MakeDescriptor(kTss, 0x67, 0x8B)}.Load(kTaskSlot << 3);
    s.ldtr = Descriptor{MakeDescriptor(kLdt, 8 * kLdtEntries - 1, 0x82)}.Load(kLdtSlot << 3);
  }

  uint32_t Flags() { return (input_.Take<uint32_t>() & eflags::kDefined) | eflags::kReserved1; }

  void TaskState(uint32_t at) {
    Set<uint16_t>(at, Selector());
    for (unsigned cpl = 0; cpl < 3; ++cpl) {
      Set<uint32_t>(at + 4 + 8 * cpl, kStack + 0x300);
      Set<uint16_t>(at + 8 + 8 * cpl,
                    input_.Byte() < 0xC0 ? static_cast<uint16_t>((2 + 2 * cpl) << 3 | cpl) : Selector());
    }
    Set<uint32_t>(at + 28, kTables);
    Set<uint32_t>(at + 32, Offset());
    Set<uint32_t>(at + 36, Flags());
    for (unsigned i = 0; i < 8; ++i) Set<uint32_t>(at + 40 + 4 * i, kStack + 0x200);
    for (unsigned i = 0; i < 7; ++i) Set<uint16_t>(at + 72 + 4 * i, Selector());
    Set<uint16_t>(at + 100, input_.Byte() < 0x10);
    Set<uint16_t>(at + 102, 0x68);
  }

  void EnterMode() {
    CpuState& s = cpu_.state;
    const uint8_t mode = input_.Byte();
    s.eflags = Flags() & ~eflags::kVm;
    s.eip = kCode;
    if (mode < 0x20) return EnterReal();
    s.cr0 = cr0::kPe | cr0::kEt | (mode & 0x10 ? cr0::kTs : 0);
    s.cpl = mode & 3;
    const uint16_t code = static_cast<uint16_t>((1 + 2 * s.cpl) << 3 | s.cpl), data = static_cast<uint16_t>(code + 8);
    for (SegmentRegister& segment : s.seg) segment = Descriptor{Get(kGdt + (data & ~7u))}.Load(data);
    s.Segment(Seg::kCs) = Descriptor{Get(kGdt + (code & ~7u))}.Load(code);
    if (mode & 4) EnablePaging();
    cpu_.PagingChanged();
    if (mode >= 0xD0) return EnterV86();
    for (const Seg name : {Seg::kEs, Seg::kDs, Seg::kFs, Seg::kGs}) {
      try {
        LoadSegment(cpu_, name, Selector());
      } catch (const GuestFault&) {
        s.Segment(name) = NullSegment(0);
      }
    }
  }

  uint64_t Get(uint32_t address) {
    uint64_t value;
    std::memcpy(&value, w_.physical.Flat(GuestPhysical(address)), sizeof value);
    return value;
  }

  void EnterReal() {
    CpuState& s = cpu_.state;
    left_.from_real_mode = true;
    s.cr0 = cr0::kEt;
    for (SegmentRegister& segment : s.seg) segment = {.selector = 0, .attributes = 0x93, .base = 0, .limit = 0xFFFF};
    s.idtr = {kIdt, 0x3FF};
    cpu_.PagingChanged();
  }

  void EnterV86() {
    CpuState& s = cpu_.state;
    s.eflags |= eflags::kVm;
    s.cpl = 3;
    for (unsigned i = 0; i < kSegCount; ++i) s.seg[i] = V86Segment(static_cast<Seg>(i), 0);
  }

  /// The first 128 KiB as they are, for the user too unless the input wants it otherwise; what follows is absent.
  void EnablePaging() {
    const uint32_t rights = input_.Byte() < 0xC0 ? 7 : 3;
    Set<uint32_t>(kTables, (kTables + kPageSize) | 7);
    for (uint32_t page = 0; page < kLowBytes; page += kPageSize) {
      Set<uint32_t>(kTables + kPageSize + page / 1024, page | rights);
    }
    cpu_.state.cr3 = kTables;
    cpu_.state.cr0 |= cr0::kPg | (input_.Bit() ? cr0::kWp : 0);
  }

  /// Writes the next instruction to where the processor is; false when that is no RAM of ours.
  bool PlaceInstruction() {
    const CpuState& s = cpu_.state;
    const uint64_t at = uint64_t{s.Segment(Seg::kCs).base} + s.eip;
    std::array<uint8_t, 16> code{};
    MakeInstruction(code);
    if (at + code.size() > kLowBytes || at < kCode) return false;
    std::copy(code.begin(), code.end(), w_.physical.Flat(GuestPhysical(at)));
    done_.clear();
    for (const uint8_t byte : code) done_ += fmt::format("{:02x} ", byte);
    repeats_ = std::find_if(code.begin(), code.end(), [](uint8_t b) { return b == 0xF2 || b == 0xF3; }) != code.end();
    return true;
  }

  void MakeInstruction(std::array<uint8_t, 16>& code) {
    size_t n = 0;
    const uint8_t kind = input_.Byte();
    if (kind & 0x80) code[n++] = 0x66;
    const auto put = [&](std::initializer_list<uint8_t> bytes) {
      n = static_cast<size_t>(std::copy(bytes.begin(), bytes.end(), code.begin() + static_cast<ptrdiff_t>(n)) -
                              code.begin());
    };
    const auto far = [&](uint8_t opcode) {
      const bool prefixed = kind & 0x80, small = prefixed == cpu_.state.Code32();
      const uint32_t offset = Offset();
      const uint16_t selector = Selector();
      code[n++] = opcode;
      std::memcpy(&code[n], &offset, 4);
      std::memcpy(&code[n + (small ? 2 : 4)], &selector, 2);
    };
    const uint8_t more = input_.Byte(), modrm = static_cast<uint8_t>(0xC0 | more);
    switch (kind & 0x1F) {
      case 0:
        return far(0xEA);
      case 1:
        return far(0x9A);
      case 2:
        return put({0xCD, more});
      case 3:
        return put({0xCF});
      case 4:
        return put({0xCB});
      case 5:
        return put({0xCA, more, 0});
      case 6:
        return put({0x8E, modrm});
      case 7:
        return put({static_cast<uint8_t>("\x07\x17\x1F\x06"[more & 3])});
      case 8:
        return put({0x0F, static_cast<uint8_t>(more & 1 ? 0xA1 : 0xA9)});
      case 9:
        return put({0x0F, 0x00, modrm});
      case 10:
        return put({0x0F, 0x01, more, input_.Byte(), input_.Byte()});
      case 11:
        return put({0x0F, static_cast<uint8_t>(0x20 + (more & 3)), static_cast<uint8_t>(0xC0 | input_.Byte())});
      case 12:
        return put({0x0F, static_cast<uint8_t>("\x30\x32\x34\x35\x06\x08\x09\x31"[more & 7])});
      case 13:
        return put({0xFF, static_cast<uint8_t>(more | 0x18)});
      case 14:
        return put({static_cast<uint8_t>(0xC4 + (more & 1)), input_.Byte()});
      case 15:
        return put({0x0F, static_cast<uint8_t>("\xB2\xB4\xB5\x02\x03"[more % 5]), input_.Byte()});
      case 16:
        return put({static_cast<uint8_t>("\x9C\x9D\xFA\xFB\xF4\xCC\xCE\xF1"[more & 7])});
      case 17:
        return put({static_cast<uint8_t>(0xEC + (more & 3))});
      case 18:
        return put({static_cast<uint8_t>(0x6C + (more & 3))});
      case 19:
        return put({static_cast<uint8_t>("\xC8\xC9\x60\x61"[more & 3]), 8, 0, 2});
      default: {
        const auto raw = input_.TakeBytes(1 + more % 14);
        std::copy(raw.begin(), raw.end(), code.begin() + static_cast<ptrdiff_t>(n));
      }
    }
  }

  void Step() {
    CpuState& s = cpu_.state;
    const CpuState before = s;
    try {
      const StepResult result = StepInstruction(cpu_);
      const bool fast_call = result.mnemonic == ZYDIS_MNEMONIC_SYSENTER || result.mnemonic == ZYDIS_MNEMONIC_SYSEXIT;
      left_.fast_call |= fast_call;
      if (result.debug_trap) DeliverFault(cpu_, {Vector::kDebug, std::nullopt});
    } catch (const GuestFault& fault) {
      CheckUnchanged(before);
      DeliverFault(cpu_, fault);
    }
    if ((s.eflags & eflags::kIf) && !s.interrupt_shadow && input_.Byte() >= 0xF0) {
      DeliverExternalInterrupt(cpu_, input_.Byte());
    }
  }

  /// A fault undoes the instruction, but for strings that repeat and for the task switch's point of no return.
  void CheckUnchanged(const CpuState& start) {
    CpuState before = start;
    const CpuState& s = cpu_.state;
    const bool returns_to_itself = before.eflags & eflags::kNt;  // IRET from a task that is linked to itself
    if (repeats_ || returns_to_itself || s.tr.selector != before.tr.selector) return;
    before.eflags = (before.eflags & ~eflags::kRf) | (s.eflags & eflags::kRf);
    before.interrupt_shadow = s.interrupt_shadow;
    before.pending_debug = s.pending_debug;
    before.debug_shadow = s.debug_shadow;
    before.fxsave = s.fxsave;
    if (!(s == before)) Fail("a fault left another state than before " + done_);
  }

  World& w_;
  Input& input_;
  Cpu cpu_;
  Leftovers left_;
  bool repeats_ = false;  // the instruction placed last
  std::string done_;
};

}  // namespace

void Run(Input input) { Trial(TheWorld(), input).Run(); }

}  // namespace ring3::fuzz
