// Numbers as qcow2 and SCSI store them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ring3 {

template <class T>
constexpr T LoadBig(const uint8_t* at) {
  T value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) value = static_cast<T>(value << 8 | at[i]);
  return value;
}
template <>
constexpr uint8_t LoadBig(const uint8_t* at) {
  return *at;
}

template <class T>
constexpr void StoreBig(uint8_t* at, T value) {
  for (size_t i = 0; i < sizeof(T); ++i) at[i] = static_cast<uint8_t>(value >> (8 * (sizeof(T) - 1 - i)));
}

}  // namespace ring3
