// What the command line says about the screen.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace ring3 {

enum class FrontEndKind : uint8_t { kNone, kVnc, kSdl, kCurses };

struct VncOptions {
  /// Empty: every address of the host.
  std::string host = "127.0.0.1";
  uint16_t port = 5900;
  std::string password_file;  // empty: none is asked for
};

struct Screenshot {
  double seconds;
  std::string file;
};

struct DisplayOptions {
  bool vga = true;
  bool edid = true;
  uint16_t width = 1280, height = 800;  // of the mode that the monitor likes best
  FrontEndKind front_end = FrontEndKind::kNone;
  VncOptions vnc;
  std::vector<Screenshot> screenshots;

  // As written, until ParseDisplayOptions().
  std::string display, vnc_spelling, vga_model;
  bool vga_device = false;  // --device VGA
  std::vector<std::string> screenshot_texts;
};

/// --display, -vnc, --vga, --screenshot-at.
void AddDisplayOptions(CLI::App& app, DisplayOptions& options);
/// -device VGA,xres=W,yres=H,edid=on|off. Throws UsageError.
void ParseVgaDevice(const std::string& text, DisplayOptions& options);
/// Makes sense of what was written. Throws UsageError.
void ParseDisplayOptions(DisplayOptions& options);

}  // namespace ring3
