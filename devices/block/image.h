// A disk image: a fixed number of bytes that can be read and written.
#pragma once

#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>

namespace ring3 {

/// Bytes of a disk's sector; of a CD's data sector.
inline constexpr uint32_t kSectorBytes = 512;
inline constexpr uint32_t kCdSectorBytes = 2048;

/// A transfer failed. `code` is an errno value.
struct ImageError : std::runtime_error {
  ImageError(int error_code, const std::string& what) : std::runtime_error(what), code(error_code) {}
  int code;
};

/// Used by one thread at a time. A finished write survives the death of this process; after Flush() it survives the
/// host's, too.
class Image {
 public:
  virtual ~Image() = default;

  /// A multiple of 512.
  virtual uint64_t SizeBytes() const = 0;
  virtual bool ReadOnly() const = 0;
  /// The range lies inside the image. These throw ImageError.
  virtual void Read(uint64_t offset, std::span<uint8_t> into) = 0;
  virtual void Write(uint64_t offset, std::span<const uint8_t> data) = 0;
  virtual void Flush() = 0;

 protected:
  /// Throws unless [offset, offset + bytes) lies inside the image.
  void CheckRange(uint64_t offset, uint64_t bytes) const;
};

}  // namespace ring3
