#include "monitor/cpu/cpu_model.h"

#include <cpuid.h>

#include <algorithm>
#include <cstring>

#include "monitor/cpu/fault.h"

namespace ring3 {
namespace {

using namespace cpuid_edx;  // NOLINT: the table below reads as the manual's feature lists

constexpr uint32_t kPentiumFeatures = kFpu | kVme | kDe | kPse | kTsc | kMsr | kMce | kCx8;
constexpr uint32_t kPentium3Features =
    kPentiumFeatures | kPae | kSep | kMtrr | kPge | kMca | kCmov | kPat | kPse36 | kMmx | kFxsr | kSse;
constexpr uint32_t kPentium4Features = kPentium3Features | kClflush | kSse2;
constexpr uint32_t kN270Features = kPentium4Features & ~kPse36;
constexpr uint32_t kNx = 1u << 20;

constexpr uint32_t kMaxN270Leaf = 10;
constexpr uint32_t kExtendedBase = 0x8000'0000, kExtendedFeatures = 0x8000'0001, kBrandFirst = 0x8000'0002,
                   kBrandLast = 0x8000'0004, kL2Leaf = 0x8000'0006, kPowerLeaf = 0x8000'0007,
                   kAddressLeaf = 0x8000'0008;
constexpr uint32_t kVirtualAddressBits = 32;
constexpr uint32_t kInvariantTsc = 1u << 8;
constexpr uint32_t kCacheLineBytes = 64;
constexpr uint32_t kL2Ecx = 512u << 16 | 6u << 12 | kCacheLineBytes;  // KiB, 8-way, line

/// CPUID.2 of each generation: SDM 2A table 3-12.
constexpr std::array<uint32_t, 4> kNoCacheLeaf{}, kPentium3Caches{0x0302'0101, 0, 0, 0x0C04'0882},
    kPentium4Caches{0x665B'5001, 0, 0, 0x007B'7040}, kN270Caches{0x4FBA'5901, 0x0E30'80C0, 0, 0};

constexpr uint32_t kMaxMaxLeaf = 13;

/// Adds what this host can execute in 32-bit code and ring3 translates: all but AVX-512.
void AddHostFeatures(CpuModel& model) {
  constexpr uint32_t kEcx = cpuid_ecx::kSse3 | cpuid_ecx::kPclmulqdq | cpuid_ecx::kSsse3 | cpuid_ecx::kSse41 |
                            cpuid_ecx::kSse42 | cpuid_ecx::kMovbe | cpuid_ecx::kPopcnt | cpuid_ecx::kAes |
                            cpuid_ecx::kRdrand;
  constexpr uint32_t kEbx7 =
      cpuid7_ebx::kBmi1 | cpuid7_ebx::kBmi2 | cpuid7_ebx::kRdseed | cpuid7_ebx::kAdx | cpuid7_ebx::kSha;
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
  __get_cpuid(1, &eax, &ebx, &ecx, &edx);
  uint32_t ebx7 = 0, extended_ecx = 0, unused = 0;
  __get_cpuid_count(7, 0, &eax, &ebx7, &unused, &edx);
  __get_cpuid(kExtendedFeatures, &eax, &ebx, &extended_ecx, &edx);
  model.features_ecx |= ecx & kEcx;
  model.features7_ebx |= ebx7 & kEbx7;
  model.extended_ecx |= extended_ecx & cpuid_extended_ecx::kLzcnt;
  // Where the host's system keeps the upper halves of YMM registers; XSAVE itself is the monitor's work.
  if (!__builtin_cpu_supports("avx")) return;
  model.features_ecx |= cpuid_ecx::kXsave | (ecx & (cpuid_ecx::kAvx | cpuid_ecx::kF16c | cpuid_ecx::kFma));
  model.features7_ebx |= ebx7 & cpuid7_ebx::kAvx2;
  model.xsave_features = cpuid_xsave::kXsaveopt | cpuid_xsave::kXsavec | cpuid_xsave::kXgetbv1;
}

std::vector<CpuModel> MakeModels() {
  const std::string intel = "GenuineIntel";
  // Family 6 model 28 executes in order: kernels know it as immune to speculation attacks and apply no mitigation.
  CpuModel n270{"n270",
                intel,
                "ring3 translating CPU (n270)",
                0x106C2,
                kMaxN270Leaf,
                kAddressLeaf,
                cpuid_ecx::kSse3 | cpuid_ecx::kSsse3,
                kN270Features,
                kNx,
                kN270Caches,
                0x218};
  CpuModel max = n270;
  max.name = "max";
  max.brand = "ring3 translating CPU (max)";
  max.max_leaf = kMaxMaxLeaf;
  AddHostFeatures(max);
  return {
      n270,
      {"486", intel, "", 0x480, 1, 0, 0, kFpu, 0, kNoCacheLeaf, 0},
      {"pentium", intel, "", 0x52C, 1, 0, 0, kPentiumFeatures, 0, kNoCacheLeaf, 0},
      {"pentium3", intel, "", 0x68A, 2, 0, 0, kPentium3Features, 0, kPentium3Caches, 0x1},
      {"pentium4", intel, "ring3 translating CPU (pentium4)", 0xF29, 2, kBrandLast, 0, kPentium4Features, 0,
       kPentium4Caches, 0x2E},
      max,
  };
}

/// CPUID.4: deterministic cache parameters.
CpuidResult CacheLeaf(uint32_t subleaf) {
  struct Cache {
    uint32_t type, level, ways, sets;
  };
  constexpr std::array<Cache, 3> kCaches{{{1, 1, 6, 64}, {2, 1, 8, 64}, {3, 2, 8, 1024}}};
  if (subleaf >= kCaches.size()) return {};
  const Cache& cache = kCaches[subleaf];
  constexpr uint32_t kSelfInitializing = 1u << 8;
  return {cache.type | cache.level << 5 | kSelfInitializing, (cache.ways - 1) << 22 | (kCacheLineBytes - 1),
          cache.sets - 1, 0};
}

uint32_t Word(std::string_view text, size_t offset) {
  uint32_t word = 0;
  if (offset < text.size()) std::memcpy(&word, text.data() + offset, std::min<size_t>(4, text.size() - offset));
  return word;
}

/// CPUID.0Dh: what XSAVE saves, and where.
CpuidResult XsaveLeaf(const CpuModel& model, uint32_t subleaf, const CpuidContext& context) {
  const uint32_t supported = model.Xcr0Supported();
  if (!supported) return {};
  switch (subleaf) {
    case 0:
      return {supported, xstate::AreaBytes(context.xcr0), xstate::AreaBytes(supported), 0};
    case 1:
      return {model.xsave_features, xstate::AreaBytes(context.xcr0), 0, 0};
    case 2:
      return {xstate::kAvxBytes, xstate::kAvxOffset, 0, 0};
    default:
      return {};
  }
}

CpuidResult BasicLeaf(const CpuModel& model, uint32_t leaf, uint32_t subleaf, const CpuidContext& context) {
  switch (leaf) {
    case 0:
      return {model.max_leaf, Word(model.vendor, 0), Word(model.vendor, 8), Word(model.vendor, 4)};
    case 1: {
      const uint32_t clflush = model.Has(kClflush) ? kCacheLineBytes / 8 << 8 : 0;
      const uint32_t osxsave = context.osxsave ? cpuid_ecx::kOsxsave : 0;
      return {model.signature, clflush, model.features_ecx | osxsave, model.features_edx};
    }
    case 2: {
      const auto& words = model.cache_descriptors;
      return {words[0], words[1], words[2], words[3]};
    }
    case 4:
      return CacheLeaf(subleaf);
    case 7:
      return {0, subleaf == 0 ? model.features7_ebx : 0, 0, 0};
    case 13:
      return XsaveLeaf(model, subleaf, context);
    default:
      return {};
  }
}

CpuidResult ExtendedLeaf(const CpuModel& model, uint32_t leaf) {
  if (leaf >= kBrandFirst && leaf <= kBrandLast) {
    const size_t at = (leaf - kBrandFirst) * 16;
    return {Word(model.brand, at), Word(model.brand, at + 4), Word(model.brand, at + 8), Word(model.brand, at + 12)};
  }
  switch (leaf) {
    case kExtendedBase:
      return {model.max_extended_leaf, 0, 0, 0};
    case kExtendedFeatures:
      return {0, 0, model.extended_ecx, model.extended_edx};
    case kL2Leaf:
      return {0, 0, kL2Ecx, 0};
    case kPowerLeaf:
      return {0, 0, 0, kInvariantTsc};
    case kAddressLeaf:
      return {kVirtualAddressBits << 8 | kPhysicalAddressBits, 0, 0, 0};
    default:
      return {};
  }
}

}  // namespace

unsigned CpuModel::Family() const {
  const unsigned family = signature >> 8 & 0xF;
  return family == 0xF ? family + (signature >> 20 & 0xFF) : family;
}

bool CpuModel::FopOnExceptionsOnly() const { return Has(kSse2); }  // the Pentium 4 and what came after it

uint32_t CpuModel::Xcr0Supported() const {
  if (!(features_ecx & cpuid_ecx::kXsave)) return 0;
  return xstate::kX87 | xstate::kSse | (features_ecx & cpuid_ecx::kAvx ? xstate::kAvx : 0);
}

CpuidResult CpuModel::Cpuid(uint32_t leaf, uint32_t subleaf, const CpuidContext& context) const {
  if (leaf >= kExtendedBase && leaf <= max_extended_leaf) return ExtendedLeaf(*this, leaf);
  return BasicLeaf(*this, std::min(leaf, max_leaf), subleaf,
                   context);  // beyond the maximum: the highest basic leaf's data
}

const std::vector<CpuModel>& CpuModels() {
  static const std::vector<CpuModel> models = MakeModels();
  return models;
}

const CpuModel& FindCpuModel(std::string_view name) {
  std::string names;
  for (const CpuModel& model : CpuModels()) {
    if (model.name == name) return model;
    names += (names.empty() ? "" : ", ") + model.name;
  }
  throw UsageError("no CPU model '" + std::string(name) + "'; there are: " + names);
}

}  // namespace ring3
