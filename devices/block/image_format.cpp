#include "devices/block/image_format.h"

#include <fmt/core.h>

#include <algorithm>
#include <string_view>

#include "monitor/cpu/fault.h"

namespace ring3 {
namespace {

struct Magic {
  std::string_view text;
  size_t offset;
  ImageFormat format;
};

constexpr Magic kMagics[] = {
    {"QFI\xFB", 0, ImageFormat::kQcow2},
    {"KDMV", 0, ImageFormat::kUnsupported},                   // VMDK, sparse
    {"# Disk DescriptorFile", 0, ImageFormat::kUnsupported},  // VMDK, descriptor
    {"vhdxfile", 0, ImageFormat::kUnsupported},
    {"conectix", 0, ImageFormat::kUnsupported},           // VHDX, VHD
    {"\x7F\x10\xDA\xBE", 64, ImageFormat::kUnsupported},  // VDI
    {std::string_view("QED\0", 4), 0, ImageFormat::kUnsupported},
};

}  // namespace

ImageFormat GuessFormat(std::span<const uint8_t> beginning) {
  for (const Magic& magic : kMagics) {
    if (beginning.size() < magic.offset + magic.text.size()) continue;
    const auto at = beginning.begin() + static_cast<ptrdiff_t>(magic.offset);
    if (std::equal(magic.text.begin(), magic.text.end(), at, [](char a, uint8_t b) { return uint8_t(a) == b; })) {
      return magic.format;
    }
  }
  return ImageFormat::kRaw;
}

ImageFormat ParseFormat(const std::string& name) {
  if (name.empty()) return ImageFormat::kProbe;
  if (name == "raw") return ImageFormat::kRaw;
  if (name == "qcow2") return ImageFormat::kQcow2;
  throw UsageError(fmt::format("format={}: ring3 has raw and qcow2 (qemu-img convert makes one from others)", name));
}

}  // namespace ring3
