#include "selfmodify.h"

#include "checks.h"
#include "console.h"
#include "paging.h"
#include "runtime.h"
#include "traps.h"

namespace demo {
namespace {

// Writable, and open to both CPLs: two pages to write code into.
[[gnu::section(".user_data")]] alignas(kPageBytes) volatile uint8_t code_pages[2 * kPageBytes] = {};

/// Assembles a few instructions at an address of guest memory.
class Emitter {
 public:
  explicit Emitter(uint32_t at) : at_(at) {}

  uint32_t Here() const { return at_; }
  /// Each returns the address of its immediate (or of its opcode where it has none).
  uint32_t MoveEax(uint32_t value) { return Op(0xB8), Dword(value); }
  uint32_t MoveEcx(uint32_t value) { return Op(0xB9), Dword(value); }
  uint32_t AddEax(uint32_t value) { return Op(0x05), Dword(value); }
  uint32_t SubEax(uint32_t value) { return Op(0x2D), Dword(value); }
  uint32_t XorEax(uint32_t value) { return Op(0x35), Dword(value); }
  uint32_t IncrementEax() { return Op(0x40); }
  uint32_t Return() { return Op(0xC3); }
  void StoreByte(uint32_t address, uint8_t value) { Op(0xC6), Op(0x05), Dword(address), Op(value); }
  void StoreDword(uint32_t address, uint32_t value) { Op(0xC7), Op(0x05), Dword(address), Dword(value); }
  void IncrementDword(uint32_t address) { Op(0xFF), Op(0x05), Dword(address); }
  void LoadEax(uint32_t address) { Op(0xA1), Dword(address); }
  void Call(uint32_t target) { Op(0xE8), Dword(target - (at_ + 4)); }
  /// DEC ECX; JNZ target
  void LoopTo(uint32_t target) { Op(0x49), Op(0x75), Op(static_cast<uint8_t>(target - (at_ + 1))); }

 private:
  uint32_t Op(uint8_t byte) {
    *reinterpret_cast<volatile uint8_t*>(at_) = byte;
    return at_++;
  }
  uint32_t Dword(uint32_t value) {
    uint32_t where = at_;
    for (unsigned i = 0; i < 4; ++i) Op(static_cast<uint8_t>(value >> (8 * i)));
    return where;
  }
  uint32_t at_;
};

uint32_t FirstPage() { return AddressOf(code_pages); }
uint32_t SecondPage() { return AddressOf(code_pages) + kPageBytes; }

DEMO_PROBE(CallCode, "", "call *%edi", "");

/// Calls the function at `address`; its EAX.
uint32_t CallAt(uint32_t address, Level level) {
  ProbeResult r = Run(CallCode, level, {.edi = address});
  return r.Done() ? r.frame.eax : ~0u;
}

/// The next instruction's immediate, then its opcode.
void CheckNextInstruction(Level level) {
  unsigned wrong = 0;
  constexpr uint32_t kStoreBytes = 7;
  for (uint32_t value = 1; value <= 50; ++value) {
    Emitter code(FirstPage());
    code.StoreByte(code.Here() + kStoreBytes + 1, static_cast<uint8_t>(value));
    code.MoveEax(0);
    code.Return();
    wrong += CallAt(FirstPage(), level) != value;
  }
  Check("next instruction's immediate: wrong results in 50", 0, wrong);

  constexpr uint8_t kDecrementEax = 0x48;
  Emitter code(FirstPage());
  code.MoveEax(10);
  code.StoreByte(code.Here() + kStoreBytes, kDecrementEax);
  code.IncrementEax();
  code.Return();
  Check("next instruction's opcode: DEC written over INC", 9, CallAt(FirstPage(), level));
}

/// As a JIT compiler would: the same place, another function each time, called at once.
void CheckRewriting(Level level) {
  constexpr unsigned kTimes = 1000;
  unsigned wrong = 0;
  for (uint32_t i = 0; i < kTimes; ++i) {
    uint32_t a = i * 2654435761u, b = ~a * 40503u, expected = 0;
    Emitter code(FirstPage() + 0x40);
    code.MoveEax(a);
    switch (i % 3) {
      case 0:
        code.AddEax(b), expected = a + b;
        break;
      case 1:
        code.XorEax(b), expected = a ^ b;
        break;
      default:
        code.SubEax(b), expected = a - b;
        break;
    }
    code.Return();
    wrong += CallAt(FirstPage() + 0x40, level) != expected;
  }
  Check("function rewritten 1000 times: wrong results", 0, wrong);
}

/// Each iteration adds an immediate and increments that immediate.
void CheckLoopPatchingItself(Level level) {
  constexpr uint32_t kTimes = 100;
  Emitter code(FirstPage() + 0x80);
  code.MoveEax(0);
  code.MoveEcx(kTimes);
  uint32_t top = code.Here();
  uint32_t immediate = code.AddEax(1);
  code.IncrementDword(immediate);
  code.LoopTo(top);
  code.Return();
  Check("loop that increments its own immediate", kTimes * (kTimes + 1) / 2, CallAt(FirstPage() + 0x80, level));
}

void CheckDataBesideCode(Level level) {
  constexpr uint32_t kTimes = 10000;
  const uint32_t counter = FirstPage() + 0xF00;
  Emitter code(FirstPage() + 0xC0);
  code.StoreDword(counter, 0);
  code.MoveEcx(kTimes);
  uint32_t top = code.Here();
  code.IncrementDword(counter);
  code.LoopTo(top);
  code.LoadEax(counter);
  code.Return();
  Check("counter in the page of the code that counts", kTimes, CallAt(FirstPage() + 0xC0, level));
}

/// The callee rewrites the instruction it returns to.
void CheckReturnSite(Level level) {
  const uint32_t caller = FirstPage() + 0x140, callee = FirstPage() + 0x180;
  Emitter code(caller);
  code.Call(callee);
  uint32_t immediate = code.MoveEax(1);
  code.Return();
  Emitter patcher(callee);
  patcher.StoreDword(immediate, 0x5AFE);
  patcher.Return();
  Check("callee rewrites the place it returns to", 0x5AFE, CallAt(caller, level));
}

void CheckStringCopy(Level level) {
  const uint32_t target = FirstPage() + 0x200;
  Emitter first(target);
  first.MoveEax(1);
  first.Return();
  Check("before REP MOVSB over the function", 1, CallAt(target, level));
  Emitter second(SecondPage() + 0x200);
  second.MoveEax(2);
  second.Return();
  memcpy(reinterpret_cast<void*>(target), reinterpret_cast<const void*>(SecondPage() + 0x200), 8);
  Check("after it", 2, CallAt(target, level));
}

/// An instruction over a page boundary, of which only the second page changes.
void CheckPageCrossing(Level level) {
  const uint32_t start = SecondPage() - 3;
  Emitter code(start);
  code.MoveEax(0x11223344);
  code.Return();
  Check("instruction across two pages", 0x11223344, CallAt(start, level));
  code_pages[kPageBytes + 1] = 0x55;  // the immediate's last byte
  Check("  after its second page changed", 0x55223344, CallAt(start, level));
}

/// The same frame at another linear address; a serializing instruction is due in between (SDM 3A, 8.1.3).
void CheckAlias(Level level) {
  Map(KernelDirectory(), kWindow, FirstPage(), pte::kAll);
  InvalidatePage(kWindow);
  unsigned wrong = 0;
  for (uint32_t i = 0; i < 20; ++i) {
    Emitter code(kWindow + 0x240);
    code.MoveEax(i * 0x01010101);
    code.Return();
    Serialize();
    wrong += CallAt(FirstPage() + 0x240, level) != i * 0x01010101;
    wrong += CallAt(kWindow + 0x240, level) != i * 0x01010101;
  }
  Check("written through an alias, called at both: wrong results in 40", 0, wrong);
}

/// Other code at the same linear address because the mapping changed, not the memory.
void CheckRemappedCode(Level level) {
  for (uint32_t i = 0; i < 2; ++i) {
    Emitter code(FirstPage() + i * kPageBytes + 0x280);
    code.MoveEax(100 + i);
    code.Return();
  }
  unsigned wrong = 0;
  for (uint32_t i = 0; i < 20; ++i) {
    Map(KernelDirectory(), kWindow, FirstPage() + i % 2 * kPageBytes, pte::kAll);
    InvalidatePage(kWindow);
    wrong += CallAt(kWindow + 0x280, level) != 100 + i % 2;
  }
  Check("code remapped 20 times: wrong results", 0, wrong);
}

}  // namespace

void CheckSelfModification() {
  BeginSection("Self-modifying code");
  for (Level level : kLevels) {
    Print("  at CPL %u:\n", uint32_t(level));
    CheckNextInstruction(level);
    CheckRewriting(level);
    CheckLoopPatchingItself(level);
    CheckDataBesideCode(level);
    CheckReturnSite(level);
    CheckStringCopy(level);
    CheckPageCrossing(level);
    CheckAlias(level);
    CheckRemappedCode(level);
  }
}

}  // namespace demo
