// Little-endian fields of files and of guest memory, read and written at byte offsets.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

namespace ring3 {

using Bytes = std::vector<uint8_t>;

/// The field of type T at `offset`; the caller has checked that it lies inside.
template <class T>
T LoadField(std::span<const uint8_t> bytes, size_t offset) {
  static_assert(std::is_integral_v<T>);
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

/// Stores `value` at `offset`; the caller has checked that it lies inside.
template <class T>
void StoreField(std::span<uint8_t> bytes, size_t offset, std::type_identity_t<T> value) {
  static_assert(std::is_integral_v<T>);
  std::memcpy(bytes.data() + offset, &value, sizeof value);
}

template <class T>
void AppendField(Bytes& bytes, std::type_identity_t<T> value) {
  static_assert(std::is_integral_v<T>);
  bytes.resize(bytes.size() + sizeof(T));
  StoreField<T>(bytes, bytes.size() - sizeof(T), value);
}

inline void AppendBytes(Bytes& bytes, std::span<const uint8_t> more) {
  bytes.insert(bytes.end(), more.begin(), more.end());
}

/// Appends the characters and a terminating zero.
inline void AppendCString(Bytes& bytes, std::string_view text) {
  bytes.insert(bytes.end(), text.begin(), text.end());
  bytes.push_back(0);
}

constexpr uint64_t AlignUp(uint64_t value, uint64_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}
constexpr uint64_t AlignDown(uint64_t value, uint64_t alignment) { return value / alignment * alignment; }

}  // namespace ring3
