// A host file that holds an image: opened, locked, and accessed in whole pieces.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace ring3 {

class ImageFile {
 public:
  /// Takes the locks that QEMU takes on image files, so that a writer has the file for itself, here and there. Throws
  /// UsageError.
  ImageFile(const std::string& path, bool read_only);
  /// An unlinked file in $TMPDIR, /var/tmp or /tmp. Throws UsageError.
  static ImageFile Temporary();
  ~ImageFile();
  ImageFile(ImageFile&& other) noexcept;
  ImageFile(const ImageFile&) = delete;
  ImageFile& operator=(const ImageFile&) = delete;

  const std::string& Path() const { return path_; }
  bool ReadOnly() const { return read_only_; }
  /// The present size; for block devices, theirs. Throws ImageError.
  uint64_t SizeBytes() const;
  /// What the file held when it was opened, or holds by our writes since.
  uint64_t KnownBytes() const { return known_bytes_; }
  /// How many bytes the file had for us; fewer than asked for only at its end. Throws ImageError.
  size_t ReadSome(uint64_t offset, std::span<uint8_t> into) const;
  /// Zeros beyond KnownBytes(). Throws ImageError, also where the file has become shorter than that.
  void Read(uint64_t offset, std::span<uint8_t> into) const;
  /// Throws ImageError; a file that has become shorter is not written, because what it lost would read as zeros.
  void Write(uint64_t offset, std::span<const uint8_t> data);
  /// fdatasync.
  void Flush() const;

 private:
  ImageFile(int fd, std::string path) : path_(std::move(path)), fd_(fd), read_only_(false) {}
  void Lock() const;

  std::string path_;
  int fd_ = -1;
  bool read_only_;
  uint64_t known_bytes_ = 0;
};

}  // namespace ring3
