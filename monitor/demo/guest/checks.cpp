#include "checks.h"

#include "console.h"

namespace demo {
namespace {
Tally tally;
}

void BeginSection(const char* title) { Print("\n== %s\n", title); }

void Count(bool holds) {
  ++tally.checks;
  if (!holds) ++tally.differ;
}

bool Check(const char* what, uint32_t expected, uint32_t seen) {
  bool holds = expected == seen;
  Count(holds);
  if (holds) {
    Print("  ok       %s: %x\n", what, seen);
  } else {
    Print("  DIFFERS  %s: expected %x, saw %x\n", what, expected, seen);
  }
  return holds;
}

bool CheckTrue(const char* what, bool holds) {
  Count(holds);
  Print(holds ? "  ok       %s\n" : "  DIFFERS  %s: it does not hold\n", what);
  return holds;
}

Tally CurrentTally() { return tally; }

}  // namespace demo
