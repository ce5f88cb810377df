// A table lookup for each byte.
#include "programs.h"

namespace programs {

uint32_t Crc32(uint32_t size) {
  static uint32_t table[256];
  static uint8_t data[65536];
  constexpr uint32_t kPolynomial = 0xEDB88320;
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = value & 1 ? value >> 1 ^ kPolynomial : value >> 1;
    table[i] = value;
  }
  Random random(5);
  for (uint8_t& byte : data) byte = static_cast<uint8_t>(random.Next());
  uint32_t crc = ~0u;
  for (uint32_t i = 0; i < size; ++i) {
    for (uint8_t byte : data) crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8;
  }
  return ~crc;
}

}  // namespace programs
