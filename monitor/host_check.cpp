#include "monitor/host_check.h"

#include <cpuid.h>
#include <fmt/core.h>
#include <sys/auxv.h>

#include <cstdlib>
#include <string>

#include "monitor/cpu/fault.h"

namespace ring3 {
namespace {

constexpr unsigned long kHwcap2FsGsBase = 2;  // AT_HWCAP2: the kernel lets user code write GS.base

bool Hidden(const char* feature) {
  const char* hidden = std::getenv("RING3_HIDE_CPU_FEATURE");
  return hidden && std::string(hidden) == feature;
}

void Require(bool present, const char* feature, const char* remedy) {
  if (!present || Hidden(feature)) {
    throw UsageError(fmt::format("this host has no usable {}, which ring3 needs ({})", feature, remedy));
  }
}

}  // namespace

void CheckHost() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx);
  constexpr unsigned kFsGsBase = 1u << 0, kBmi2 = 1u << 8;
  Require((ebx & kFsGsBase) && (getauxval(AT_HWCAP2) & kHwcap2FsGsBase), "fsgsbase",
          "CPUs since Ivy Bridge and Zen, Linux 5.9 or later, not booted with nofsgsbase");
  Require(ebx & kBmi2, "bmi2", "CPUs since Haswell and Excavator");
}

}  // namespace ring3
