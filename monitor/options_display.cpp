#include <fmt/core.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "devices/vga/edid.h"
#include "monitor/cpu/fault.h"
#include "monitor/display/display_options.h"
#include "monitor/numbers.h"
#include "monitor/properties.h"

namespace ring3 {
namespace {

constexpr uint16_t kFirstVncPort = 5900;
constexpr double kLongestSeconds = 1e9;

/// QEMU's host:display; an empty host is every address.
void ParseVncAddress(const std::string& text, const std::string& option, VncOptions& vnc) {
  const size_t colon = text.rfind(':');
  const auto display = colon == std::string::npos ? std::nullopt : ParseDigits(text.substr(colon + 1));
  if (!display || *display > 0xFFFF - kFirstVncPort)
    throw UsageError(fmt::format("{}: say HOST:DISPLAY, like 127.0.0.1:0 (port 5900) or :1", option));
  vnc.host = text.substr(0, colon);
  vnc.port = static_cast<uint16_t>(kFirstVncPort + *display);
}

void ParseVncProperties(const std::vector<std::string>& parts, const std::string& option, VncOptions& vnc) {
  constexpr std::string_view kPasswordFile = "password-file=";
  for (size_t i = 1; i < parts.size(); ++i) {
    if (!parts[i].starts_with(kPasswordFile)) {
      throw UsageError(fmt::format("{}: ring3 has no VNC property '{}' (password-file=F)", option, parts[i]));
    }
    vnc.password_file = parts[i].substr(kPasswordFile.size());
  }
}

/// vnc, vnc:PORT or vnc=HOST:DISPLAY
void ParseDisplayVnc(const std::string& text, DisplayOptions& options) {
  const std::vector<std::string> parts = SplitAtCommas(text);
  const std::string option = "--display " + text, address = parts[0].substr(3);
  options.front_end = FrontEndKind::kVnc;
  if (address.starts_with('=')) {
    ParseVncAddress(address.substr(1), option, options.vnc);
  } else if (address.starts_with(':')) {
    const uint64_t port = ParseDigits(address.substr(1)).value_or(0);
    if (port == 0 || port > 0xFFFF) throw UsageError(fmt::format("{}: the port is 1 to 65535", option));
    options.vnc.port = static_cast<uint16_t>(port);
  } else if (!address.empty()) {
    throw UsageError(fmt::format("{}: say vnc, vnc:PORT or vnc=HOST:DISPLAY", option));
  }
  ParseVncProperties(parts, option, options.vnc);
}

void ParseDisplay(DisplayOptions& options) {
  const std::string& text = options.display;
  if (text.starts_with("vnc")) return ParseDisplayVnc(text, options);
  const std::string kind = text.substr(0, text.find(','));
  if (kind == "sdl") {
    options.front_end = FrontEndKind::kSdl;
  } else if (kind == "curses") {
    options.front_end = FrontEndKind::kCurses;
  } else if (kind != "none") {
    throw UsageError(fmt::format("--display {}: ring3 has vnc, sdl, curses and none", text));
  }
}

/// -vnc HOST:DISPLAY,...; "none" is the default.
void ParseVncSpelling(DisplayOptions& options) {
  const std::vector<std::string> parts = SplitAtCommas(options.vnc_spelling);
  if (parts[0] == "none") return;
  options.front_end = FrontEndKind::kVnc;
  ParseVncAddress(parts[0], "-vnc " + options.vnc_spelling, options.vnc);
  ParseVncProperties(parts, "-vnc " + options.vnc_spelling, options.vnc);
}

/// So that a misspelt folder is told at the start, not when the moment has passed. Leaves what is there as it is.
void CheckWritable(const std::string& file) {
  const std::filesystem::path path(file);
  std::error_code unused;
  const auto status = std::filesystem::status(path, unused);
  int error = 0;
  if (std::filesystem::is_directory(status)) {
    error = EISDIR;
  } else {
    const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : ".";
    const bool exists = std::filesystem::exists(status);
    if (access((exists ? path : folder).c_str(), W_OK) != 0) error = errno;
  }
  if (error) throw UsageError(fmt::format("cannot write a screenshot to {}: {}", file, std::strerror(error)));
}

Screenshot ParseScreenshot(const std::string& text) {
  char* end = nullptr;
  const double seconds = std::strtod(text.c_str(), &end);
  if (end == text.c_str() || *end != ':' || !end[1] || !(seconds >= 0 && seconds <= kLongestSeconds)) {
    throw UsageError(fmt::format("--screenshot-at {}: say SECONDS:FILE, like 10:screen.png", text));
  }
  CheckWritable(end + 1);
  return {seconds, end + 1};
}

}  // namespace

void AddDisplayOptions(CLI::App& app, DisplayOptions& options) {
  app.add_option("--display", options.display,
                 "who shows the screen: vnc[:PORT] or vnc=HOST:DISPLAY (,password-file=F), sdl, curses or none");
  app.add_option("--vnc", options.vnc_spelling, "HOST:DISPLAY, as --display vnc=")->group("");
  for (const char* kind : {"sdl", "curses"}) {
    app.add_flag_callback(
           std::string("--") + kind, [&options, kind] { options.display = kind; }, "as --display")
        ->group("");
  }
  app.add_option("--vga", options.vga_model, "std, or none for a machine without a display adapter");
  app.add_option("--screenshot-at", options.screenshot_texts,
                 "SECONDS:FILE: what the screen shows then, as PNG (PPM for .ppm); may be repeated")
      ->allow_extra_args(false);
}

void ParseVgaDevice(const std::string& text, DisplayOptions& options) {
  Properties properties("--device", text);
  options.vga_device = true;
  const auto number = [&](const char* key, uint16_t otherwise, uint16_t least, uint16_t most) {
    const auto value = properties.Take(key);
    if (!value) return otherwise;
    return static_cast<uint16_t>(ParseNumberOption(std::string("--device VGA,") + key, *value, least, most));
  };
  options.width = number("xres", options.width, kLeastEdidWidth, kMostEdidWidth);
  options.height = number("yres", options.height, kLeastEdidHeight, kMostEdidHeight);
  if (options.width % 8 != 0) properties.Refuse(fmt::format("xres={}: say a multiple of 8", options.width));
  options.edid = properties.TakeFlag("edid", true);
  properties.Take("id");
  properties.ExpectNothingElse("xres, yres, edid, id");
}

void ParseDisplayOptions(DisplayOptions& options) {
  if (!options.display.empty()) ParseDisplay(options);
  if (!options.vnc_spelling.empty()) ParseVncSpelling(options);
  if (!options.vga_model.empty() && options.vga_model != "std" && options.vga_model != "none") {
    throw UsageError(fmt::format("--vga {}: ring3 has std and none", options.vga_model));
  }
  options.vga = options.vga_model != "none";
  for (const std::string& text : options.screenshot_texts) options.screenshots.push_back(ParseScreenshot(text));
  if (!options.vga && (options.front_end != FrontEndKind::kNone || !options.screenshots.empty())) {
    throw UsageError("--vga none: there is no screen to show");
  }
}

}  // namespace ring3
