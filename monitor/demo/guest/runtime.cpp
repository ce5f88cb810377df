#include "runtime.h"

extern "C" {

void* memcpy(void* to, const void* from, size_t bytes) {
  void* result = to;
  asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes)::"memory");
  return result;
}

void* memset(void* to, int value, size_t bytes) {
  void* result = to;
  asm volatile("rep stosb" : "+D"(to), "+c"(bytes) : "a"(value) : "memory");
  return result;
}

}  // extern "C"

namespace demo {

size_t StringLength(const char* s) {
  size_t length = 0;
  while (s[length] != 0) ++length;
  return length;
}

bool HasWord(const char* line, const char* word) {
  while (*line != 0) {
    while (*line == ' ') ++line;
    const char* w = word;
    while (*w != 0 && *line == *w) ++line, ++w;
    if (*w == 0 && (*line == 0 || *line == ' ')) return true;
    while (*line != 0 && *line != ' ') ++line;
  }
  return false;
}

}  // namespace demo
