// A compressor of the LZ77 kind with a hash of three bytes, on text made up of words.
#include <string.h>

#include "programs.h"

namespace programs {
namespace {

constexpr uint32_t kBytes = 1u << 18, kWindow = 1u << 15, kHashes = 1u << 14, kLongest = 255, kShortest = 4;
uint8_t text[kBytes + kLongest], out[2 * kBytes];

void MakeText() {
  Random random(6);
  uint8_t words[256][8];
  for (auto& word : words) {
    for (uint8_t& letter : word) letter = static_cast<uint8_t>('a' + random.Next() % 26);
  }
  for (uint32_t at = 0; at < kBytes;) {
    const uint32_t which = random.Next() % 256 & random.Next() % 256, length = 2 + which % 6;
    for (uint32_t i = 0; i < length && at < kBytes; ++i) text[at++] = words[which][i];
    if (at < kBytes) text[at++] = ' ';
  }
}

uint32_t MatchLength(const uint8_t* a, const uint8_t* b, uint32_t most) {
  uint32_t length = 0;
  while (length < most && a[length] == b[length]) ++length;
  return length;
}

/// Returns the compressed size.
uint32_t CompressText() {
  static uint32_t last[kHashes];
  memset(last, 0, sizeof last);
  uint32_t written = 0;
  for (uint32_t at = 0; at < kBytes;) {
    const uint32_t key = (text[at] | text[at + 1] << 8 | text[at + 2] << 16) * 506832829u >> 18;
    const uint32_t before = last[key];
    last[key] = at + 1;
    const uint32_t most = kBytes - at < kLongest ? kBytes - at : kLongest;
    uint32_t length = 0;
    if (before != 0 && at + 1 - before <= kWindow) length = MatchLength(text + before - 1, text + at, most);
    if (length >= kShortest) {
      const uint32_t distance = at + 1 - before;
      out[written++] = 0xFF;
      out[written++] = static_cast<uint8_t>(length);
      out[written++] = static_cast<uint8_t>(distance);
      out[written++] = static_cast<uint8_t>(distance >> 8);
      at += length;
    } else {
      out[written++] = text[at++];
    }
  }
  return written;
}

}  // namespace

uint32_t LzCompress(uint32_t size) {
  MakeText();
  uint32_t hash = kMixStart;
  for (uint32_t i = 0; i < size; ++i) hash = Mix(hash, CompressText());
  for (uint32_t i = 0; i < kBytes / 8; ++i) hash = Mix(hash, out[i]);
  return hash;
}

}  // namespace programs
