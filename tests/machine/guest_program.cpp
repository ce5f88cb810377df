#include "tests/machine/guest_program.h"

#include <fstream>

namespace ring3::test {

void WriteGuest(const std::string& path, const std::vector<uint8_t>& code) {
  constexpr uint32_t kMagic = 0x1BADB002, kHasAddresses = 1u << 16, kLoad = 0x100000, kBss = 0x10000;
  const uint32_t end = kGuestCode + static_cast<uint32_t>(code.size());
  const uint32_t header[] = {kMagic,     kHasAddresses, 0u - kMagic - kHasAddresses, kLoad, kLoad, end,
                             end + kBss, kGuestCode};
  static_assert(sizeof header == kGuestCode - kLoad);
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(header), sizeof header);
  file.write(reinterpret_cast<const char*>(code.data()), static_cast<std::streamsize>(code.size()));
}

}  // namespace ring3::test
