// The few library routines a freestanding kernel needs; GCC also calls the mem* ones by itself.
#pragma once

#include <stddef.h>
#include <stdint.h>

extern "C" {
void* memcpy(void* to, const void* from, size_t bytes);
void* memset(void* to, int value, size_t bytes);
}

namespace demo {

size_t StringLength(const char* s);
/// Whether `word` stands in `line` between spaces.
bool HasWord(const char* line, const char* word);

}  // namespace demo
