// Every kind of descriptor, present or not, at every DPL, CPL and RPL: what each instruction that loads or inspects a
// selector makes of it. The rules are the SDM's lists of conditions, told again.
#include <fmt/core.h>

#include <functional>

#include "tests/cpu/guest.h"

namespace ring3::test {
namespace {

constexpr uint16_t kSelector = kAbsentCode;  // its descriptor is replaced
constexpr uint32_t kBase = 0x4000, kLimit = 0x1FFF, kTarget = 0x100;

struct Case {
  unsigned type, dpl, cpl, rpl;
  bool system, present;

  bool Code() const { return !system && (type & 8); }
  bool Data() const { return !system && !(type & 8); }
  bool Conforming() const { return Code() && (type & 4); }
  bool Readable() const { return Data() || (Code() && (type & 2)); }
  bool Writable() const { return Data() && (type & 2); }
  bool Either(std::initializer_list<unsigned> types) const {
    return system && std::find(types.begin(), types.end(), type) != types.end();
  }
  bool Visible() const { return Conforming() || (cpl <= dpl && rpl <= dpl); }
  uint16_t Selector() const { return static_cast<uint16_t>(kSelector | rpl); }
  uint64_t Descriptor() const {
    const unsigned access = type | (system ? 0 : 0x10) | dpl << 5 | (present ? 0x80 : 0);
    return MakeDescriptor(kBase, kLimit, static_cast<uint16_t>(0x4000 | access));
  }
  std::string Name() const {
    return fmt::format("{} type {} DPL {}{}, CPL {}, RPL {}: ", system ? "system" : "segment", type, dpl,
                       present ? "" : " absent", cpl, rpl);
  }
};

/// Runs `action` for every case and compares the fault, or what it returns, with the rule's.
void ForAll(const std::function<std::string(Guest&, const Case&)>& action,
            const std::function<std::string(const Case&)>& rule) {
  Guest guest;
  const CpuState start = guest.state;
  unsigned differ = 0;
  std::string report;
  for (unsigned bits = 0; bits < 1u << 12; ++bits) {
    const Case c{bits & 15, bits >> 4 & 3, bits >> 6 & 3, bits >> 8 & 3, (bits >> 10 & 1) != 0, (bits >> 11 & 1) != 0};
    guest.state = start;
    guest.state.cpl = static_cast<uint8_t>(c.cpl);
    guest.SetGdt(kSelector, c.Descriptor());
    std::string outcome;
    const std::string fault = FaultOf([&] { outcome = action(guest, c); });
    if (fault != "none") outcome = fault;
    if (outcome == rule(c)) continue;
    if (++differ <= 20) report += c.Name() + outcome + " instead of " + rule(c) + "\n";
  }
  INFO(report);
  CHECK(differ == 0);
}

const std::string kGp = Gp(kSelector), kNp = Fault(Vector::kSegmentNotPresent, kSelector);

}  // namespace

TEST_CASE("data segment registers take readable segments that CPL and RPL may use") {
  for (const Seg s : {Seg::kDs, Seg::kEs, Seg::kFs, Seg::kGs}) {
    ForAll(
        [&](Guest& guest, const Case& c) {
          LoadSegment(guest.cpu, s, c.Selector());
          const SegmentRegister& loaded = guest.state.Segment(s);
          return std::string(loaded.base == kBase && loaded.limit == kLimit ? "loaded" : "wrong");
        },
        [](const Case& c) -> std::string {
          if (!c.Readable() || !c.Visible()) return kGp;
          return c.present ? "loaded" : kNp;
        });
  }
}

TEST_CASE("SS takes writable data of just this privilege") {
  ForAll(
      [](Guest& guest, const Case& c) {
        LoadSegment(guest.cpu, Seg::kSs, c.Selector());
        return std::string("loaded");
      },
      [](const Case& c) -> std::string {
        if (!c.Writable() || c.rpl != c.cpl || c.dpl != c.cpl) return kGp;
        return c.present ? "loaded" : Fault(Vector::kStackFault, kSelector);
      });
}

TEST_CASE("far jumps take code of this privilege, or conforming code of no less") {
  ForAll(
      [](Guest& guest, const Case& c) -> std::string {
        if (c.system) return "not asked";  // gates and tasks have their own tests
        FarJump(guest.cpu, c.Selector(), kTarget, OperandSize::k32, 0);
        return fmt::format("RPL {}", guest.state.Segment(Seg::kCs).selector & 3);
      },
      [](const Case& c) -> std::string {
        if (c.system) return "not asked";
        const bool allowed = c.Conforming() ? c.dpl <= c.cpl : c.rpl <= c.cpl && c.dpl == c.cpl;
        if (!c.Code() || !allowed) return kGp;
        return c.present ? fmt::format("RPL {}", c.cpl) : kNp;
      });
}

TEST_CASE("far returns and IRET take code of the RPL's privilege, which is no inner one") {
  constexpr uint16_t kOuterStack = kUserData;
  for (const bool interrupt : {false, true}) {
    ForAll(
        [&](Guest& guest, const Case& c) {
          guest.SetGdt(kOuterStack, MakeDescriptor(0, 0xFFFF'FFFF, static_cast<uint16_t>(0xC093 | c.rpl << 5)));
          const uint32_t esp = guest.state.gpr[kEsp] = kKernelStack - 32;
          std::vector<uint32_t> frame{kTarget, c.Selector()};
          if (interrupt) frame.push_back(eflags::kReserved1);
          frame.push_back(kUserStack);
          frame.push_back(kOuterStack | c.rpl);
          for (unsigned i = 0; i < frame.size(); ++i) guest.Poke<uint32_t>(esp + 4 * i, frame[i]);
          if (interrupt) {
            InterruptReturn(guest.cpu, OperandSize::k32);
          } else {
            FarReturn(guest.cpu, OperandSize::k32, 0);
          }
          return fmt::format("CPL {}", guest.state.cpl);
        },
        [](const Case& c) -> std::string {
          const bool allowed = c.rpl >= c.cpl && (c.Conforming() ? c.dpl <= c.rpl : c.dpl == c.rpl);
          if (!c.Code() || !allowed) return kGp;
          return c.present ? fmt::format("CPL {}", c.rpl) : kNp;
        });
  }
}

TEST_CASE("LAR and LSL know the types that have rights or a limit; VERR and VERW the segments") {
  const auto shown = [](std::optional<uint32_t> value) { return value ? fmt::format("{:x}", *value) : "hidden"; };
  ForAll([&](Guest& guest, const Case& c) { return shown(LoadAccessRights(guest.cpu, c.Selector())); },
         [](const Case& c) -> std::string {
           const bool known = !c.system || c.Either({1, 2, 3, 4, 5, 9, 11, 12});
           return known && c.Visible() ? fmt::format("{:x}", c.Descriptor() >> 32 & 0x00FF'FF00) : "hidden";
         });
  ForAll([&](Guest& guest, const Case& c) { return shown(LoadSegmentLimit(guest.cpu, c.Selector())); },
         [](const Case& c) -> std::string {
           const bool known = !c.system || c.Either({1, 2, 3, 9, 11});
           return known && c.Visible() ? fmt::format("{:x}", kLimit) : "hidden";
         });
  ForAll([&](Guest& guest, const Case& c) { return std::string(VerifyRead(guest.cpu, c.Selector()) ? "yes" : "no"); },
         [](const Case& c) -> std::string { return c.Readable() && c.Visible() ? "yes" : "no"; });
  ForAll([&](Guest& guest, const Case& c) { return std::string(VerifyWrite(guest.cpu, c.Selector()) ? "yes" : "no"); },
         [](const Case& c) -> std::string { return c.Writable() && c.Visible() ? "yes" : "no"; });
}

TEST_CASE("LLDT takes an LDT, LTR an available TSS, both at CPL 0 only") {
  const auto rule = [](std::initializer_list<unsigned> types) {
    return [types = std::vector<unsigned>(types)](const Case& c) -> std::string {
      if (c.cpl != 0) return Gp();
      if (!c.system || std::find(types.begin(), types.end(), c.type) == types.end()) return kGp;
      return c.present ? "loaded" : kNp;
    };
  };
  ForAll(
      [](Guest& guest, const Case& c) {
        LoadLdt(guest.cpu, c.Selector());
        return std::string(guest.state.ldtr.base == kBase ? "loaded" : "wrong");
      },
      rule({2}));
  ForAll(
      [](Guest& guest, const Case& c) {
        LoadTaskRegister(guest.cpu, c.Selector());
        const bool busy = guest.Peek<uint8_t>(kGdt + kSelector + 5) & 2;
        return std::string(guest.state.tr.base == kBase && busy ? "loaded" : "wrong");
      },
      rule({1, 9}));
}

}  // namespace ring3::test
