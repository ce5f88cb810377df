#include "monitor/display/screen.h"

#include <fmt/core.h>

#include "devices/vga/edid.h"
#include "monitor/cpu/fault.h"
#include "monitor/display/picture_file.h"
#include "monitor/display/vga_bios.h"

namespace ring3 {
namespace {

/// Where QEMU's firmware puts the video memory.
constexpr uint32_t kVideoMemoryAddress = 0xFD00'0000;

}  // namespace

Screen::Screen(const DisplayOptions& options, Clock& clock, PhysicalMemory& physical, Board& board, Mailbox& mailbox,
               Events events)
    : options_(options),
      clock_(clock),
      board_(board),
      mailbox_(mailbox),
      events_(std::move(events)),
      card_(clock, board.Timers(), physical, board.Ports(), ReadVgaBios()),
      display_(clock, board.Timers(), card_.Chip()),
      input_(mailbox, clock, board.Timers(), board.Keyboard(), board.VmPointer()) {
  if (options_.edid) card_.SetEdid(MakeEdid(options_.width, options_.height));
  board.Pci().Add(layout::kVgaSlot, 0, card_);
}

Screen::~Screen() = default;

void Screen::StartWithoutBios() {
  const std::vector<uint8_t> bios = ReadVgaBios();
  card_.Chip().EnterTextMode(FindFont(bios));
  card_.EnableWithoutBios(kVideoMemoryAddress);
}

void Screen::Start() {
  for (const Screenshot& screenshot : options_.screenshots) {
    Timer& timer = screenshot_timers_.emplace_back(board_.Timers(), [&](uint64_t) { TakeScreenshot(screenshot); });
    timer.Schedule(clock_.NowNs() + static_cast<uint64_t>(screenshot.seconds * 1e9));
  }
  front_end_ = StartFrontEnd(options_, {display_, input_, mailbox_, [this] { mailbox_.Post(events_.quit); }});
}

void Screen::Stop() { front_end_.reset(); }

void Screen::Save(const std::string& file, const std::string& format) {
  try {
    WritePicture(display_.Capture(), file, format == "png" ? PictureFormat::kPng : PictureFormat::kPpm);
  } catch (const UsageError& error) {
    throw ControlError(error.what());
  }
}

std::string Screen::Text() {
  std::string text = display_.Text();
  if (text.empty()) throw ControlError("the screen shows graphics, not text");
  return text;
}

void Screen::TakeScreenshot(const Screenshot& screenshot) {
  try {
    WritePicture(display_.Capture(), screenshot.file, FormatOf(screenshot.file));
  } catch (const UsageError& error) {
    fmt::print(stderr, "ring3: {}\n", error.what());
  }
}

}  // namespace ring3
