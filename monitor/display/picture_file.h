// Frames as files.
#pragma once

#include <string>

#include "monitor/display/frame.h"

namespace ring3 {

enum class PictureFormat : uint8_t { kPng, kPpm };

/// PPM for names that end in .ppm, else PNG.
PictureFormat FormatOf(const std::string& path);
/// Any thread. Throws UsageError that says why the file cannot be written.
void WritePicture(const Frame& frame, const std::string& path, PictureFormat format);

}  // namespace ring3
