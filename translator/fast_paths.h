// The optional mechanisms, each with a switch (--without, --with). A guest cannot tell whether one is on: the tests run with
// each of them off.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace ring3 {

enum class FastPath : uint8_t {
#define RING3_FAST_PATH(identifier, name, description) identifier,
#include "translator/fast_paths.def"
#undef RING3_FAST_PATH
  kCount,
};

/// Which of them are on; all, unless taken away.
class FastPaths {
 public:
  static constexpr unsigned kCount = static_cast<unsigned>(FastPath::kCount);

  static constexpr FastPaths None() { return FastPaths(0); }
  /// What a user gets who asks for nothing: without those that measurement does not show to gain.
  static constexpr FastPaths Usual();
  constexpr FastPaths() = default;
  constexpr bool Has(FastPath path) const { return bits_ & Bit(path); }
  constexpr FastPaths With(FastPath path) const { return FastPaths(bits_ | Bit(path)); }
  constexpr FastPaths Without(FastPath path) const { return FastPaths(bits_ & ~Bit(path)); }
  constexpr bool operator==(const FastPaths&) const = default;

 private:
  static constexpr uint64_t Bit(FastPath path) { return 1ull << static_cast<unsigned>(path); }
  static_assert(kCount < 64);
  constexpr explicit FastPaths(uint64_t bits) : bits_(bits) {}

  uint64_t bits_ = (1ull << kCount) - 1;
};

constexpr FastPaths FastPaths::Usual() { return FastPaths().Without(FastPath::kPairedReturns); }

struct FastPathRow {
  FastPath path;
  std::string_view name, description;
};

/// In the order of the enumeration.
inline constexpr FastPathRow kFastPathRows[] = {
#define RING3_FAST_PATH(identifier, name, description) {FastPath::identifier, name, description},
#include "translator/fast_paths.def"
#undef RING3_FAST_PATH
};

constexpr std::optional<FastPath> FindFastPath(std::string_view name) {
  for (const FastPathRow& row : kFastPathRows) {
    if (row.name == name) return row.path;
  }
  return std::nullopt;
}

}  // namespace ring3
