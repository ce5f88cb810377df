// From a file's name to an image that can be used.
#pragma once

#include <memory>
#include <string>

#include "devices/block/image.h"
#include "devices/block/image_format.h"

namespace ring3 {

struct ImageSource {
  std::string file;
  ImageFormat format = ImageFormat::kProbe;
  bool read_only = false;
  bool snapshot = false;  // writes go to a temporary file and are thrown away
};

/// Opens the file and its backing files. Warns on standard error where a writable file's format is guessed as raw.
/// Throws UsageError.
std::unique_ptr<Image> OpenImage(const ImageSource& source);

/// What OpenImage() would take the file for; kRaw where it cannot tell.
ImageFormat FormatOfImage(const ImageSource& source);

/// As OpenImage() for a backing file, `depth` files below the one that was asked for.
std::unique_ptr<Image> OpenBackingImage(const ImageSource& source, unsigned depth);

}  // namespace ring3
