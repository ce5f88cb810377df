// Numbers that say how much a test does, and where it starts.
#pragma once

#include <cstdint>
#include <cstdlib>

namespace ring3 {

inline uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text ? std::strtoull(text, nullptr, 0) : otherwise;
}

}  // namespace ring3
