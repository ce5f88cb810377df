#include "devices/block/open_image.h"

#include <fmt/core.h>

#include <array>
#include <fstream>

#include "devices/block/image_file.h"
#include "devices/block/qcow2_image.h"
#include "devices/block/raw_image.h"
#include "devices/block/snapshot_image.h"
#include "monitor/cpu/fault.h"

namespace ring3 {
namespace {

constexpr unsigned kLongestBackingChain = 100;

ImageFormat Probe(const ImageFile& file) {
  std::array<uint8_t, kSectorBytes> beginning{};
  const size_t got = file.ReadSome(0, beginning);
  const ImageFormat format = GuessFormat(std::span(beginning).first(got));
  if (format != ImageFormat::kUnsupported) return format;
  throw UsageError(
      fmt::format("image {} is neither raw nor qcow2: convert it with qemu-img convert -O qcow2 "
                  "(or say format=raw to use its bytes as they are)",
                  file.Path()));
}

std::unique_ptr<Image> Open(const ImageSource& source, unsigned depth) {
  if (depth > kLongestBackingChain)
    throw UsageError(fmt::format("image {}: too many backing files (do they form a ring?)", source.file));
  ImageFile file(source.file, source.read_only || source.snapshot);
  if (file.KnownBytes() == 0) throw UsageError(fmt::format("image {} is empty", source.file));
  ImageFormat format = source.format;
  const bool guessed = format == ImageFormat::kProbe;
  if (guessed) format = Probe(file);
  if (format == ImageFormat::kQcow2) return std::make_unique<Qcow2Image>(std::move(file), depth);
  const bool guard = guessed && !file.ReadOnly();
  if (guard) {
    fmt::print(stderr,
               "ring3: warning: the format of {} was guessed as raw; writes that make its first sector look like "
               "another format are refused. format=raw (with -drive) removes the restriction.\n",
               source.file);
  }
  return std::make_unique<RawImage>(std::move(file), guard);
}

std::unique_ptr<Image> OpenAt(const ImageSource& source, unsigned depth) try {
  std::unique_ptr<Image> image = Open(source, depth);
  if (image->SizeBytes() == 0) throw UsageError(fmt::format("image {} is empty", source.file));
  if (source.snapshot && !source.read_only) return std::make_unique<SnapshotImage>(std::move(image));
  return image;
} catch (const ImageError& error) {
  throw UsageError(error.what());
}

}  // namespace

std::unique_ptr<Image> OpenImage(const ImageSource& source) { return OpenAt(source, 0); }

ImageFormat FormatOfImage(const ImageSource& source) {
  if (source.format != ImageFormat::kProbe) return source.format;
  std::array<uint8_t, kSectorBytes> beginning{};
  std::ifstream file(source.file, std::ios::binary);
  file.read(reinterpret_cast<char*>(beginning.data()), beginning.size());
  return GuessFormat(beginning) == ImageFormat::kQcow2 ? ImageFormat::kQcow2 : ImageFormat::kRaw;
}

std::unique_ptr<Image> OpenBackingImage(const ImageSource& source, unsigned depth) { return Open(source, depth); }

}  // namespace ring3
