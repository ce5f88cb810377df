#include "monitor/cpu/cpu_model.h"

#include <catch2/catch.hpp>
#include <cstring>

#include "monitor/cpu/fault.h"

namespace ring3 {
namespace {

/// Feature `first` is never present without `second` on any x86 CPU.
struct Implication {
  uint32_t first, second;
};
constexpr Implication kImplications[] = {
    {cpuid_edx::kSse2, cpuid_edx::kSse},     {cpuid_edx::kSse, cpuid_edx::kFxsr}, {cpuid_edx::kSse, cpuid_edx::kMmx},
    {cpuid_edx::kPge, cpuid_edx::kPse},      {cpuid_edx::kTsc, cpuid_edx::kMsr},  {cpuid_edx::kSep, cpuid_edx::kMsr},
    {cpuid_edx::kPae, cpuid_edx::kCx8},      {cpuid_edx::kPat, cpuid_edx::kMsr},  {cpuid_edx::kMca, cpuid_edx::kMce},
    {cpuid_edx::kSse2, cpuid_edx::kClflush}, {cpuid_edx::kCmov, cpuid_edx::kFpu},
};

}  // namespace

TEST_CASE("the default model comes first and all six exist") {
  std::string names;
  for (const CpuModel& model : CpuModels()) names += model.name + " ";
  CHECK(names == "n270 486 pentium pentium3 pentium4 max ");
  CHECK_THROWS_AS(FindCpuModel("z80"), UsageError);
  CHECK_THROWS_WITH(FindCpuModel("z80"), Catch::Contains("z80") && Catch::Contains("pentium3"));
}

TEST_CASE("every model is coherent") {
  for (const CpuModel& model : CpuModels()) {
    INFO(model.name);
    for (const auto& [first, second] : kImplications) {
      if (model.Has(first)) CHECK(model.Has(second));
    }
    CHECK_FALSE(model.features_ecx & cpuid_ecx::kHypervisor);
    CHECK_FALSE(model.Has(cpuid_edx::kApic));
    const CpuidResult leaf0 = model.Cpuid(0, 0);
    char vendor[13] = {};
    std::memcpy(vendor, &leaf0.ebx, 4);
    std::memcpy(vendor + 4, &leaf0.edx, 4);
    std::memcpy(vendor + 8, &leaf0.ecx, 4);
    CHECK(std::string(vendor) == "GenuineIntel");
    CHECK(leaf0.eax == model.max_leaf);
    const CpuidResult leaf1 = model.Cpuid(1, 0);
    const uint32_t clflush_line = model.Has(cpuid_edx::kClflush) ? 8 << 8 : 0;
    CHECK(leaf1 == CpuidResult{model.signature, clflush_line, model.features_ecx, model.features_edx});
    const CpuidResult extended = model.Cpuid(0x8000'0000, 0);
    CHECK((extended.eax >= 0x8000'0000) == (model.max_extended_leaf != 0));
    if (model.Nx()) CHECK(model.Has(cpuid_edx::kPae));
  }
}

TEST_CASE("leaves beyond the maximum repeat the highest basic leaf: no hypervisor leaf") {
  for (const CpuModel& model : CpuModels()) {
    INFO(model.name);
    const CpuidResult highest = model.Cpuid(model.max_leaf, 0);
    CHECK(model.Cpuid(0x4000'0000, 0) == highest);
    CHECK(model.Cpuid(model.max_leaf + 1, 0) == highest);
    CHECK(model.Cpuid(0x8000'0020, 0) == highest);
    CHECK(model.Cpuid(0xFFFF'FFFF, 0) == highest);
  }
}

TEST_CASE("the default model: brand, caches, addresses, invariant TSC") {
  const CpuModel& model = FindCpuModel("n270");
  CHECK(model.signature == 0x106C2);  // family 6 model 28
  CHECK(model.Family() == 6);
  std::string brand;
  for (uint32_t leaf = 0x8000'0002; leaf <= 0x8000'0004; ++leaf) {
    const CpuidResult r = model.Cpuid(leaf, 0);
    for (uint32_t word : {r.eax, r.ebx, r.ecx, r.edx}) brand.append(reinterpret_cast<const char*>(&word), 4);
  }
  CHECK(std::string(brand.c_str()) == "ring3 translating CPU (n270)");
  CHECK(model.Cpuid(0x8000'0007, 0).edx == 1u << 8);
  CHECK(model.Cpuid(0x8000'0008, 0).eax == (32u << 8 | 36));
  CHECK(model.Cpuid(0x8000'0001, 0).edx == 1u << 20);
  // Leaf 4: ways * partitions * line * sets.
  const auto bytes = [&](uint32_t subleaf) {
    const CpuidResult r = model.Cpuid(4, subleaf);
    return ((r.ebx >> 22) + 1) * ((r.ebx & 0xFFF) + 1) * (r.ecx + 1);
  };
  CHECK(bytes(0) == 24 * 1024);
  CHECK(bytes(1) == 32 * 1024);
  CHECK(bytes(2) == 512 * 1024);
  CHECK(model.Cpuid(4, 3) == CpuidResult{});
  CHECK((model.Cpuid(2, 0).eax & 0xFF) == 1);
}

TEST_CASE("XSAVE's leaf describes the areas of what is enabled") {
  const CpuModel& max = FindCpuModel("max");
  if (!max.Xcr0Supported()) return;
  CHECK(max.max_leaf == 0xD);
  CHECK(max.Cpuid(0xD, 0, {.osxsave = true, .xcr0 = 1}) == CpuidResult{max.Xcr0Supported(), 576, 832, 0});
  CHECK(max.Cpuid(0xD, 0, {.osxsave = true, .xcr0 = 7}).ebx == 832);
  CHECK(max.Cpuid(0xD, 1, {.osxsave = true, .xcr0 = 7}) == CpuidResult{7, 832, 0, 0});
  CHECK(max.Cpuid(0xD, 2) == CpuidResult{256, 576, 0, 0});
  CHECK(max.Cpuid(0xD, 3) == CpuidResult{});
  CHECK_FALSE(max.Cpuid(1, 0).ecx & cpuid_ecx::kOsxsave);
  CHECK(max.Cpuid(1, 0, {.osxsave = true, .xcr0 = 1}).ecx == (max.features_ecx | cpuid_ecx::kOsxsave));
  CHECK(max.Cpuid(7, 0) == CpuidResult{0, max.features7_ebx, 0, 0});
  CHECK(max.Cpuid(7, 1) == CpuidResult{});
  CHECK(max.Cpuid(0x8000'0001, 0).ecx == max.extended_ecx);
  for (const CpuModel& model : CpuModels()) {
    INFO(model.name);
    const bool avx = model.features_ecx & cpuid_ecx::kAvx;
    if (avx) CHECK(model.features_ecx & cpuid_ecx::kXsave);
    if (model.features7_ebx & cpuid7_ebx::kAvx2) CHECK(avx);
    if (model.features_ecx & (cpuid_ecx::kFma | cpuid_ecx::kF16c)) CHECK(avx);
    if (&model != &max) CHECK(model.Xcr0Supported() == 0);
  }
}

TEST_CASE("history: what each generation brought") {
  using namespace cpuid_edx;
  CHECK(FindCpuModel("486").features_edx == kFpu);
  CHECK(FindCpuModel("486").Family() == 4);
  CHECK(FindCpuModel("pentium").features_edx == (kFpu | kVme | kDe | kPse | kTsc | kMsr | kMce | kCx8));
  CHECK(FindCpuModel("pentium3").Has(kSse));
  CHECK_FALSE(FindCpuModel("pentium3").Has(kSse2));
  CHECK(FindCpuModel("pentium4").Has(kSse2));
  CHECK(FindCpuModel("pentium4").Family() == 15);
  CHECK(FindCpuModel("pentium4").features_ecx == 0);
  const uint32_t max = FindCpuModel("max").features_ecx, n270 = FindCpuModel("n270").features_ecx;
  CHECK((max & n270) == n270);
}

}  // namespace ring3
