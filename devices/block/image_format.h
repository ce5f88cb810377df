// Which format an image file has.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace ring3 {

enum class ImageFormat : uint8_t { kProbe, kRaw, kQcow2, kUnsupported };

/// By the magic number at its beginning; kUnsupported for formats of other programs that we can tell but not read.
ImageFormat GuessFormat(std::span<const uint8_t> beginning);
/// "raw", "qcow2"; empty: kProbe. Throws UsageError for others.
ImageFormat ParseFormat(const std::string& name);

}  // namespace ring3
