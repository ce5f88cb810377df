// What CPUID and the identification MSRs say: one table row per --cpu model.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "monitor/cpu/xstate.h"

namespace ring3 {

struct CpuidResult {
  uint32_t eax, ebx, ecx, edx;
  bool operator==(const CpuidResult&) const = default;
};

/// What CPUID reports of the state that software has enabled (CR4.OSXSAVE and XCR0).
struct CpuidContext {
  bool osxsave = false;
  uint32_t xcr0 = xstate::kX87;
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
  uint32_t features7_ebx = 0;                 // CPUID.7.0
  uint32_t extended_ecx = 0;                  // CPUID.80000001h:ECX
  uint32_t xsave_features = 0;                // CPUID.0Dh.1:EAX

  bool Has(uint32_t feature_edx_bit) const { return features_edx & feature_edx_bit; }
  bool Nx() const { return extended_edx & (1u << 20); }
  /// XCR0 bits that may be set; 0 where there is no XCR0.
  uint32_t Xcr0Supported() const;
  unsigned Family() const;
  /// The x87 opcode register follows unmasked exceptions only (SDM 1 8.1.9.1).
  bool FopOnExceptionsOnly() const;
  CpuidResult Cpuid(uint32_t leaf, uint32_t subleaf, const CpuidContext& context = {}) const;
};

namespace cpuid_edx {
inline constexpr uint32_t kFpu = 1u << 0, kVme = 1u << 1, kDe = 1u << 2, kPse = 1u << 3, kTsc = 1u << 4, kMsr = 1u << 5,
                          kPae = 1u << 6, kMce = 1u << 7, kCx8 = 1u << 8, kApic = 1u << 9, kSep = 1u << 11,
                          kMtrr = 1u << 12, kPge = 1u << 13, kMca = 1u << 14, kCmov = 1u << 15, kPat = 1u << 16,
                          kPse36 = 1u << 17, kClflush = 1u << 19, kMmx = 1u << 23, kFxsr = 1u << 24, kSse = 1u << 25,
                          kSse2 = 1u << 26;
}
namespace cpuid_ecx {
inline constexpr uint32_t kSse3 = 1u << 0, kPclmulqdq = 1u << 1, kSsse3 = 1u << 9, kFma = 1u << 12, kSse41 = 1u << 19,
                          kSse42 = 1u << 20, kMovbe = 1u << 22, kPopcnt = 1u << 23, kAes = 1u << 25, kXsave = 1u << 26,
                          kOsxsave = 1u << 27, kAvx = 1u << 28, kF16c = 1u << 29, kRdrand = 1u << 30,
                          kHypervisor = 1u << 31;
}
namespace cpuid7_ebx {
inline constexpr uint32_t kBmi1 = 1u << 3, kAvx2 = 1u << 5, kBmi2 = 1u << 8, kRdseed = 1u << 18, kAdx = 1u << 19,
                          kSha = 1u << 29;
}
namespace cpuid_extended_ecx {
inline constexpr uint32_t kLzcnt = 1u << 5;
}
namespace cpuid_xsave {
inline constexpr uint32_t kXsaveopt = 1u << 0, kXsavec = 1u << 1, kXgetbv1 = 1u << 2;
}

/// All models, the default first. 486, pentium, pentium3, pentium4, n270, max.
const std::vector<CpuModel>& CpuModels();
/// Throws UsageError that lists the names when there is none such.
const CpuModel& FindCpuModel(std::string_view name);

}  // namespace ring3
