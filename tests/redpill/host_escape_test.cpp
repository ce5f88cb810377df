// Nothing that a guest executes is the host's: no system call is made from translated code, no transfer reaches the
// host's segments, its bases stay what they are.
#include <fmt/core.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstddef>
#include <cstring>
#include <fstream>
#include <functional>
#include <optional>
#include <sstream>
#include <stdexcept>

#include "tests/redpill/abuse.h"

using namespace ring3;

namespace {

/// Translated and interpreted, and what differs.
class Comparison {
 public:
  void Compare(const Abuse& abuse) {
    for (unsigned cpl : {3u, 0u}) {
      if (cpl == 0 && abuse.system) continue;
      const Program program = MakeAbuse(abuse, cpl);
      const Outcome actual = Run(translated_, program), expected = Run(interpreted_, program);
      ++compared;
      const std::string difference = Difference(actual, expected, {});
      if (difference.empty()) continue;
      if (++failed <= 10) report += abuse.name + ": " + Describe(program) + difference;
    }
  }
  std::optional<uint32_t> Vector(const Abuse& abuse, unsigned cpl) {
    return Run(translated_, MakeAbuse(abuse, cpl)).vector;
  }

  unsigned compared = 0, failed = 0;
  std::string report;

 private:
  static constexpr uint32_t kShutdown = 1000;  // a triple fault, or no end

  /// A far return would find 1000'0800h and the host's 64-bit code selector.
  static Outcome Run(TestMachine& machine, const Program& program) {
    Load(machine, program);
    const uint32_t frame[] = {program.Start(), 0x33, program.eflags, program.gpr[kEsp], 0x2B};
    const uint32_t stack = guest::kStackFrames + program.gpr[kEsp] - guest::kStack;
    machine.Write(stack, {reinterpret_cast<const uint8_t*>(frame), sizeof frame});
    try {
      return machine.Run();
    } catch (const std::runtime_error&) {
      return {.vector = kShutdown};
    }
  }

  // A model without random numbers, which would differ.
  TestMachine translated_{{.model = "n270"}}, interpreted_{{.interpreter = true, .model = "n270"}};
};

uint64_t FsBase() {
  uint64_t base = 0;
  constexpr int kGetFs = 0x1003;  // ARCH_GET_FS
  syscall(SYS_arch_prctl, kGetFs, &base);
  return base;
}

}  // namespace

TEST_CASE("every INT n is the guest's") {
  Comparison comparison;
  const uint64_t fs_base = FsBase();
  for (const Abuse& abuse : Interrupts()) {
    for (const Abuse& disguise : Disguises(abuse)) comparison.Compare(disguise);
    const uint8_t n = abuse.code[1];
    // The test machine has gates for 0 to 31 and none beyond.
    for (unsigned cpl : {3u, 0u}) CHECK(comparison.Vector(abuse, cpl) == (n < 32 ? n : 13));
  }
  INFO(comparison.report);
  CHECK(comparison.failed == 0);
  CHECK(comparison.compared >= 256u * 2 * 3);
  CHECK(FsBase() == fs_base);
}

TEST_CASE("the host's instructions are invalid opcodes, protection faults, or the guest's own") {
  Comparison comparison;
  const uint64_t fs_base = FsBase();
  for (const Abuse& abuse : HostPatterns()) {
    for (const Abuse& disguise : Disguises(abuse)) comparison.Compare(disguise);
  }
  INFO(comparison.failed << " of " << comparison.compared << " differ\n" << comparison.report);
  CHECK(comparison.failed == 0);
  CHECK(comparison.compared >= 1000);
  CHECK(FsBase() == fs_base);
  // By the manual, for models without these instructions.
  constexpr uint32_t kInvalid = 6, kProtection = 13;
  for (const Abuse& abuse : HostPatterns()) {
    for (const char* name : {"syscall", "sysret", "swapgs", "rdpkru", "wrpkru", "vmcall", "fs, gs base", "rdtscp",
                             "xbegin", "clac", "enclu", "getsec", "invpcid", "rdpid", "skinit", "3DNow!"}) {
      if (abuse.name != name) continue;
      INFO(name);
      for (unsigned cpl : {3u, abuse.system ? 3u : 0u}) CHECK(comparison.Vector(abuse, cpl) == kInvalid);
    }
    for (const char* name : {"jmp far 33h", "call far 33h", "jmp far [esp]", "retf", "iret", "wrmsr", "lgdt [ebx]",
                             "cli", "hlt", "in al, dx", "mov cr0", "clts", "ltr"}) {
      if (abuse.name != name) continue;
      INFO(name);
      CHECK(comparison.Vector(abuse, 3) == kProtection);
    }
  }
}

namespace {

struct Range {
  uint64_t first, end;
};

/// Where system calls may come from: code of files, that is the program and its libraries. No range crosses 4 GiB.
std::vector<Range> CodeOfFiles() {
  std::vector<Range> ranges;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    std::istringstream in(line);
    Range range;
    char dash;
    std::string rights, offset, device;
    uint64_t inode = 0;
    in >> std::hex >> range.first >> dash >> range.end >> rights >> offset >> device >> std::dec >> inode;
    const bool vdso = line.ends_with("[vdso]");
    if (rights[2] != 'x' || rights[1] == 'w' || (inode == 0 && !vdso)) continue;
    const uint64_t boundary = range.end & ~0xFFFF'FFFFull;
    if (range.first < boundary) ranges.push_back({range.first, boundary - 1});
    ranges.push_back({std::max(range.first, boundary), range.end});
  }
  return ranges;
}

/// From now on a system call from anywhere else, of either ABI, kills this process with SIGSYS.
bool ForbidOtherSystemCalls() {
  constexpr uint32_t kLow = offsetof(seccomp_data, instruction_pointer), kHigh = kLow + 4;
  std::vector<sock_filter> filter;
  const auto high = [](uint64_t v) { return static_cast<uint32_t>(v >> 32); };
  const auto low = [](uint64_t v) { return static_cast<uint32_t>(v); };
  // The instruction pointer lies behind the SYSCALL, so it may be a range's end.
  for (const Range& r : CodeOfFiles()) {
    filter.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kHigh));
    filter.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, high(r.first), 0, 4));
    filter.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kLow));
    filter.push_back(BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, low(r.first), 0, 2));
    filter.push_back(BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, low(r.end), 1, 0));
    filter.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  }
  filter.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS));
  const sock_fprog program{static_cast<unsigned short>(filter.size()), filter.data()};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0;
}

/// Runs `body` in a child under the filter; the child's wait status. Bodies return what to exit with.
int RunForbidden(const std::function<int()>& body) {
  const pid_t child = fork();
  if (child == 0) _exit(ForbidOtherSystemCalls() ? body() : 99);
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  return status;
}

int CallFromElsewhere(const Bytes& code) {
  void* memory = mmap(nullptr, kPageSize, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  std::memcpy(memory, code.data(), code.size());
  reinterpret_cast<void (*)()>(memory)();
  return 0;
}

}  // namespace

TEST_CASE("no system call is made from translated code, nor from any other generated code") {
  // The filter works: such calls kill, others do not.
  const Bytes get_pid = {0xB8, 0x27, 0, 0, 0, 0x0F, 0x05, 0xC3}, get_pid_32 = {0xB8, 0x14, 0, 0, 0, 0xCD, 0x80, 0xC3};
  for (const Bytes& code : {get_pid, get_pid_32}) {
    const int status = RunForbidden([&] { return CallFromElsewhere(code); });
    CHECK(WIFSIGNALED(status));
    CHECK(WTERMSIG(status) == SIGSYS);
  }
  CHECK(RunForbidden([] { return getpid() > 0 ? 7 : 0; }) == 7 << 8);

  const int status = RunForbidden([] {
    Comparison comparison;
    for (const auto& patterns : {Interrupts(), HostPatterns()}) {
      for (const Abuse& abuse : patterns) {
        for (const Abuse& disguise : Disguises(abuse)) comparison.Compare(disguise);
      }
    }
    return comparison.failed == 0 && comparison.compared > 2000 ? 0 : 1;
  });
  CHECK(status == 0);
}
