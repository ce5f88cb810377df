// Which CPU features an instruction belongs to: what a model does not advertise is #UD to it.
#pragma once

#include <Zydis/Zydis.h>

#include <cstdint>

#include "monitor/cpu/cpu_model.h"

namespace ring3 {

/// CPUID bits that an instruction asks for; `never` for what no model has.
struct FeatureNeed {
  uint32_t edx = 0, ecx = 0;  // CPUID.1
  uint32_t ebx7 = 0;          // CPUID.7
  uint32_t extended_ecx = 0;  // CPUID.80000001h
  uint32_t xsave = 0;         // CPUID.0Dh.1
  unsigned min_family = 0;
  bool never = false;
};

FeatureNeed NeedOf(const ZydisDecodedInstruction& instruction);
/// Whether the model executes the instruction at all; otherwise it is #UD.
bool Available(const CpuModel& model, const FeatureNeed& need);

}  // namespace ring3
