// FIPS 180-4: rotations, additions, all registers in use.
#include <math.h>
#include <string.h>

#include "programs.h"

namespace programs {
namespace {

uint32_t constants[64], start[8];

/// The first 32 bits of the fraction of a prime's root.
uint32_t Fraction(long double root) { return static_cast<uint32_t>((root - floorl(root)) * 4294967296.0L); }

void MakeConstants() {
  uint32_t count = 0;
  for (uint32_t n = 2; count < 64; ++n) {
    bool prime = true;
    for (uint32_t d = 2; d * d <= n; ++d) prime &= n % d != 0;
    if (!prime) continue;
    if (count < 8) start[count] = Fraction(sqrtl(n));
    constants[count++] = Fraction(cbrtl(n));
  }
}

uint32_t Rotate(uint32_t x, int by) { return x >> by | x << (32 - by); }

void Compress(uint32_t state[8], const uint32_t block[16]) {
  uint32_t w[64];
  memcpy(w, block, 64);
  for (int i = 16; i < 64; ++i) {
    const uint32_t a = w[i - 15], b = w[i - 2];
    w[i] = w[i - 16] + (Rotate(a, 7) ^ Rotate(a, 18) ^ a >> 3) + w[i - 7] + (Rotate(b, 17) ^ Rotate(b, 19) ^ b >> 10);
  }
  uint32_t s[8];
  memcpy(s, state, sizeof s);
  for (int i = 0; i < 64; ++i) {
    const uint32_t choice = (s[4] & s[5]) ^ (~s[4] & s[6]), majority = (s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]);
    const uint32_t t1 = s[7] + (Rotate(s[4], 6) ^ Rotate(s[4], 11) ^ Rotate(s[4], 25)) + choice + constants[i] + w[i];
    const uint32_t t2 = (Rotate(s[0], 2) ^ Rotate(s[0], 13) ^ Rotate(s[0], 22)) + majority;
    for (int j = 7; j > 0; --j) s[j] = s[j - 1];
    s[4] += t1;
    s[0] = t1 + t2;
  }
  for (int i = 0; i < 8; ++i) state[i] += s[i];
}

}  // namespace

uint32_t Sha256(uint32_t size) {
  MakeConstants();
  uint32_t state[8], block[16];
  memcpy(state, start, sizeof state);
  Random random(4);
  for (uint32_t& word : block) word = random.Next();
  for (uint32_t i = 0; i < size; ++i) {
    block[i % 16] ^= i;
    Compress(state, block);
  }
  uint32_t hash = kMixStart;
  for (uint32_t word : state) hash = Mix(hash, word);
  return hash;
}

}  // namespace programs
