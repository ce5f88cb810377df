// Calls and returns, and little else.
#include "programs.h"

namespace programs {
namespace {

[[gnu::noinline]] uint32_t Fibonacci(uint32_t n) { return n < 2 ? n : Fibonacci(n - 1) + Fibonacci(n - 2); }

[[gnu::noinline]] uint32_t Ackermann(uint32_t m, uint32_t n) {
  if (m == 0) return n + 1;
  if (n == 0) return Ackermann(m - 1, 1);
  return Ackermann(m - 1, Ackermann(m, n - 1));
}

}  // namespace

uint32_t Recursion(uint32_t size) { return Mix(Fibonacci(size), Ackermann(2, size * 10)); }

}  // namespace programs
