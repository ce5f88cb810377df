// A program for a Debian guest, without a C library: string functions as libraries write them for AVX2, and YMM
// registers across system calls, context switches, forks and signals. Prints PASS and FAIL lines as the scripts do.
#define _MM_MALLOC_H_INCLUDED  // needs a C library
#include <cpuid.h>
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

namespace {

enum Call : int {
  kExit = 1,
  kFork = 2,
  kWrite = 4,
  kGetpid = 20,
  kKill = 37,
  kMunmap = 91,
  kWaitpid = 7,
  kSchedYield = 158,
  kSigaction = 67,
  kMmap2 = 192,
};
constexpr size_t kPage = 4096;
constexpr int kSigusr1 = 10;

int System(int call, intptr_t a = 0, intptr_t b = 0, intptr_t c = 0, intptr_t d = 0, intptr_t e = 0) {
  int result;
  asm volatile("int $0x80" : "=a"(result) : "a"(call), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e) : "memory");
  return result;
}

size_t Length(const char* text) {
  size_t n = 0;
  while (text[n]) ++n;
  return n;
}

void Print(const char* text) {
  System(kWrite, 1, reinterpret_cast<intptr_t>(text), static_cast<intptr_t>(Length(text)));
}

bool all_passed = true;

void Report(const char* name, bool passed) {
  Print(passed ? "PASS " : "FAIL ");
  Print(name);
  Print("\n");
  all_passed &= passed;
}

uint32_t random_state = 1;
uint32_t Random() { return random_state = random_state * 1664525 + 1013904223; }

/// Two pages with nothing behind them: what reads or writes too far faults.
uint8_t* MapPages() {
  constexpr intptr_t kReadWrite = 3, kPrivateAnonymous = 0x22;
  // The sixth argument would be the offset in EBP; anonymous memory has none.
  const int address = System(kMmap2, 0, 3 * kPage, kReadWrite, kPrivateAnonymous, -1);
  auto* pages = reinterpret_cast<uint8_t*>(address);
  System(kMunmap, reinterpret_cast<intptr_t>(pages + 2 * kPage), kPage);
  return pages;
}

/// strlen by aligned 32-byte reads, which may begin before the string but never cross a page.
__attribute__((noinline)) size_t VectorLength(const uint8_t* text) {
  const uint8_t* at = reinterpret_cast<const uint8_t*>(reinterpret_cast<uintptr_t>(text) & ~uintptr_t{31});
  const __m256i zero = _mm256_setzero_si256();
  uint32_t skip = static_cast<uint32_t>(text - at);
  for (;; at += 32, skip = 0) {
    const __m256i chunk = _mm256_load_si256(reinterpret_cast<const __m256i*>(at));
    uint32_t zeros = static_cast<uint32_t>(_mm256_movemask_epi8(_mm256_cmpeq_epi8(chunk, zero)));
    zeros = zeros >> skip << skip;
    if (zeros) return static_cast<size_t>(at + _tzcnt_u32(zeros) - text);
  }
}

__attribute__((noinline)) void VectorCopy(uint8_t* to, const uint8_t* from, size_t bytes) {
  const uint8_t* end = from + bytes;
  for (; end - from >= 32; from += 32, to += 32) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
  }
  // The rest by masked moves of dwords, then bytes.
  const int dwords = static_cast<int>((end - from) / 4);
  const __m256i mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(dwords), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  _mm256_maskstore_epi32(reinterpret_cast<int*>(to), mask,
                         _mm256_maskload_epi32(reinterpret_cast<const int*>(from), mask));
  for (from += 4 * dwords, to += 4 * dwords; from != end; ++from, ++to)
    asm volatile("movb %1, %0" : "=m"(*to) : "q"(*from));
}

/// Bytes of two arrays that differ.
__attribute__((noinline)) uint32_t VectorDifferences(const uint8_t* a, const uint8_t* b, size_t bytes) {
  uint32_t count = 0;
  for (; bytes >= 32; bytes -= 32, a += 32, b += 32) {
    const __m256i left = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(a));
    const __m256i right = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(b));
    count += static_cast<uint32_t>(
        _mm_popcnt_u32(~static_cast<uint32_t>(_mm256_movemask_epi8(_mm256_cmpeq_epi8(left, right)))));
  }
  for (; bytes; --bytes) count += *a++ != *b++;
  return count;
}

bool TestStrings() {
  uint8_t* text = MapPages();
  uint8_t* copy = MapPages();
  for (unsigned round = 0; round < 2000; ++round) {
    const size_t length = Random() % 400, skip = Random() % 64;
    uint8_t* start = text + 2 * kPage - 1 - length - skip * (round % 2);
    for (size_t i = 0; i < length; ++i) asm volatile("movb %1, %0" : "=m"(start[i]) : "q"(uint8_t(1 + i % 255)));
    start[length] = 0;
    if (VectorLength(start) != length) return false;
    uint8_t* to = copy + 2 * kPage - 1 - length;
    VectorCopy(to, start, length + 1);
    if (VectorDifferences(to, start, length + 1) != 0) return false;
    if (length == 0) continue;
    to[Random() % length] ^= 0x80;
    if (VectorDifferences(to, start, length + 1) != 1) return false;
  }
  return true;
}

/// Gathers through a table that spans pages which are touched here for the first time.
bool TestGather() {
  const int address = System(kMmap2, 0, 64 * kPage, 3, 0x22, -1);
  auto* table = reinterpret_cast<int32_t*>(address);
  const __m256i index = _mm256_setr_epi32(0, 9000, 18000, 27000, 36000, 45000, 54000, 65535);
  const __m256i untouched = _mm256_i32gather_epi32(table, index, 4);
  if (!_mm256_testz_si256(untouched, untouched)) return false;
  for (int32_t i = 0; i < 65536; ++i) table[i] = i ^ 0x5A5A;
  const __m256i found = _mm256_i32gather_epi32(table, index, 4);
  const __m256i expected = _mm256_xor_si256(index, _mm256_set1_epi32(0x5A5A));
  return _mm256_movemask_epi8(_mm256_cmpeq_epi32(found, expected)) == -1;
}

struct alignas(32) Registers {
  uint8_t bytes[8 * 32];
};

void Fill(Registers& registers, uint32_t seed) {
  random_state = seed;
  for (uint8_t& byte : registers.bytes) byte = static_cast<uint8_t>(Random() >> 24);
}

/// Loads all registers, makes a system call and stores them again.
__attribute__((noinline)) int CallWith(const Registers& in, Registers& out, int call, int argument1, int argument2) {
  int result;
  asm volatile(
      "vmovaps (%[in]), %%ymm0\n vmovaps 32(%[in]), %%ymm1\n vmovaps 64(%[in]), %%ymm2\n vmovaps 96(%[in]), %%ymm3\n"
      "vmovaps 128(%[in]), %%ymm4\n vmovaps 160(%[in]), %%ymm5\n vmovaps 192(%[in]), %%ymm6\n"
      "vmovaps 224(%[in]), %%ymm7\n"
      "int $0x80\n"
      "vmovaps %%ymm0, (%[out])\n vmovaps %%ymm1, 32(%[out])\n vmovaps %%ymm2, 64(%[out])\n"
      "vmovaps %%ymm3, 96(%[out])\n vmovaps %%ymm4, 128(%[out])\n vmovaps %%ymm5, 160(%[out])\n"
      "vmovaps %%ymm6, 192(%[out])\n vmovaps %%ymm7, 224(%[out])\n vzeroupper"
      : "=a"(result)
      : "a"(call), "b"(argument1), "c"(argument2), [in] "S"(&in), [out] "D"(&out)
      : "memory");
  return result;
}

bool Same(const Registers& a, const Registers& b) { return VectorDifferences(a.bytes, b.bytes, sizeof a.bytes) == 0; }

volatile int signals_seen = 0;

void OnSignal(int) {
  asm volatile("vpcmpeqb %%ymm0, %%ymm0, %%ymm0\n vmovaps %%ymm0, %%ymm3\n vzeroall" ::: "memory");
  signals_seen = signals_seen + 1;
}

/// Whether a process's registers stay its own, with others that compute beside it, and through its signals.
bool Worker(uint32_t seed) {
  Registers mine, after;
  Fill(mine, seed);
  const int self = System(kGetpid);
  for (unsigned round = 0; round < 400; ++round) {
    const bool signal = round % 8 == 0;
    CallWith(mine, after, signal ? kKill : kSchedYield, self, kSigusr1);
    if (!Same(mine, after)) return false;
  }
  return signals_seen == 50;
}

bool TestProcesses() {
  constexpr int kWorkers = 4;
  Registers mine, after;
  Fill(mine, 77);
  for (int i = 0; i < kWorkers; ++i) {
    const int child = CallWith(mine, after, kFork, 0, 0);
    if (!Same(mine, after)) return false;
    if (child == 0) System(kExit, Worker(static_cast<uint32_t>(100 + i)) ? 0 : 1);
  }
  bool passed = true;
  for (int i = 0; i < kWorkers; ++i) {
    int status = -1;
    System(kWaitpid, -1, reinterpret_cast<intptr_t>(&status), 0);
    passed &= status == 0;
  }
  return passed;
}

void InstallHandler() {
  struct {
    void (*handler)(int);
    unsigned long mask, flags;
    void (*restorer)();
  } action = {OnSignal, 0, 0, nullptr};
  System(kSigaction, kSigusr1, reinterpret_cast<intptr_t>(&action), 0);
}

/// CPUID and XGETBV allow AVX2 and BMI.
bool Supported() {
  constexpr uint32_t kAvxAndOsxsave = 3u << 27, kAvx2AndBmi = 1u << 5 | 1u << 3 | 1u << 8;
  uint32_t a, b, c, d;
  __cpuid_count(1, 0, a, b, c, d);
  if ((c & kAvxAndOsxsave) != kAvxAndOsxsave) return false;
  asm volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
  if ((a & 6) != 6) return false;
  __cpuid_count(7, 0, a, b, c, d);
  return (b & kAvx2AndBmi) == kAvx2AndBmi;
}

void Main() {
  if (!Supported()) {
    Print("PASS the processor has no AVX2: nothing to test\nring3-avx: OK\n");
    System(kExit, 0);
  }
  InstallHandler();
  Report("avx2-strings", TestStrings());
  Report("avx2-gather", TestGather());
  Report("ymm-processes", TestProcesses());
  Print(all_passed ? "ring3-avx: OK\n" : "ring3-avx: FAILED\n");
  System(kExit, all_passed ? 0 : 1);
}

}  // namespace

extern "C" [[noreturn]] __attribute__((force_align_arg_pointer)) void _start() {
  Main();
  __builtin_unreachable();
}
