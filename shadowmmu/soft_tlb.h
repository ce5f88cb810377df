// The part of the monitor's TLB that translated code looks up by itself: pages of guest RAM and ROM in the flat view.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "shadowmmu/address.h"

namespace ring3 {

/// Direct-mapped by the low bits of the linear page number, one half for each privilege. An access at guest-linear L of
/// n bytes may go to L + to_host when bits 12 to 43 of L + negated_page + n - 1 are clear: L is in the page, and so is
/// its last byte. Sums, because they leave the flags alone.
struct SoftTlb {
  static constexpr unsigned kEntries = 256;
  static constexpr uint64_t kNoPage = 1ull << 40;

  /// By AccessType::kRead and kWrite.
  using Pages = std::array<uint64_t, kEntries>;
  struct Half {
    std::array<Pages, 2> negated_page;  // of the page's guest-linear address
    Pages to_host{};                    // host address less guest-linear address
    Half() {
      for (Pages& pages : negated_page) pages.fill(kNoPage);
    }
  };
  std::array<Half, 2> halves;  // supervisor, user

  static unsigned IndexOf(GuestLinear address) { return address.PageNumber() % kEntries; }
};

}  // namespace ring3
