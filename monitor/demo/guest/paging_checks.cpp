// What can be seen of paging: changed mappings, accessed and dirty bits, page faults.
#include "checks.h"
#include "console.h"
#include "paging.h"
#include "traps.h"
#include "x86.h"

namespace demo {
namespace {

constexpr uint32_t kPatternA = 0xAAAA0001, kPatternB = 0xBBBB0002;
constexpr uint32_t kErrorPresent = 1, kErrorWrite = 2, kErrorUser = 4;
constexpr uint32_t kProtected = pte::kPresent, kUserRead = pte::kPresent | pte::kUser;

volatile uint32_t& Word(uint32_t linear) { return *reinterpret_cast<volatile uint32_t*>(linear); }

/// Reads and forgets.
void Touch(uint32_t linear) { [[maybe_unused]] uint32_t value = Word(linear); }

/// Two frames with different contents, and the window's first two pages to map them at.
struct Frames {
  uint32_t a = AddressOf(AllocatePage());
  uint32_t b = AddressOf(AllocatePage());
  void Reset() const {
    Word(a) = kPatternA;
    Word(b) = kPatternB;
  }
};

volatile uint32_t& Entry(uint32_t linear) { return PageEntry(KernelDirectory(), linear); }
volatile uint32_t& DirectoryEntry(uint32_t linear) { return KernelDirectory()[linear >> 22]; }

void SetEntry(uint32_t linear, uint32_t physical, uint32_t flags) {
  Map(KernelDirectory(), linear, physical, flags);
  InvalidatePage(linear);
}

void CheckRemapping(const Frames& frames) {
  frames.Reset();
  SetEntry(kWindow, frames.a, pte::kAll);
  Check("read through a new mapping", kPatternA, Word(kWindow));
  SetEntry(kWindow, frames.b, pte::kAll);
  Check("other frame after INVLPG", kPatternB, Word(kWindow));
  Entry(kWindow) = frames.a | pte::kAll;
  ReloadCr3();
  Check("other frame after a CR3 load", kPatternA, Word(kWindow));

  SetEntry(kWindow + kPageBytes, 0, 0);
  ProbeResult absent = RunAt(kWindow + kPageBytes, Level::kKernel);
  Check("fetch from an absent page is #PF", vector::kPageFault, absent.frame.vector);
  Check("  CR2 is the address fetched", kWindow + kPageBytes, absent.cr2);
  // An entry that was not present is never cached (SDM 3A, 4.10.2.3), so no INVLPG is due.
  Entry(kWindow + kPageBytes) = frames.b | pte::kAll;
  Check("absent to present needs no INVLPG", kPatternB, Word(kWindow + kPageBytes));

  Word(kWindow + kPageBytes - 2) = 0x56781234;
  Check("write across two pages, first half", 0x1234, Word(frames.a + kPageBytes - 2) & 0xFFFF);
  Check("write across two pages, second half", 0x5678, Word(frames.b) & 0xFFFF);
  Entry(kWindow + kPageBytes) = frames.a | pte::kAll;
  InvalidatePage(kWindow + kPageBytes);
  Word(kWindow + 64) = 0x13572468;
  Check("two addresses of one frame agree", 0x13572468, Word(kWindow + kPageBytes + 64));
}

void CheckTables(const Frames& frames) {
  frames.Reset();
  SetEntry(kWindow, frames.a, pte::kAll);
  Touch(kWindow);
  auto* other_table = reinterpret_cast<uint32_t*>(AllocatePage());
  other_table[0] = frames.b | pte::kAll;
  uint32_t old_entry = DirectoryEntry(kWindow);
  DirectoryEntry(kWindow) = AddressOf(other_table) | pte::kAll;
  ReloadCr3();
  Check("other page table in the directory", kPatternB, Word(kWindow));
  DirectoryEntry(kWindow) = old_entry;
  ReloadCr3();
  Check("and back", kPatternA, Word(kWindow));

  DirectoryEntry(kLargeWindow) = pte::kPresent | pte::kWritable | pte::kLarge;
  Check("4 MiB page at an alias of the first 4 MiB", kPatternA, Word(kLargeWindow + frames.a));
  Word(kLargeWindow + frames.a) = kPatternB;
  Check("written through it, read by 4 KiB page", kPatternB, Word(kWindow));
  Check("4 MiB entry: accessed and dirty", pte::kAccessed | pte::kDirty,
        DirectoryEntry(kLargeWindow) & (pte::kAccessed | pte::kDirty));
  Map(KernelDirectory(), kLargeWindow + kLargePageBytes, frames.b, pte::kAll);  // makes a table to borrow
  DirectoryEntry(kLargeWindow) = DirectoryEntry(kLargeWindow + kLargePageBytes);
  ReloadCr3();
  Check("the 4 MiB page split into 4 KiB ones", Word(frames.b), Word(kLargeWindow));
  DirectoryEntry(kLargeWindow) = 0;
  ReloadCr3();
}

void CheckAccessedAndDirty(const Frames& frames) {
  constexpr uint32_t kBoth = pte::kAccessed | pte::kDirty;
  SetEntry(kWindow, frames.a, pte::kAll);
  DirectoryEntry(kWindow) = DirectoryEntry(kWindow) & ~pte::kAccessed;
  ReloadCr3();
  Check("A and D clear in a fresh entry", 0, Entry(kWindow) & kBoth);
  Touch(kWindow);
  Check("a read sets A alone", pte::kAccessed, Entry(kWindow) & kBoth);
  Check("and A in the directory entry", pte::kAccessed, DirectoryEntry(kWindow) & pte::kAccessed);
  Word(kWindow) = 1;
  Check("a write sets D", kBoth, Entry(kWindow) & kBoth);
  Entry(kWindow) = Entry(kWindow) & ~kBoth;
  InvalidatePage(kWindow);
  Touch(kWindow);
  Check("cleared and read again: A alone", pte::kAccessed, Entry(kWindow) & kBoth);
  Word(kWindow) = 2;
  Check("and written again: D", kBoth, Entry(kWindow) & kBoth);
}

DEMO_PROBE(ReadMemory, "", "mov (%edi), %eax", "");
DEMO_PROBE(WriteMemory, "", "mov %eax, (%edi)", "");
DEMO_PROBE(AddToMemory, "", "addl $1, (%edi)", "");
DEMO_PROBE(JumpToMemory, "", "jmp *%edi", "");

struct FaultRow {
  const char* what;
  const Probe& probe;
  Level level;
  uint32_t flags;  // of the page's entry
  uint32_t error;
};

/// Runs one access that must fault; checks vector, error code, CR2, and the EIP saved.
void CheckFault(const FaultRow& row, const Frames& frames) {
  SetEntry(kWindow, frames.a, row.flags);
  uint32_t address = kWindow + 0x10;
  ProbeResult r = Run(row.probe, row.level, {.edi = address});
  bool fetch = row.probe.at == JumpToMemory.at;
  uint32_t eip = fetch ? address : AddressOf(row.probe.at);
  bool holds = r.frame.vector == vector::kPageFault && r.frame.error == row.error && r.cr2 == address &&
               r.frame.eip == eip && (r.frame.cs & 3) == static_cast<uint32_t>(row.level);
  Count(holds);
  Print("  %s  CPL %u %-34s %s(%x) CR2 %08x EIP %08x\n", holds ? "ok     " : "DIFFERS", uint32_t(row.level), row.what,
        VectorName(r.frame.vector), r.frame.error, r.cr2, r.frame.eip);
  if (!holds) Print("           expected #PF(%x) CR2 %08x EIP %08x\n", row.error, address, eip);
}

void CheckFaults(const Frames& frames) {
  const FaultRow rows[] = {
      {"read, not present", ReadMemory, Level::kKernel, 0, 0},
      {"write, not present", WriteMemory, Level::kKernel, 0, kErrorWrite},
      {"read, not present", ReadMemory, Level::kUser, 0, kErrorUser},
      {"write, not present", WriteMemory, Level::kUser, 0, kErrorUser | kErrorWrite},
      {"fetch, not present", JumpToMemory, Level::kUser, 0, kErrorUser},
      {"write to read-only page, CR0.WP", WriteMemory, Level::kKernel, kProtected, kErrorPresent | kErrorWrite},
      {"read-modify-write, read-only page", AddToMemory, Level::kKernel, kProtected, kErrorPresent | kErrorWrite},
      {"write to read-only page", WriteMemory, Level::kUser, kUserRead, kErrorPresent | kErrorWrite | kErrorUser},
      {"read of a supervisor page", ReadMemory, Level::kUser, kProtected, kErrorPresent | kErrorUser},
      {"write to a supervisor page", WriteMemory, Level::kUser, kProtected | pte::kWritable,
       kErrorPresent | kErrorWrite | kErrorUser},
      {"fetch from a supervisor page", JumpToMemory, Level::kUser, kProtected, kErrorPresent | kErrorUser},
  };
  for (const FaultRow& row : rows) CheckFault(row, frames);
}

void CheckProtection(const Frames& frames) {
  SetEntry(kWindow, frames.a, pte::kPresent);
  Word(frames.a) = 0;
  WriteCr0(ReadCr0() & ~cr0::kWp);
  ProbeResult r = Run(WriteMemory, Level::kKernel, {.eax = 0x77, .edi = kWindow});
  WriteCr0(ReadCr0() | cr0::kWp);
  CheckTrue("with CR0.WP clear the kernel may write to a read-only page", r.Done());
  Check("  and what it wrote is there", 0x77, Word(frames.a));
  SetEntry(kWindow, frames.a, pte::kAll);
  CheckTrue("opened to ring 3, ring 3 may write", Run(WriteMemory, Level::kUser, {.eax = 0x88, .edi = kWindow}).Done());
  Check("  and what it wrote is there", 0x88, Word(frames.a));

  SetEntry(kWindow + kPageBytes, 0, 0);
  r = Run(WriteMemory, Level::kKernel, {.eax = ~0u, .edi = kWindow + kPageBytes - 2});
  Check("write reaching into an absent page: CR2 is that page", kWindow + kPageBytes, r.cr2);
  Check("  and nothing was written before it", 0, Word(frames.a + kPageBytes - 4));
}

}  // namespace

void CheckPaging() {
  BeginSection("Paging");
  Frames frames;
  Print("  on: CR0 %08x CR3 %08x CR4 %08x\n", ReadCr0(), ReadCr3(), ReadCr4());
  CheckRemapping(frames);
  CheckTables(frames);
  CheckAccessedAndDirty(frames);
  CheckFaults(frames);
  Word(frames.a + kPageBytes - 4) = 0;
  CheckProtection(frames);
}

}  // namespace demo
