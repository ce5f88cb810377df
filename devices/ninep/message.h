// Fields of 9P messages: little-endian numbers, strings with a length of two bytes.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace ring3::ninep {

/// Takes fields from the front. Behind the end everything is zero, and Good() is false.
class Reader {
 public:
  explicit Reader(std::span<const uint8_t> bytes) : bytes_(bytes) {}

  template <class T>
  T Take() {
    static_assert(std::is_integral_v<T>);
    T value{};
    const auto taken = Bytes(sizeof value);
    if (good_) std::memcpy(&value, taken.data(), sizeof value);
    return value;
  }
  std::string String() {
    const auto taken = Bytes(Take<uint16_t>());
    return {reinterpret_cast<const char*>(taken.data()), taken.size()};
  }
  /// Empty when there are fewer.
  std::span<const uint8_t> Bytes(size_t count) {
    good_ = good_ && count <= bytes_.size();
    if (!good_) return {};
    const auto taken = bytes_.first(count);
    bytes_ = bytes_.subspan(count);
    return taken;
  }
  bool Good() const { return good_; }

 private:
  std::span<const uint8_t> bytes_;
  bool good_ = true;
};

class Writer {
 public:
  template <class T>
  void Put(std::type_identity_t<T> value) {
    static_assert(std::is_integral_v<T>);
    std::memcpy(Append(sizeof value).data(), &value, sizeof value);
  }
  void String(std::string_view text) {
    Put<uint16_t>(static_cast<uint16_t>(text.size()));
    if (!text.empty()) std::memcpy(Append(text.size()).data(), text.data(), text.size());
  }
  template <class T>
  void Patch(size_t offset, std::type_identity_t<T> value) {
    std::memcpy(bytes_.data() + offset, &value, sizeof value);
  }
  /// Room for `count` more bytes; valid until the next call.
  std::span<uint8_t> Append(size_t count) {
    bytes_.resize(bytes_.size() + count);
    return std::span(bytes_).last(count);
  }
  void Shrink(size_t size) { bytes_.resize(size); }
  size_t Size() const { return bytes_.size(); }
  std::vector<uint8_t> Finish() { return std::move(bytes_); }

 private:
  std::vector<uint8_t> bytes_;
};

}  // namespace ring3::ninep
