#include "tests/instructions/sweep_runner.h"

#include <fmt/core.h>

#include <cstring>
#include <numeric>

#include "tests/oracle/comparable.h"

namespace ring3 {
namespace {

constexpr unsigned kMostOfOneName = 2, kMostNames = 60;
constexpr uint32_t kOnePiece = 8, kImageBytes = 512;       // of FXSAVE
constexpr uint32_t kOverflowAndUnderflowMasks = 3u << 10;  // of MXCSR

constexpr TestMachineOptions kInterpreted{.interpreter = true, .kernel_base = guest::kHighKernel};
constexpr TestMachineOptions kTranslated{.kernel_base = guest::kHighKernel};

/// Steps through [0, count) in scattered order.
uint64_t Scatter(uint64_t n, uint64_t count) {
  uint64_t step = static_cast<uint64_t>(static_cast<double>(count) * 0.618033988749895) | 1;
  while (std::gcd(step, count) != 1) step += 2;
  return static_cast<uint64_t>(static_cast<unsigned __int128>(n) * step % count);
}

constexpr uint32_t kPageFault = 14, kStackFault = 12, kGeneralProtection = 13, kSimdException = 19, kBreakpoint = 3,
                   kSingleStep = 1;

uint32_t Mxcsr(const Program& program) {
  constexpr unsigned kOffset = 24;
  uint32_t value;
  std::memcpy(&value, &program.fxsave[kOffset], sizeof value);
  return value;
}

/// A branch led to noise, which does anything.
bool Astray(const SingleTrial& trial, const Outcome& native) {
  const bool branch = trial.decoded && trial.insn.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE;
  const Segmentation& s = *trial.program.segmentation;
  const uint32_t at = s.Load(native.selectors[static_cast<unsigned>(Seg::kCs)], 3).base + native.eip;
  const auto in = [at](uint32_t base, uint32_t bytes) { return at - base < bytes + kPageSize; };
  return branch && (in(guest::kData, guest::kDataBytes) || in(guest::kStack, guest::kStackBytes) ||
                    in(guest::kTop, guest::kTopBytes));
}

/// FXSAVE stores the host's MXCSR_MASK.
void TakeModelsMask(const SingleTrial& trial, Outcome& native) {
  constexpr uint32_t kOffset = 28, kMask = 0xFFFF;
  const bool executed = native.vector == kBreakpoint || native.vector == kSingleStep;
  if (!trial.decoded || trial.insn.mnemonic != ZYDIS_MNEMONIC_FXSAVE || !executed) return;
  const auto put = [&](std::vector<uint8_t>& region, uint32_t base) {
    const uint32_t at = trial.target + kOffset - base;
    if (at + sizeof kMask <= region.size()) std::memcpy(&region[at], &kMask, sizeof kMask);
  };
  put(native.data, guest::kData);
  put(native.stack, guest::kStack);
  put(native.top, guest::kTop);
}

/// A far RET or IRET at CPL 3 whose selector on the stack names more privilege.
bool ReturnsInwards(const SingleTrial& trial, const Outcome& native) {
  const Program& p = trial.program;
  const SegmentRegister ss = p.segmentation->Load(p.segmentation->selectors[static_cast<unsigned>(Seg::kSs)], 3);
  const uint32_t offset = p.gpr[kEsp] + (trial.insn.operand_width == 16 ? 2 : 4);
  const uint32_t at = ss.base + (ss.Big() ? offset : offset & 0xFFFF) - guest::kStack;
  const bool pops = trial.insn.mnemonic != ZYDIS_MNEMONIC_JMP && trial.insn.mnemonic != ZYDIS_MNEMONIC_CALL;
  return pops && at < native.stack.size() && (native.stack[at] & 3) != 3;
}

/// Outcomes of which the SDM allows several, or that are right on one vendor's processors alone.
bool Unspecified(const SingleTrial& trial, const Outcome& native) {
  const bool checked = native.vector == kStackFault || native.vector == kGeneralProtection;
  const bool memory = checked || native.vector == kPageFault;
  // LOCK where it is not allowed and an operand that faults, of VERR, VERW and the like: which comes first.
  if (!trial.decoded) return memory && trial.system;
  // Whether an operand across the end of a 4 GiB segment wraps or faults (SDM 3A 5.3).
  if (trial.wraps && memory) return true;
  // Which of several violations is reported: alignment or limit; of CMPS's two operands; of the pieces of an image or a
  // far pointer.
  if (trial.misaligned && checked) return true;
  const bool pieces = trial.insn.meta.isa_ext == ZYDIS_ISA_EXT_X87 && trial.operand_bytes > kOnePiece;
  // AMD: reports no inexact result beside an overflow or underflow that it raises an exception for.
  if (native.vector == kSimdException && (~Mxcsr(trial.program) & kOverflowAndUnderflowMasks)) return true;
  // Which of offset and selector is read or written first.
  const bool far_branch = trial.insn.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR ||
                          trial.insn.mnemonic == ZYDIS_MNEMONIC_IRET || trial.insn.mnemonic == ZYDIS_MNEMONIC_IRETD;
  if (far_branch && native.vector == kPageFault) return true;
  // AMD: takes a return to any other privilege for one to less, and reads the outer stack before it looks at the code.
  if (far_branch && native.vector == kStackFault && ReturnsInwards(trial, native)) return true;
  switch (trial.insn.mnemonic) {
    case ZYDIS_MNEMONIC_CMPSB:
    case ZYDIS_MNEMONIC_CMPSW:
    case ZYDIS_MNEMONIC_CMPSD:
    case ZYDIS_MNEMONIC_LDS:
    case ZYDIS_MNEMONIC_LES:
    case ZYDIS_MNEMONIC_LFS:
    case ZYDIS_MNEMONIC_LGS:
    case ZYDIS_MNEMONIC_LSS:
    case ZYDIS_MNEMONIC_BOUND:
    // AMD: has written some of the registers when a later one cannot be read.
    case ZYDIS_MNEMONIC_POPA:
    case ZYDIS_MNEMONIC_POPAD:
    // AMD: reads eight bytes of an operand of four.
    case ZYDIS_MNEMONIC_PUNPCKLBW:
    case ZYDIS_MNEMONIC_PUNPCKLWD:
    case ZYDIS_MNEMONIC_PUNPCKLDQ:
      return memory;
    // AMD: has switched the x87 registers to MMX, and reports the address of the first byte, stored or not.
    // It also wraps them at 64 KiB one by one, where other operands just go on.
    case ZYDIS_MNEMONIC_MASKMOVQ:
    case ZYDIS_MNEMONIC_MASKMOVDQU:
      return memory || (trial.program.gpr[kEdi] & 0xFFFF) > 0xFFF0;
    // AMD: has pushed the return address before the target is found to be outside its segment.
    case ZYDIS_MNEMONIC_CALL:
      return memory;
    // AMD: no ModRM byte belongs to them.
    case ZYDIS_MNEMONIC_UD0:
    case ZYDIS_MNEMONIC_UD1:
      return trial.program.code.size() < trial.insn.length;
    // AMD: does not put the flags back when a fault interrupts the repetition (SDM 2B, REP).
    case ZYDIS_MNEMONIC_SCASB:
    case ZYDIS_MNEMONIC_SCASW:
    case ZYDIS_MNEMONIC_SCASD:
      return memory && native.eflags != trial.program.eflags;
    default:
      return pieces && memory;
  }
}

bool Comparable(const EncodingRow& row) { return row.offered || row.mnemonic == ZYDIS_MNEMONIC_INVALID; }

}  // namespace

SweepRunner::SweepRunner() : translated_(kTranslated), interpreted_(kInterpreted) {}

uint64_t SweepRunner::Product() { return AllRows().size() * AllAddressForms().size(); }

void SweepRunner::Try(uint64_t n) {
  // All rows in turn, each time with another form.
  const size_t rows = AllRows().size(), forms = AllAddressForms().size();
  const size_t row_number = Scatter(n % rows, rows), form_number = Scatter(n / rows + row_number, forms);
  const EncodingRow& row = AllRows()[row_number];
  if (!Comparable(row)) return;
  const auto trial = BuildTrial(row, AllAddressForms()[form_number], n);
  if (!trial) return;
  Compare(*trial, row, n);
  rows_seen_.insert(row_number);
  if (row.form == OperandForm::kMemory) forms_seen_.insert(form_number);
}

void SweepRunner::Compare(const SingleTrial& trial, const EncodingRow& row, uint64_t n) {
  const Program& program = trial.program;
  try {
    Outcome native = RunNatively(program);
    if (native.vector == kPageFault && native.cr2 - guest::kHighKernel < guest::kKernelBytes) return;
    if (Astray(trial, native) || Unspecified(trial, native)) return;
    TakeModelsMask(trial, native);
    ++compared_;
    const uint32_t undefined = trial.decoded ? UndefinedFlags(trial.insn.mnemonic) : 0;
    const bool image = trial.operand_bytes >= kImageBytes;  // AMD: CR2 is its last byte
    const Ignore ignore{.flags = undefined, .fault_address = image, .rpl = program.cpl == 0};
    const std::string translated = Difference(RunOn(translated_, program), native, ignore);
    const std::string interpreted = Difference(RunOn(interpreted_, program), native, ignore);
    if (translated == interpreted) return Note(row.Name(), "both engines", trial, n, translated);
    Note(row.Name(), "translated", trial, n, translated);
    Note(row.Name(), "interpreted", trial, n, interpreted);
  } catch (const std::runtime_error& error) {
    Note(row.Name(), "any", trial, n, fmt::format("  {}\n", error.what()));
  }
}

void SweepRunner::Note(const std::string& name, const char* engine, const SingleTrial& trial, uint64_t n,
                       const std::string& difference) {
  if (difference.empty()) return;
  ++failed_;
  if (++failed_by_name_[name] > kMostOfOneName || failed_by_name_.size() > kMostNames) return;
  report_ += fmt::format("trial {}: {} {}: {}{}\n", n, engine, name, Describe(trial.program), difference);
}

std::string SweepRunner::Report() const {
  std::string names;
  for (const auto& [name, count] : failed_by_name_) names += fmt::format("  {} ({})\n", name, count);
  return fmt::format("{} of {} trials differ:\n{}{}", failed_, compared_, names, report_);
}

std::string SweepRunner::RowsMissed() const {
  std::string missed;
  for (size_t i = 0; i < AllRows().size(); ++i) {
    const EncodingRow& row = AllRows()[i];
    if (Comparable(row) && !rows_seen_.contains(i) && !NeverComparable(row)) missed += row.Name() + "\n";
  }
  return missed;
}

std::string SweepRunner::FormsMissed() const {
  std::string missed;
  for (size_t i = 0; i < AllAddressForms().size(); ++i) {
    if (!forms_seen_.contains(i)) missed += AllAddressForms()[i].Name() + "\n";
  }
  return missed;
}

}  // namespace ring3
