#include "monitor/display/picture_file.h"

#include <fmt/core.h>
#include <png.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

#include "monitor/cpu/fault.h"

namespace ring3 {
namespace {

struct CloseFile {
  void operator()(FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<FILE, CloseFile>;

[[noreturn]] void Fail(const std::string& path, const char* reason) {
  throw UsageError(fmt::format("cannot write a screenshot to {}: {}", path, reason));
}

std::vector<uint8_t> RgbBytes(const Frame& frame) {
  std::vector<uint8_t> bytes;
  bytes.reserve(frame.pixels.size() * 3);
  for (const uint32_t pixel : frame.pixels) {
    bytes.insert(bytes.end(),
                 {static_cast<uint8_t>(pixel >> 16), static_cast<uint8_t>(pixel >> 8), static_cast<uint8_t>(pixel)});
  }
  return bytes;
}

}  // namespace

PictureFormat FormatOf(const std::string& path) {
  return path.ends_with(".ppm") ? PictureFormat::kPpm : PictureFormat::kPng;
}

void WritePicture(const Frame& frame, const std::string& path, PictureFormat format) {
  const File file(std::fopen(path.c_str(), "wbe"));
  if (!file) Fail(path, std::strerror(errno));
  const std::vector<uint8_t> rgb = RgbBytes(frame);
  if (format == PictureFormat::kPpm) {
    fmt::print(file.get(), "P6\n{} {}\n255\n", frame.width, frame.height);
    std::fwrite(rgb.data(), 1, rgb.size(), file.get());
  } else {
    png_image image = {};
    image.version = PNG_IMAGE_VERSION;
    image.width = static_cast<png_uint_32>(frame.width);
    image.height = static_cast<png_uint_32>(frame.height);
    image.format = PNG_FORMAT_RGB;
    image.flags = PNG_IMAGE_FLAG_FAST;
    if (!png_image_write_to_stdio(&image, file.get(), 0, rgb.data(), 0, nullptr)) Fail(path, image.message);
  }
  if (std::fflush(file.get()) != 0 || std::ferror(file.get())) Fail(path, std::strerror(errno));
}

}  // namespace ring3
