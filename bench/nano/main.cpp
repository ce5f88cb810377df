// The nano suite's kernel. On its command line: rows=NAME,NAME for some of the rows. It writes to COM1
//   nano: loop ITERATIONS CYCLES    (before it touches anything that an incomplete processor may lack)
//   nano: begin NAME
//   nano: end NAME ITERATIONS CYCLES CYCLES ...
// and at the start and the end the time-stamp counter, for the host to compare with its own.
#include "console.h"
#include "machine.h"
#include "power.h"
#include "rows.h"

namespace nano {
namespace {

alignas(kPageBytes) uint8_t code_buffer[kPageBytes];
constexpr uint32_t kHasCommandLine = 4;

struct MultibootInfo {
  uint32_t flags, lower, upper, boot_device;
  const char* command_line;
};

bool StartsWith(const char* text, const char* prefix) {
  while (*prefix != 0 && *text == *prefix) ++text, ++prefix;
  return *prefix == 0;
}

/// What follows "rows=" on the command line, or nullptr.
const char* WantedRows(const MultibootInfo& info) {
  if ((info.flags & kHasCommandLine) == 0) return nullptr;
  for (const char* at = info.command_line; *at != 0; ++at) {
    if (StartsWith(at, "rows=")) return at + 5;
  }
  return nullptr;
}

/// Whether `name` is in the list, which ends at a space.
bool Contains(const char* list, const char* name) {
  for (;;) {
    const char* n = name;
    while (*n != 0 && *list == *n) ++list, ++n;
    if (*n == 0 && (*list == ',' || *list == ' ' || *list == 0)) return true;
    while (*list != ',' && *list != ' ' && *list != 0) ++list;
    if (*list != ',') return false;
    ++list;
  }
}

void PrintClock(const char* when) {
  const uint64_t now = demo::ReadTsc();
  demo::Print("nano: %s %x %x\n", when, static_cast<uint32_t>(now >> 32), static_cast<uint32_t>(now));
}

/// A decrement and a jump each, for the host to see what kind of processor this is.
void PrintPlainLoop() {
  constexpr uint32_t kIterations = 100'000;
  uint32_t left = kIterations;
  const uint64_t cycles = Timed([&left] { asm volatile("1: decl %0\n jnz 1b" : "+r"(left)::"cc"); });
  demo::Print("nano: loop %u %u\n", kIterations, static_cast<uint32_t>(cycles));
}

void PrintRow(const Row& row) {
  demo::Print("nano: begin %s\n", row.name);
  const Samples samples = TakeSamples(row);
  demo::Print("nano: end %s %u", row.name, samples.iterations);
  for (uint64_t cycles : samples.cycles) {
    constexpr uint64_t kMost = 0xFFFFFFFF;
    demo::Print(" %u", static_cast<uint32_t>(cycles < kMost ? cycles : kMost));
  }
  demo::Print("\n");
}

}  // namespace

extern "C" void GuestMain(uint32_t, const MultibootInfo* info) {
  demo::InitConsole(false);
  PrintPlainLoop();
  const char* wanted = WantedRows(*info);
  InstallTables();
  EnablePaging();
  code_page = code_buffer;
  PrintClock("start");
  const Rows suite[] = {PlainRows(), UserModeRows(), PrivilegedRows(), MemoryRows(), InterruptRows()};
  for (Rows rows : suite) {
    ForEachRow(rows, [wanted](const Row& row) {
      if (wanted == nullptr || Contains(wanted, row.name)) PrintRow(row);
    });
  }
  PrintClock("done");
  demo::PowerOff(false);
}

}  // namespace nano
