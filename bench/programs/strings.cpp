// The C library's string functions on short and long strings.
#include <string.h>

#include "programs.h"

namespace programs {

uint32_t Strings(uint32_t size) {
  static char text[16384], copy[16384];
  Random random(10);
  for (char& c : text) c = static_cast<char>('a' + random.Next() % 25);
  for (uint32_t i = 40; i < sizeof text; i += 40 + random.Next() % 80) text[i] = '\n';
  text[sizeof text - 1] = 0;
  uint32_t hash = kMixStart;
  for (uint32_t round = 0; round < size; ++round) {
    text[round % 39] = static_cast<char>('a' + round % 25);
    memcpy(copy, text, sizeof text);
    hash = Mix(hash, static_cast<uint32_t>(strlen(copy)));
    for (char* line = copy; char* end = strchr(line, '\n'); line = end + 1) {
      *end = 0;
      hash = Mix(hash, static_cast<uint32_t>(strlen(line)));
      const char* found = strstr(line, "qz");
      hash = Mix(hash, found ? static_cast<uint32_t>(found - line) : 0);
    }
    hash = Mix(hash, memcmp(copy, text, 40) == 0);
    hash = Mix(hash, memchr(text, 'z', sizeof text) == nullptr);
    memset(copy, static_cast<int>(round), sizeof copy / 2);
  }
  return hash;
}

}  // namespace programs
