// The programs that run natively and in the guest: static i386 code, one kernel a file. Each returns a checksum of what
// it computed, the same wherever it runs.
#pragma once

#include <stdint.h>

namespace programs {

struct Program {
  const char* name;
  uint32_t (*run)(uint32_t size);
  uint32_t size;        // some tenth of a second natively
  uint32_t quick_size;  // a moment
};

/// A generator of numbers that repeat exactly (Numerical Recipes' constants).
class Random {
 public:
  explicit Random(uint32_t seed) : state_(seed) {}
  uint32_t Next() {
    state_ = state_ * 1664525u + 1013904223u;
    return state_ >> 8;
  }

 private:
  uint32_t state_;
};

/// FNV-1a, a word at a time.
inline uint32_t Mix(uint32_t hash, uint32_t value) { return (hash ^ value) * 16777619u; }
inline constexpr uint32_t kMixStart = 2166136261u;

// User programs, which stay out of the kernel.
uint32_t Recursion(uint32_t size);
uint32_t CallbackSort(uint32_t size);
uint32_t HashTable(uint32_t size);
uint32_t PointerChase(uint32_t size);
uint32_t Sha256(uint32_t size);
uint32_t Crc32(uint32_t size);
uint32_t LzCompress(uint32_t size);
uint32_t Matrix(uint32_t size);
uint32_t Queens(uint32_t size);
uint32_t Bytecode(uint32_t size);
uint32_t LargeCode(uint32_t size);
uint32_t X87(uint32_t size);
uint32_t Sse2(uint32_t size);
uint32_t Strings(uint32_t size);
uint32_t JitRewrite(uint32_t size);

// Programs that live by the kernel.
uint32_t Getpid(uint32_t size);
uint32_t SystemCalls(uint32_t size);
uint32_t ForkWait(uint32_t size);
uint32_t ForkExec(uint32_t size);
uint32_t PipePingPong(uint32_t size);
uint32_t PageFaults(uint32_t size);
uint32_t NewMemory(uint32_t size);

}  // namespace programs
