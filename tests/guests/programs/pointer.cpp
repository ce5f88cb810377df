// A program for a Debian guest, without a C library: VMware's absolute pointer, used from a program as X.Org's vmmouse
// driver does. (The kernel's own driver wants a processor that says it is VMware's.) Its last line is "ring3-pointer:
// OK" or "ring3-pointer: FAILED".
#include <stddef.h>
#include <stdint.h>

namespace {

enum Call : int { kExit = 1, kWrite = 4, kIopl = 110, kNanosleep = 162 };

int System(int call, intptr_t a = 0, intptr_t b = 0, intptr_t c = 0) {
  int result;
  asm volatile("int $0x80" : "=a"(result) : "a"(call), "b"(a), "c"(b), "d"(c) : "memory");
  return result;
}

void Print(const char* text) {
  size_t n = 0;
  while (text[n]) ++n;
  System(kWrite, 1, reinterpret_cast<intptr_t>(text), static_cast<intptr_t>(n));
}

[[noreturn]] void Finish(bool passed) {
  Print(passed ? "ring3-pointer: OK\n" : "ring3-pointer: FAILED\n");
  for (;;) System(kExit, 0);
}

constexpr uint32_t kMagic = 0x564D5868, kVersion = 10, kData = 39, kStatus = 40, kCommand = 41;

struct Answer {
  uint32_t eax, ebx, ecx, edx;
};

Answer Ask(uint32_t command, uint32_t argument) {
  Answer a;
  asm volatile("inl %%dx, %%eax"
               : "=a"(a.eax), "=b"(a.ebx), "=c"(a.ecx), "=d"(a.edx)
               : "a"(kMagic), "b"(argument), "c"(command), "d"(0x5658)
               : "memory");
  return a;
}

void Sleep() {
  const struct { int32_t seconds, nanoseconds; } time = {0, 10'000'000};
  System(kNanosleep, reinterpret_cast<intptr_t>(&time));
}

}  // namespace

extern "C" [[noreturn]] void _start() {
  if (System(kIopl, 3) != 0) Finish(false);
  const Answer version = Ask(kVersion, ~kMagic);
  if (version.ebx != kMagic || version.eax != 6) Finish(false);
  Ask(kCommand, 0x45414552);
  if (Ask(kStatus, 0).eax != 1 || Ask(kData, 1).eax != 0x3442554A) Finish(false);
  Ask(kCommand, 0x53424152);
  Print("ring3-pointer: ready\n");
  for (unsigned i = 0; i < 6000; ++i, Sleep()) {
    if (Ask(kStatus, 0).eax < 4) continue;
    const Answer packet = Ask(kData, 4);
    if (packet.ebx != 0x4000 || packet.ecx != 0x8000 || packet.edx != 0) Finish(false);
    if (packet.eax == 0x20) Finish(true);  // the left button
    if (packet.eax != 0) Finish(false);
  }
  Finish(false);
}
