// "info registers" of the human monitor, in the layout that readers of QEMU's expect.
#include <fmt/core.h>

#include "monitor/interpreter/fpu_state.h"
#include "monitor/qmp/human_monitor.h"

namespace ring3::qmp {
namespace {

std::string FlagLetters(uint32_t flags) {
  constexpr std::pair<uint32_t, char> kLetters[] = {{eflags::kDf, 'D'}, {eflags::kOf, 'O'}, {eflags::kSf, 'S'},
                                                    {eflags::kZf, 'Z'}, {eflags::kAf, 'A'}, {eflags::kPf, 'P'},
                                                    {eflags::kCf, 'C'}};
  std::string text;
  for (const auto& [bit, letter] : kLetters) text.push_back(flags & bit ? letter : '-');
  return text;
}

std::string DescribeSegment(std::string_view name, const SegmentRegister& s) {
  return fmt::format("{:<3}={:04x} {:08x} {:08x} {:08x}\n", name, s.selector, s.base, s.limit,
                     uint32_t{s.attributes} << 8);
}

std::string DescribeFpu(const CpuState& state) {
  std::string text = fmt::format("FCW={:04x} FSW={:04x} FTW={:02x} MXCSR={:08x}\n",
                                 LoadFx<uint16_t>(state, fxsave::kFcw), LoadFx<uint16_t>(state, fxsave::kFsw),
                                 LoadFx<uint8_t>(state, fxsave::kFtw), LoadFx<uint32_t>(state, fxsave::kMxcsr));
  for (unsigned i = 0; i < kVectorCount; ++i) {
    const unsigned slot = fxsave::kSt0 + fxsave::kSlot * i;
    text += fmt::format("FPR{}={:016x} {:04x}{}", i, LoadFx<uint64_t>(state, slot), LoadFx<uint16_t>(state, slot + 8),
                        i % 2 ? "\n" : " ");
  }
  for (unsigned i = 0; i < kVectorCount; ++i) {
    const unsigned slot = fxsave::kXmm0 + kXmmBytes * i;
    text += fmt::format("XMM{:02}={:016x}{:016x}{}", i, LoadFx<uint64_t>(state, slot + 8),
                        LoadFx<uint64_t>(state, slot), i % 2 ? "\n" : " ");
  }
  return text;
}

}  // namespace

std::string DescribeRegisters(const CpuState& s, bool a20_enabled) {
  const auto& r = s.gpr;
  std::string text =
      fmt::format("EAX={:08x} EBX={:08x} ECX={:08x} EDX={:08x}\n", r[kEax], r[kEbx], r[kEcx], r[kEdx]) +
      fmt::format("ESI={:08x} EDI={:08x} EBP={:08x} ESP={:08x}\n", r[kEsi], r[kEdi], r[kEbp], r[kEsp]) +
      fmt::format("EIP={:08x} EFL={:08x} [{}] CPL={} II={} A20={} SMM=0 HLT={}\n", s.eip, s.eflags,
                  FlagLetters(s.eflags), s.cpl, s.interrupt_shadow ? 1 : 0, a20_enabled ? 1 : 0, s.halted ? 1 : 0);
  constexpr std::string_view kNames[] = {"ES", "CS", "SS", "DS", "FS", "GS"};
  for (unsigned i = 0; i < kSegCount; ++i) text += DescribeSegment(kNames[i], s.seg[i]);
  text += DescribeSegment("LDT", s.ldtr) + DescribeSegment("TR", s.tr);
  text += fmt::format("GDT=     {:08x} {:08x}\nIDT=     {:08x} {:08x}\n", s.gdtr.base, s.gdtr.limit, s.idtr.base,
                      s.idtr.limit);
  text += fmt::format("CR0={:08x} CR2={:08x} CR3={:08x} CR4={:08x}\n", s.cr0, s.cr2, s.cr3, s.cr4);
  text += fmt::format("DR0={:08x} DR1={:08x} DR2={:08x} DR3={:08x}\nDR6={:08x} DR7={:08x}\nEFER={:016x}\n", s.dr[0],
                      s.dr[1], s.dr[2], s.dr[3], s.dr[6], s.dr[7], s.efer);
  return text + DescribeFpu(s);
}

}  // namespace ring3::qmp
