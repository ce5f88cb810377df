// What CPUID and the identification MSRs say: one table row per --cpu model.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ring3 {

struct CpuidResult {
  uint32_t eax, ebx, ecx, edx;
  bool operator==(const CpuidResult&) const = default;
};

/// MAXPHYADDR of every model with extended address leaves: PAE entries have no bits above it.
inline constexpr unsigned kPhysicalAddressBits = 36;

/// A coherent 32-bit CPU. Only features that ring3 executes rightly are advertised.
struct CpuModel {
  std::string name;
  std::string vendor;  // 12 characters
  std::string brand;   // up to 48 characters, empty: no brand leaves
  uint32_t signature;  // CPUID.1:EAX
  uint32_t max_leaf, max_extended_leaf;
  uint32_t features_ecx, features_edx;        // CPUID.1
  uint32_t extended_edx;                      // CPUID.80000001h:EDX
  std::array<uint32_t, 4> cache_descriptors;  // CPUID.2: EAX, EBX, ECX, EDX
  uint32_t microcode;                         // revision, high half of IA32_BIOS_SIGN_ID

  bool Has(uint32_t feature_edx_bit) const { return features_edx & feature_edx_bit; }
  bool Nx() const { return extended_edx & (1u << 20); }
  unsigned Family() const;
  /// The x87 opcode register follows unmasked exceptions only (SDM 1 8.1.9.1).
  bool FopOnExceptionsOnly() const;
  CpuidResult Cpuid(uint32_t leaf, uint32_t subleaf) const;
};

namespace cpuid_edx {
inline constexpr uint32_t kFpu = 1u << 0, kVme = 1u << 1, kDe = 1u << 2, kPse = 1u << 3, kTsc = 1u << 4, kMsr = 1u << 5,
                          kPae = 1u << 6, kMce = 1u << 7, kCx8 = 1u << 8, kApic = 1u << 9, kSep = 1u << 11,
                          kMtrr = 1u << 12, kPge = 1u << 13, kMca = 1u << 14, kCmov = 1u << 15, kPat = 1u << 16,
                          kPse36 = 1u << 17, kClflush = 1u << 19, kMmx = 1u << 23, kFxsr = 1u << 24, kSse = 1u << 25,
                          kSse2 = 1u << 26;
}
namespace cpuid_ecx {
inline constexpr uint32_t kSse3 = 1u << 0, kSsse3 = 1u << 9, kSse41 = 1u << 19, kSse42 = 1u << 20, kPopcnt = 1u << 23,
                          kHypervisor = 1u << 31;
}

/// All models, the default first. 486, pentium, pentium3, pentium4, n270, max.
const std::vector<CpuModel>& CpuModels();
/// Throws UsageError that lists the names when there is none such.
const CpuModel& FindCpuModel(std::string_view name);

}  // namespace ring3
