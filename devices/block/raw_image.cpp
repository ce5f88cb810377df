#include "devices/block/raw_image.h"

#include <fmt/core.h>

#include <cerrno>

#include "devices/block/image_format.h"

namespace ring3 {

RawImage::RawImage(ImageFile file, bool guard_first_sector)
    : file_(std::move(file)),
      size_((file_.KnownBytes() + kSectorBytes - 1) / kSectorBytes * kSectorBytes),
      guard_first_sector_(guard_first_sector) {}

void RawImage::Read(uint64_t offset, std::span<uint8_t> into) {
  CheckRange(offset, into.size());
  file_.Read(offset, into);
}

void RawImage::Write(uint64_t offset, std::span<const uint8_t> data) {
  CheckRange(offset, data.size());
  if (guard_first_sector_ && offset == 0 && GuessFormat(data) != ImageFormat::kRaw) {
    throw ImageError(EPERM, fmt::format("{}: the guest would make its first sector look like another image format; "
                                        "-drive format=raw allows it",
                                        file_.Path()));
  }
  file_.Write(offset, data);
}

}  // namespace ring3
