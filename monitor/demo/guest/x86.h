// The instructions C++ has no words for, and the register bits they deal in. Names as in the SDM.
#pragma once

#include <stdint.h>

namespace demo {

namespace cr0 {
inline constexpr uint32_t kMp = 1u << 1, kEm = 1u << 2, kTs = 1u << 3, kNe = 1u << 5, kWp = 1u << 16, kPg = 1u << 31;
}
namespace cr4 {
inline constexpr uint32_t kPse = 1u << 4, kOsfxsr = 1u << 9, kOsxmmexcpt = 1u << 10;
}
namespace eflags {
inline constexpr uint32_t kCf = 1u << 0, kReserved1 = 1u << 1, kZf = 1u << 6, kIf = 1u << 9, kIopl3 = 3u << 12,
                          kId = 1u << 21;
}
namespace feature {  // CPUID.1:EDX
inline constexpr uint32_t kFpu = 1u << 0, kPse = 1u << 3, kTsc = 1u << 4, kMsr = 1u << 5, kSep = 1u << 11,
                          kFxsr = 1u << 24, kSse = 1u << 25;
}
namespace msr {
inline constexpr uint32_t kSysenterCs = 0x174, kSysenterEsp = 0x175, kSysenterEip = 0x176;
}

inline void WritePort8(uint16_t port, uint8_t value) { asm volatile("outb %0, %1" ::"a"(value), "Nd"(port)); }
inline void WritePort16(uint16_t port, uint16_t value) { asm volatile("outw %0, %1" ::"a"(value), "Nd"(port)); }
inline uint8_t ReadPort8(uint16_t port) {
  uint8_t value;
  asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
  return value;
}

#define DEMO_CONTROL_REGISTER(number)                       \
  inline uint32_t ReadCr##number() {                        \
    uint32_t value;                                         \
    asm volatile("movl %%cr" #number ", %0" : "=r"(value)); \
    return value;                                           \
  }                                                         \
  inline void WriteCr##number(uint32_t value) { asm volatile("movl %0, %%cr" #number ::"r"(value) : "memory"); }
DEMO_CONTROL_REGISTER(0)
DEMO_CONTROL_REGISTER(2)
DEMO_CONTROL_REGISTER(3)
DEMO_CONTROL_REGISTER(4)
#undef DEMO_CONTROL_REGISTER

inline void InvalidatePage(uint32_t linear) { asm volatile("invlpg (%0)" ::"r"(linear) : "memory"); }
inline void ReloadCr3() { WriteCr3(ReadCr3()); }
inline void ClearTs() { asm volatile("clts"); }

struct CpuidResult {
  uint32_t eax, ebx, ecx, edx;
};
inline CpuidResult Cpuid(uint32_t leaf, uint32_t subleaf = 0) {
  CpuidResult r;
  asm volatile("cpuid" : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx) : "a"(leaf), "c"(subleaf) : "memory");
  return r;
}
/// CPUID is a serializing instruction: what was fetched before it is fetched again (SDM 3A, 8.3).
inline void Serialize() { Cpuid(0); }

inline uint64_t ReadTsc() {
  uint32_t low, high;
  asm volatile("rdtsc" : "=a"(low), "=d"(high));
  return static_cast<uint64_t>(high) << 32 | low;
}
inline void WriteMsr(uint32_t index, uint32_t value) { asm volatile("wrmsr" ::"c"(index), "a"(value), "d"(0)); }

inline void DisableInterrupts() { asm volatile("cli" ::: "memory"); }
inline void EnableInterrupts() { asm volatile("sti" ::: "memory"); }
/// STI's shadow reaches over HLT, so no interrupt can slip in between and be slept through.
inline void SleepUntilInterrupt() { asm volatile("sti\n hlt\n cli" ::: "memory"); }

/// 64 by 32 bits; the quotient must fit (the compiler's own 64-bit division would need libgcc).
inline uint32_t DivideWide(uint64_t dividend, uint32_t divisor) {
  uint32_t quotient, remainder;
  asm("divl %4"
      : "=a"(quotient), "=d"(remainder)
      : "a"(static_cast<uint32_t>(dividend)), "d"(static_cast<uint32_t>(dividend >> 32)), "rm"(divisor));
  return quotient;
}

/// What SGDT and SIDT store and LGDT and LIDT load.
struct [[gnu::packed]] TableRegister {
  uint16_t limit;
  uint32_t base;
};

inline uint32_t AddressOf(const volatile void* p) { return reinterpret_cast<uint32_t>(p); }

}  // namespace demo
