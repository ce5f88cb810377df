// The host stack that translated code runs on. A guest CALL is a host CALL, so that the host predicts the guest's
// returns; what lies here are host addresses of return sites, nothing of the guest's.
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <vector>

namespace ring3 {

/// What stands behind a host call: a return comes here with EIP in r8d, and whether that is the EIP the site stands for
/// is checked without touching flags. The difference is added to the address of the code cache's last word, behind
/// which 4 GiB are reserved: any other EIP faults (Translator::ResolveReturn).
///     lea r9d, [r8 - EIP];  mov r9d, [r11 + r9 + check]
struct ReturnSite {
  static constexpr uint8_t kLea[] = {0x45, 0x8D, 0x88};  // and the displacement
  static constexpr uint64_t kReach = 1ull << 32;
  /// What a retired site's LEA is overwritten with: a jump to the lookup, and as many bytes of NOP as are left.
  static constexpr unsigned kJumpBytes = 5;
  static constexpr uint8_t kNop[] = {0x66, 0x90};

  /// The EIP that the site at this address, which may be a sentinel, stands for.
  static std::optional<uint32_t> ExpectedAt(uint64_t site) {
    struct {
      uint8_t lea[sizeof kLea];
      uint8_t negated[sizeof(uint32_t)];
    } bytes;
    std::memcpy(&bytes, reinterpret_cast<const void*>(site), sizeof bytes);
    if (std::memcmp(bytes.lea, kLea, sizeof kLea) != 0) return std::nullopt;
    uint32_t negated;
    std::memcpy(&negated, bytes.negated, sizeof negated);
    return -negated;
  }
};

/// The return sites of a block.
struct ReturnSites {
  std::vector<uint16_t> offsets;  // of those that check
  uint16_t lookup = 0;            // of code that goes where r8d says
  uint16_t mismatches = 0;
};

/// A guest that switches stacks, or leaves frames by longjmp, returns to other sites than its calls pushed. So each
/// site checks EIP, and what lies here is a prediction: it may be forgotten at any time. It must be when sites may have
/// lost their meaning, because code was evicted, mappings changed or the mode did. Below the first return address lies
/// the sentinel, a site that looks up where to go and puts itself back. Guest calls that never return run into the
/// guard at the other end; then all is forgotten.
class ReturnStack {
 public:
  explicit ReturnStack(uint64_t sentinel);
  ~ReturnStack();
  ReturnStack(const ReturnStack&) = delete;

  /// The stack pointer of the empty stack: at the sentinel.
  uint64_t Empty() const { return memory_ + kGuardBytes + kBytes - kSentinelBytes; }
  /// Whether a push to this address found the stack full.
  bool IsFull(uint64_t address) const { return address - memory_ < kGuardBytes; }

 private:
  static constexpr uint64_t kBytes = 256 * 1024, kGuardBytes = 64 * 1024;
  static constexpr uint64_t kSentinelBytes = 16;  // what is called from an empty stack finds it aligned
  uint64_t memory_ = 0;
};

}  // namespace ring3
