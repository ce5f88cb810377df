#include "tests/fuzz/processor_rules.h"

#include <algorithm>

#include "monitor/cpu/descriptor.h"

namespace ring3::fuzz {
namespace {

std::string ControlRegisters(const CpuState& s) {
  constexpr uint32_t kCr0Bits = cr0::kPe | cr0::kMp | cr0::kEm | cr0::kTs | cr0::kEt | cr0::kNe | cr0::kWp | cr0::kAm |
                                cr0::kNw | cr0::kCd | cr0::kPg;
  if ((s.cr0 & cr0::kPg) && !(s.cr0 & cr0::kPe)) return "PG without PE";
  if ((s.cr0 & cr0::kNw) && !(s.cr0 & cr0::kCd)) return "NW without CD";
  if ((s.cr0 & ~kCr0Bits) || !(s.cr0 & cr0::kEt)) return "reserved bits of CR0";
  if (s.efer & ~efer::kNxe) return "reserved bits of EFER";
  if ((s.dr[6] & ~dr6::kWritable) != dr6::kFixedOnes) return "reserved bits of DR6";
  if ((s.dr[7] & ~dr7::kWritable) != dr7::kFixedOnes) return "reserved bits of DR7";
  return "";
}

std::string Flags(const CpuState& s) {
  if (!(s.eflags & eflags::kReserved1) || (s.eflags & ~(eflags::kDefined | eflags::kReserved1))) {
    return "reserved bits of EFLAGS";
  }
  if (s.V86() && !s.ProtectedMode()) return "VM without PE";
  if (s.V86() && s.cpl != 3) return "VM at another CPL than 3";
  if (!s.ProtectedMode() && s.cpl != 0) return "real mode at another CPL than 0";
  return "";
}

std::string V86Segments(const CpuState& s) {
  for (const SegmentRegister& segment : s.seg) {
    if (segment.base != uint32_t{segment.selector} << 4 || segment.limit != 0xFFFF || segment.Dpl() != 3) {
      return "a V86 segment that is not its selector's paragraph";
    }
  }
  return "";
}

std::string CodeSegment(const CpuState& s) {
  const SegmentRegister& cs = s.Segment(Seg::kCs);
  if (!cs.Present() || !(cs.attributes & segattr::kS) || !cs.IsCode()) return "CS is no code";
  if (Rpl(cs.selector) != s.cpl) return "CS.RPL is not CPL";
  if (cs.attributes & segattr::kConforming ? cs.Dpl() > s.cpl : cs.Dpl() != s.cpl) return "CS.DPL does not fit CPL";
  return "";
}

std::string StackSegment(const CpuState& s) {
  const SegmentRegister& ss = s.Segment(Seg::kSs);
  if (!ss.Present() || !(ss.attributes & segattr::kS) || ss.IsCode() || !(ss.attributes & segattr::kWritable)) {
    return "SS is no writable data";
  }
  if (ss.Dpl() != s.cpl || Rpl(ss.selector) != s.cpl) return "SS.DPL or SS.RPL is not CPL";
  return "";
}

std::string DataSegments(const CpuState& s) {
  for (const Seg name : {Seg::kEs, Seg::kDs, Seg::kFs, Seg::kGs}) {
    const SegmentRegister& segment = s.Segment(name);
    if (!segment.Present()) continue;  // null
    if (IsNull(segment.selector)) return "a null selector with a usable segment";
    if (!(segment.attributes & segattr::kS)) return "a system segment in a data segment register";
    if (segment.IsCode() && !(segment.attributes & segattr::kReadable)) return "unreadable code in a data register";
    const bool conforming = segment.IsCode() && (segment.attributes & segattr::kConforming);
    if (!conforming && segment.Dpl() < std::max<unsigned>(s.cpl, Rpl(segment.selector))) {
      return "a data segment above the current privilege";
    }
  }
  return "";
}

std::string SystemSegments(const CpuState& s) {
  const unsigned tss = s.tr.attributes & 0x1F;
  if (!s.tr.Present() || (tss != systype::kTss16Busy && tss != systype::kTss32Busy)) return "TR is no busy TSS";
  if (s.ldtr.Present() && (s.ldtr.attributes & 0x1F) != systype::kLdt) return "LDTR is no LDT";
  if (s.ldtr.Present() && IsNull(s.ldtr.selector)) return "a null LDTR with a usable segment";
  return "";
}

/// What a walk depends on.
PagingState Relevant(PagingState p) {
  p.cr0 &= cr0::kPg | cr0::kWp;
  p.cr4 &= cr4::kPse | cr4::kPae | cr4::kPge;
  if (!(p.cr0 & cr0::kPg) || !(p.cr4 & cr4::kPae)) p.pdpte = {};
  return p;
}

}  // namespace

std::string BrokenRule(const Cpu& cpu, const Leftovers& left) {
  const CpuState& s = cpu.state;
  for (const auto rule : {ControlRegisters, Flags, SystemSegments}) {
    if (std::string broken = rule(s); !broken.empty()) return broken;
  }
  const PagingState known = Relevant(cpu.mmu.Paging());
  if (!(known == Relevant(cpu.Paging()))) return "the MMU has another paging state";
  if (!s.ProtectedMode()) return "";
  if (s.V86()) return V86Segments(s);
  if (left.from_real_mode) return "";
  for (const auto rule : {CodeSegment, StackSegment}) {
    if (std::string broken = rule(s); !broken.empty()) return broken;
  }
  return left.fast_call ? "" : DataSegments(s);
}

}  // namespace ring3::fuzz
