// What one row of the nano suite is, and the files' lists of rows.
#pragma once

#include <stdint.h>

#include "x86.h"

namespace nano {

/// Performs an operation `iterations` times and returns the cycles of the time-stamp counter that it took.
using Measure = uint64_t (*)(uint32_t iterations);

struct Row {
  const char* name;
  Measure measure;
  uint32_t fixed_iterations = 0;  // 0: as many as fill a sample
};

struct Rows {
  const Row* first;
  uint32_t count;
};

/// Instructions that any program may execute; also run natively.
Rows PlainRows();
Rows PrivilegedRows();
Rows MemoryRows();
Rows InterruptRows();
Rows UserModeRows();

/// A page that may be written and executed.
extern uint8_t* code_page;

template <class Use>
void ForEachRow(Rows rows, Use use) {
  for (uint32_t i = 0; i < rows.count; ++i) use(rows.first[i]);
}

struct Samples {
  static constexpr uint32_t kCount = 11;
  uint32_t iterations = 0;
  uint64_t cycles[kCount] = {};
};
/// Chooses the iterations and measures.
Samples TakeSamples(const Row& row);

template <class Work>
uint64_t Timed(Work work) {
  const uint64_t start = demo::ReadTsc();
  work();
  return demo::ReadTsc() - start;
}

/// The loop costs a cycle or two for eight rounds.
template <class Body>
[[gnu::always_inline]] inline void Repeat(uint32_t iterations, Body body) {
#pragma GCC unroll 8
  for (uint32_t i = 0; i < iterations; ++i) body();
}

template <class Body>
uint64_t TimedLoop(uint32_t iterations, Body body) {
  return Timed([&] { Repeat(iterations, body); });
}

}  // namespace nano
