// An image whose file holds the disk's bytes and nothing else.
#pragma once

#include "devices/block/image.h"
#include "devices/block/image_file.h"

namespace ring3 {

class RawImage final : public Image {
 public:
  /// With `guard_first_sector` writes that would make the file look like another format are refused: for files whose
  /// format was guessed.
  explicit RawImage(ImageFile file, bool guard_first_sector = false);

  uint64_t SizeBytes() const override { return size_; }
  bool ReadOnly() const override { return file_.ReadOnly(); }
  void Read(uint64_t offset, std::span<uint8_t> into) override;
  void Write(uint64_t offset, std::span<const uint8_t> data) override;
  void Flush() override { file_.Flush(); }

 private:
  ImageFile file_;
  uint64_t size_;  // rounded up to sectors
  bool guard_first_sector_;
};

}  // namespace ring3
