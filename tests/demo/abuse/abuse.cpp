// A kernel that does one bad thing, named on its command line. All but `spin` and `none` end in a triple fault: there
// is no usable IDT, so the first exception cannot be delivered, and neither can the double fault that follows.
//   garbage    executes pseudo-random bytes
//   unmapped   turns paging on and jumps to a page that is not mapped
//   stack      recurses until the stack runs into an absent page
//   triple     LIDT with limit 0, then INT3
//   spin       CLI, then an endless loop
//   none       powers off
#include "console.h"
#include "identify.h"
#include "power.h"
#include "runtime.h"
#include "x86.h"

namespace demo {
namespace {

constexpr uint32_t kPageBytes = 4096, kLargePageBytes = 4u << 20, kPresentWritable = 3, kLargePage = 1u << 7;
constexpr uint32_t kUnmapped = 0xC0DE0000;
constexpr uint32_t kStackTop = 0x40001000;  // one page, with nothing mapped below it

alignas(kPageBytes) uint32_t directory[1024];
alignas(kPageBytes) uint32_t stack_table[1024];
alignas(kPageBytes) uint8_t stack_page[kPageBytes];
alignas(kPageBytes) uint8_t garbage[kPageBytes];

/// Nothing can be delivered through an IDT of no entries.
void LoadEmptyIdt() {
  TableRegister none{0, 0};
  asm volatile("lidt %0" ::"m"(none));
}

/// The first 4 MiB, one page of stack, and nothing else.
void EnablePaging() {
  directory[0] = kPresentWritable | kLargePage;
  directory[kStackTop / kLargePageBytes] = AddressOf(stack_table) | kPresentWritable;
  stack_table[0] = AddressOf(stack_page) | kPresentWritable;
  WriteCr4(ReadCr4() | cr4::kPse);
  WriteCr3(AddressOf(directory));
  WriteCr0(ReadCr0() | cr0::kPg);
}

void ExecuteGarbage() {
  uint32_t state = 0x2545F491;
  for (uint8_t& byte : garbage) {
    state = state * 1664525 + 1013904223;
    byte = static_cast<uint8_t>(state >> 24);
  }
  // Whatever the bytes do, they do not go on into zeros for ever: UD2 follows.
  garbage[kPageBytes - 2] = 0x0F;
  garbage[kPageBytes - 1] = 0x0B;
  asm volatile("jmp *%0" ::"r"(garbage));
}

void JumpToUnmapped() {
  EnablePaging();
  asm volatile("jmp *%0" ::"r"(kUnmapped));
}

void OverflowStack() {
  EnablePaging();
  asm volatile("movl %0, %%esp\n 1: call 1b" ::"r"(kStackTop));
}

void TripleFault() { asm volatile("ud2"); }

void Spin() {
  for (;;) asm volatile("cli");
}

struct Deed {
  const char* word;
  void (*run)();
};
constexpr Deed kDeeds[] = {{"garbage", ExecuteGarbage},
                           {"unmapped", JumpToUnmapped},
                           {"stack", OverflowStack},
                           {"triple", TripleFault},
                           {"spin", Spin}};

}  // namespace

extern "C" void GuestMain(uint32_t magic, uint32_t info_address) {
  const BootInfo info = ReadBootInfo(magic, info_address);
  InitConsole(false);
  LoadEmptyIdt();
  for (const Deed& deed : kDeeds) {
    if (!HasWord(info.command_line, deed.word)) continue;
    Print("abuse: %s\n", deed.word);
    deed.run();
  }
  Print("abuse: none\n");
  PowerOff(false);
}

}  // namespace demo
