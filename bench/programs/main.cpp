// The user and guest suites' program.
//   programs run NAME [quick]     one of the programs below
//   programs shell NAME COMMANDS  a shell's work; its first line of output is the result
//   programs true                 nothing
// The first two print "begin NAME", and "end NAME RESULT NANOSECONDS PROCESSOR_NANOSECONDS" by the clocks of the system
// they run on.
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "programs.h"

namespace programs {
namespace {

constexpr Program kPrograms[] = {
    {"recursion", Recursion, 38, 15},
    {"callback-sort", CallbackSort, 400'000, 10'000},
    {"hash-table", HashTable, 8'000'000, 10'000},
    {"pointer-chase", PointerChase, 2'000'000, 10'000},
    {"sha256", Sha256, 15'000, 100},
    {"crc32", Crc32, 300, 5},
    {"lz-compress", LzCompress, 60, 1},
    {"matrix", Matrix, 60, 1},
    {"queens", Queens, 14, 6},
    {"bytecode", Bytecode, 8'000'000, 10'000},
    {"large-code", LargeCode, 2'500'000, 20'000},
    {"x87", X87, 30, 1},
    {"sse2", Sse2, 200'000, 100},
    {"strings", Strings, 4'000, 20},
    {"jit-rewrite", JitRewrite, 20'000, 1'000},
    {"getpid", Getpid, 300'000, 1'000},
    {"system-calls", SystemCalls, 30'000, 100},
    {"fork-wait", ForkWait, 300, 5},
    {"fork-exec", ForkExec, 200, 5},
    {"pipe-ping-pong", PipePingPong, 5'000, 100},
    {"page-faults", PageFaults, 65'536, 4'096},
    {"new-memory", NewMemory, 32'768, 4'096},
};

uint64_t Nanoseconds() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

/// Of the processor, for this process and the children that it waited for.
uint64_t ProcessorNanoseconds() {
  const int kinds[] = {RUSAGE_SELF, RUSAGE_CHILDREN};
  uint64_t sum = 0;
  for (int kind : kinds) {
    rusage usage;
    getrusage(kind, &usage);
    sum += static_cast<uint64_t>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1'000'000'000 +
           static_cast<uint64_t>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1'000;
  }
  return sum;
}

/// Prints the two lines around the work, which leaves its result in a buffer.
template <class Work>
int Report(const char* name, Work work) {
  char result[128] = "";
  printf("begin %s\n", name);
  fflush(stdout);
  const uint64_t start = Nanoseconds(), processor_start = ProcessorNanoseconds();
  const bool done = work(result, sizeof result);
  const unsigned long long took = Nanoseconds() - start, processor = ProcessorNanoseconds() - processor_start;
  if (!done) {
    printf("failed %s\n", name);
    return 1;
  }
  printf("end %s %s %llu %llu\n", name, result, took, processor);
  return 0;
}

int RunProgram(const char* name, bool quick) {
  for (const Program& program : kPrograms) {
    if (strcmp(program.name, name) != 0) continue;
    return Report(name, [&](char* result, size_t size) {
      return snprintf(result, size, "%08x", program.run(quick ? program.quick_size : program.size)) > 0;
    });
  }
  fprintf(stderr, "programs: no program '%s'\n", name);
  return 2;
}

/// The first line that `sh` from PATH, and not the system's own shell, prints.
bool ShellOutput(const char* commands, char* result, size_t size) {
  int ends[2], status = 0;
  if (pipe(ends) != 0) return false;
  const pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], STDOUT_FILENO);
    close(ends[0]);
    close(ends[1]);
    execlp("sh", "sh", "-c", commands, static_cast<char*>(nullptr));
    _exit(127);
  }
  close(ends[1]);
  FILE* output = fdopen(ends[0], "r");
  const bool got = fgets(result, static_cast<int>(size), output) != nullptr;
  fclose(output);
  result[strcspn(result, "\n")] = 0;
  return waitpid(child, &status, 0) == child && got && status == 0;
}

int RunShell(const char* name, const char* commands) {
  return Report(name, [commands](char* result, size_t size) { return ShellOutput(commands, result, size); });
}

}  // namespace
}  // namespace programs

int main(int argc, char** argv) {
  if (argc == 2 && strcmp(argv[1], "true") == 0) return 0;
  if (argc >= 3 && strcmp(argv[1], "run") == 0) return programs::RunProgram(argv[2], argc > 3);
  if (argc == 4 && strcmp(argv[1], "shell") == 0) return programs::RunShell(argv[2], argv[3]);
  fprintf(stderr, "usage: programs run NAME [quick] | shell NAME COMMANDS | true\n");
  return 2;
}
