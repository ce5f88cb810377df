#include "tests/kvm/comparison.h"

#include <fmt/core.h>

#include <catch2/catch.hpp>
#include <cstdio>
#include <cstring>
#include <memory>
#include <regex>

#include "monitor/cpu/fault.h"

namespace ring3::kvm_test {
namespace {

constexpr uint64_t kWatchInterval = 200'000'000;
constexpr unsigned kEnoughLacking = 30;  // of one row, with no other answer: no more of it is tried
constexpr unsigned kMostReported = 12, kMostBytesReported = 12;
constexpr const char* kEnds[] = {"stopped", "halted", "shutdown", "runs away", "cannot"};

class Lines {
 public:
  template <class T>
  void Field(const std::string& name, const T& expected, const T& actual) {
    if (expected != actual) text_ += fmt::format("    {}: KVM {:x}, ring3 {:x}\n", name, expected, actual);
  }
  void Add(const std::string& line) { text_ += "    " + line + "\n"; }
  std::string Take() { return std::move(text_); }

 private:
  std::string text_;
};

void CompareSegment(Lines& out, const std::string& name, const SegmentRegister& expected,
                    const SegmentRegister& actual) {
  out.Field(name, expected.selector, actual.selector);
  if (!expected.Present() && !actual.Present()) return;  // null: nothing else can be observed
  out.Field(name + " base", expected.base, actual.base);
  out.Field(name + " limit", expected.limit, actual.limit);
  out.Field(name + " attributes", expected.attributes, actual.attributes);
}

void CompareStates(Lines& out, const CpuState& k, const CpuState& r) {
  static constexpr const char* kGpr[] = {"eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"};
  static constexpr const char* kSegs[] = {"es", "cs", "ss", "ds", "fs", "gs"};
  for (unsigned i = 0; i < kGprCount; ++i) out.Field(kGpr[i], k.gpr[i], r.gpr[i]);
  out.Field("eip", k.eip, r.eip);
  out.Field("eflags", k.eflags, r.eflags);
  for (unsigned i = 0; i < kSegCount; ++i) CompareSegment(out, kSegs[i], k.seg[i], r.seg[i]);
  CompareSegment(out, "ldtr", k.ldtr, r.ldtr);
  CompareSegment(out, "tr", k.tr, r.tr);
  out.Field("gdtr base", k.gdtr.base, r.gdtr.base);
  out.Field("gdtr limit", k.gdtr.limit, r.gdtr.limit);
  out.Field("idtr base", k.idtr.base, r.idtr.base);
  out.Field("idtr limit", k.idtr.limit, r.idtr.limit);
  out.Field("cpl", unsigned{k.cpl}, unsigned{r.cpl});
  out.Field("cr0", k.cr0, r.cr0);
  out.Field("cr2", k.cr2, r.cr2);
  out.Field("cr3", k.cr3, r.cr3);
  out.Field("cr4", k.cr4, r.cr4);
  out.Field("efer", k.efer, r.efer);
  for (unsigned i : {0, 1, 2, 3, 6, 7}) out.Field(fmt::format("dr{}", i), k.dr[i], r.dr[i]);
  out.Field("sysenter_cs", k.sysenter_cs, r.sysenter_cs);
  out.Field("sysenter_esp", k.sysenter_esp, r.sysenter_esp);
  out.Field("sysenter_eip", k.sysenter_eip, r.sysenter_eip);
}

std::string Describe(const PortAccess& p) {
  return fmt::format("{} {:x} port {:x} size {}", p.write ? "out" : "in", p.value, p.port, p.size);
}

std::string Describe(const CpuState& s) {
  return fmt::format("cpl {} eip {:x} eflags {:x} cr0 {:x} cr4 {:x} eax {:x} ecx {:x} edx {:x} ebx {:x} esp {:x}",
                     s.cpl, s.eip, s.eflags, s.cr0, s.cr4, s.gpr[kEax], s.gpr[kEcx], s.gpr[kEdx], s.gpr[kEbx],
                     s.gpr[kEsp]);
}

/// Which exception's handler the run ended in: "#13(0008)"; the error code is what lies on top of the stack there.
std::string ExceptionOf(const Result& r) {
  constexpr uint32_t kExceptions = 32, kStopBytes = 2, kWithErrorCode = 0x0002'7D00;  // vectors, SDM 3A table 6-1
  const uint32_t at = r.state.Segment(Seg::kCs).base + r.state.eip - kStopBytes - arena::kHandlers;
  if (r.end != End::kStopped || at % arena::kHandlerStride != 0 || at / arena::kHandlerStride >= kExceptions)
    return "none";
  const uint32_t vector = at / arena::kHandlerStride;
  const uint32_t stack = r.state.Segment(Seg::kSs).base + r.state.gpr[kEsp];
  if (!r.state.ProtectedMode() || !(kWithErrorCode >> vector & 1) || stack + 4 > r.memory.size())
    return fmt::format("#{}", vector);
  uint32_t code;
  std::memcpy(&code, &r.memory[stack], sizeof code);
  return fmt::format("#{}({:04x})", vector, code);
}

/// The very first instruction of the scene was taken for none.
bool Refused(const Scene& scene, const Result& r) {
  if (ExceptionOf(r) != "#6") return false;
  uint32_t eip;
  std::memcpy(&eip, &r.memory[r.state.Segment(Seg::kSs).base + r.state.gpr[kEsp]], sizeof eip);
  return eip == scene.state.eip;
}

}  // namespace

std::string Differences(const Result& k, const Result& r) {
  Lines out;
  if (k.end != r.end) {
    out.Add(fmt::format("KVM {}, ring3 {}", kEnds[static_cast<int>(k.end)], kEnds[static_cast<int>(r.end)]));
    if (k.end != End::kShutdown && r.end != End::kShutdown) CompareStates(out, k.state, r.state);
    return out.Take();
  }
  if (k.end == End::kShutdown || k.end == End::kRunaway) return {};  // the state is undefined, or passing by
  if (const std::string of_kvm = ExceptionOf(k), of_ring3 = ExceptionOf(r); of_kvm != of_ring3)
    out.Add(fmt::format("exception: KVM {}, ring3 {}", of_kvm, of_ring3));
  CompareStates(out, k.state, r.state);
  unsigned reported = 0;
  for (uint32_t at = 0; at < k.memory.size() && reported < kMostBytesReported; ++at) {
    if (k.memory[at] == r.memory[at]) continue;
    ++reported;
    out.Add(fmt::format("[{:05x}]: KVM {:02x}, ring3 {:02x}", at, k.memory[at], r.memory[at]));
  }
  if (k.ports != r.ports) {
    for (const PortAccess& p : k.ports) out.Add("KVM: " + Describe(p));
    for (const PortAccess& p : r.ports) out.Add("ring3: " + Describe(p));
  }
  return out.Take();
}

KvmSubject* SharedKvm() {
  static const std::unique_ptr<KvmSubject> shared = []() -> std::unique_ptr<KvmSubject> {
    try {
      return std::make_unique<KvmSubject>();
    } catch (const UsageError& error) {
      fmt::print("skipped, no usable /dev/kvm: {}\n", error.what());
      return nullptr;
    }
  }();
  return shared.get();
}

Sweep::Sweep(std::string family) : family_(std::move(family)), kvm_(SharedKvm()), watchdog_(kWatchInterval) {}

/// An interpreting KVM answers with #UD what it lacks at CPL 3, where at CPL 0 it says so.
bool Sweep::Lacking(const Scene& scene, const Result& kvm, const Result& ring3) const {
  return kvm.end == End::kCannot || (kvm_->Interprets() && Refused(scene, kvm) && !Refused(scene, ring3));
}

bool Sweep::NotAsked(const std::string& row, const Scene& scene) {
  if (!kvm_->Interprets()) return false;
  if (scene.state.Paging() && !kvm_->Pages()) return ++lacking_[row + ": no 32-bit paging"];
  if (scene.state.V86() && !kvm_->HasV86()) return ++lacking_[row + ": no V86 mode"];
  for (const Gap& gap : GapsOfInterpretingKvm()) {
    if (!row.starts_with(gap.row)) continue;
    ++lacking_[row + ": " + gap.reason];
    return true;
  }
  return false;
}

void Sweep::Fail(const std::string& row, const std::string& who, const Scene& scene, const std::string& differences) {
  ++failed_;
  if (failed_rows_[row]++ == 0 && failed_rows_.size() <= kMostReported) {
    failures_ += fmt::format("  {} ({}){}\n    from {}\n{}", row, who, scene.note, Describe(scene.state), differences);
  }
}

void Sweep::Try(const std::string& row, const Scene& scene) {
  if (lacking_.contains(row) && lacking_[row] >= kEnoughLacking && !answered_.contains(row)) return;
  ++trials_;
  const Result interpreted = interpreter_.Run(scene), translated = translator_.Run(scene);
  const std::string between = Differences(interpreted, translated);
  if (!between.empty()) return Fail(row, "interpreted against translated", scene, between);
  if (NotAsked(row, scene)) return;
  const Result kvm = kvm_->Run(scene);
  if (Lacking(scene, kvm, interpreted)) {
    ++lacking_[row];
    return;
  }
  answered_.insert(row);
  const std::string differences = Differences(kvm, interpreted);
  if (differences.empty()) {
    ++agreed_;
    return;
  }
  for (const KnownDeviation& known : KnownDeviations()) {
    if (row.starts_with(known.row) && std::regex_search(differences, std::regex(known.difference)) &&
        (kvm_->Interprets() || !known.interpreting_only)) {
      ++deviations_[known.reason];
      return;
    }
  }
  Fail(row, "KVM against ring3", scene, differences);
}

void Sweep::Finish() {
  fmt::print("{}: {} trials, {} agree, {} differ\n", family_, trials_, agreed_, failed_);
  for (const auto& [row, count] : lacking_) fmt::print("  this KVM cannot: {} ({} trials)\n", row, count);
  for (const auto& [reason, count] : deviations_)
    fmt::print("  known deviation of KVM: {} ({} trials)\n", reason, count);
  std::fflush(stdout);
  std::string rows;
  for (const auto& [row, count] : failed_rows_) rows += fmt::format("  {}: {} trials\n", row, count);
  INFO(failures_ << "all that differ:\n" << rows);
  CHECK(failed_ == 0);
  CHECK(trials_ > 0);
}

}  // namespace ring3::kvm_test
