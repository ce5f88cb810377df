#include "devices/block/image.h"

#include <cerrno>

namespace ring3 {

void Image::CheckRange(uint64_t offset, uint64_t bytes) const {
  if (bytes <= SizeBytes() && offset <= SizeBytes() - bytes) return;
  throw ImageError(EIO, "access beyond the end of the image");
}

}  // namespace ring3
