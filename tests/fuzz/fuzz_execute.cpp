// Any bytes as guest code, with random registers, at CPL 0 and 3: translated and interpreted runs from the same state
// must leave the same processor and the same memory behind.
#include <Zydis/Zydis.h>

#include <cstring>
#include <stdexcept>

#include "tests/fuzz/input.h"
#include "tests/translator/program.h"

namespace ring3::fuzz {
namespace {

constexpr uint64_t kMostSteps = 3000;
constexpr uint32_t kMostCode = 256;

void HandBack(int signal, siginfo_t* info, void* context) { GiveBackSignal(signal, info, context); }

/// Different at each execution, or known to differ between the two ways of keeping the FPU (docs/testing.md).
bool Incomparable(uint16_t mnemonic) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_RDTSC:
    case ZYDIS_MNEMONIC_FNSAVE:
    case ZYDIS_MNEMONIC_FNSTENV:
    case ZYDIS_MNEMONIC_FXSAVE:
      return true;
    default:
      return false;
  }
}

/// Guest-physical memory that a program at CPL 0 can write besides its own regions. What lies above holds code.
struct Stretch {
  uint32_t first, end;
};
constexpr Stretch kTables{guest::kPageDirectory, guest::kPageTablesEnd};
constexpr Stretch kLowMemory[] = {{0, kTables.first},
                                  {kTables.end, 0xA0000},
                                  {0xC0000, guest::kDataFrames},
                                  {guest::kStackFrames + 0x10000, 0x180000}};

std::vector<uint8_t> Copy(TestMachine& machine, Stretch s) {
  const uint8_t* first = machine.Physical().Flat(GuestPhysical(s.first));
  return {first, first + (s.end - s.first)};
}

/// Undoes what the input before did to the tables and handlers of the machine.
void Restore(TestMachine& machine, const std::vector<std::vector<uint8_t>>& pristine) {
  for (size_t i = 0; i < std::size(kLowMemory); ++i) {
    for (uint32_t at = kLowMemory[i].first; at < kLowMemory[i].end; at += kPageSize) {
      const std::span<const uint8_t> page(&pristine[i][at - kLowMemory[i].first], kPageSize);
      if (std::memcmp(machine.Physical().Flat(GuestPhysical(at)), page.data(), page.size()) != 0) {
        machine.Write(at, page);
      }
    }
  }
}

bool SameTablesButForAccessedAndDirty(const std::vector<uint8_t>& left, const std::vector<uint8_t>& right) {
  constexpr uint32_t kAccessedDirty = 0x60;
  for (size_t at = 0; at < left.size(); at += sizeof(uint32_t)) {
    uint32_t l, r;
    std::memcpy(&l, &left[at], sizeof l);
    std::memcpy(&r, &right[at], sizeof r);
    if ((l ^ r) & ~kAccessedDirty) return false;
  }
  return true;
}

struct Machines {
  Machines() {
    for (const Stretch& s : kLowMemory) pristine.push_back(Copy(interpreted, s));
    interpreted.on_executed = [](uint16_t mnemonic) {
      if (Incomparable(mnemonic)) throw GuestRunsOn("not to be compared");
    };
  }

  bool SameMemory() {
    for (const Stretch& s : kLowMemory) {
      if (Copy(translated, s) != Copy(interpreted, s)) return false;
    }
    return SameTablesButForAccessedAndDirty(Copy(translated, kTables), Copy(interpreted, kTables));
  }

  TestMachine translated{{.crash = HandBack}};
  TestMachine interpreted{{.interpreter = true, .most_steps = kMostSteps}};
  std::vector<std::vector<uint8_t>> pristine;
};
Machines& TheMachines() {
  static Machines machines;
  return machines;
}

/// What a run came to: nothing when the guest shut down.
std::optional<Outcome> Finish(TestMachine& machine) {
  try {
    return machine.Run();
  } catch (const GuestShutDown&) {
    return std::nullopt;
  }
}

Program MakeProgram(Input& input) {
  const auto seed = input.Take<uint16_t>();
  const uint8_t bits = input.Byte();
  const uint32_t flags = input.Take<uint32_t>();
  const auto code = input.TakeBytes(kMostCode);
  Program program = ring3::MakeProgram({code.begin(), code.end()}, seed, bits & 1 ? 0 : 3);
  constexpr uint32_t kFree = eflags::kHostHeld | eflags::kIf | eflags::kIopl | eflags::kNt | eflags::kAc | eflags::kId;
  if (bits & 2) program.eflags = (flags & kFree) | eflags::kReserved1;
  if (bits & 4) program.offset = kPageSize - 3;  // the code crosses into the second page at once
  return program;
}

}  // namespace

void Run(Input input) {
  const Program program = MakeProgram(input);
  Machines& m = TheMachines();
  for (TestMachine* machine : {&m.translated, &m.interpreted}) {
    Restore(*machine, m.pristine);
    Load(*machine, program);
  }
  const std::vector<uint8_t> tables = Copy(m.interpreted, kTables);
  std::optional<Outcome> expected;
  try {
    expected = Finish(m.interpreted);
  } catch (const GuestRunsOn&) {
    return;
  }
  if (!SameTablesButForAccessedAndDirty(Copy(m.interpreted, kTables), tables)) {
    // What is seen before a flush may differ.
    std::memcpy(m.interpreted.Physical().Flat(GuestPhysical(kTables.first)), tables.data(), tables.size());
    return;
  }
  const std::optional<Outcome> actual = Finish(m.translated);
  std::string difference;
  if (actual && expected) {
    difference = Difference(*actual, *expected, {});
  } else if (actual || expected) {
    difference = actual ? "  only the interpreted guest shut down\n" : "  only the translated guest shut down\n";
  }
  if (difference.empty() && !m.SameMemory()) difference = "  memory outside of the program's regions\n";
  if (!difference.empty()) Fail("translated and interpreted runs differ: " + Describe(program) + difference);
  m.translated.GetTranslator().CheckInvariants();
}

}  // namespace ring3::fuzz
