// The machine's display adapter, the picture it makes, and the front ends that show it.
#pragma once

#include <deque>
#include <functional>
#include <memory>

#include "devices/board.h"
#include "devices/mailbox.h"
#include "devices/vga/video_card.h"
#include "monitor/control/front_ends.h"
#include "monitor/display/display.h"
#include "monitor/display/display_options.h"
#include "monitor/display/front_end.h"
#include "monitor/display/guest_input.h"

namespace ring3 {

class Screen final : public ScreenControl {
 public:
  static constexpr uint64_t kBackedBytes = VideoCard::kBackedBytes;

  /// What the front ends ask of the machine, on the vCPU thread.
  struct Events {
    std::function<void()> quit;  // the user closed the window
  };

  Screen(const DisplayOptions& options, Clock& clock, PhysicalMemory& physical, Board& board, Mailbox& mailbox,
         Events events);
  ~Screen() override;

  VideoCard& Card() { return card_; }
  Display& Picture() { return display_; }
  GuestInput& Input() { return input_; }

  /// The state in which a BIOS hands the adapter to an operating system: text mode, memory mapped.
  void StartWithoutBios();
  /// The machine is about to run: opens windows and ports, and the screenshots' time begins. Throws UsageError.
  void Start();
  /// The machine does not run any more: front ends end, terminals are restored.
  void Stop();

  void Save(const std::string& file, const std::string& format) override;
  std::string Text() override;

 private:
  void TakeScreenshot(const Screenshot& screenshot);

  const DisplayOptions options_;
  Clock& clock_;
  Board& board_;
  Mailbox& mailbox_;
  const Events events_;
  VideoCard card_;
  Display display_;
  GuestInput input_;
  std::deque<Timer> screenshot_timers_;
  std::unique_ptr<FrontEnd> front_end_;
};

}  // namespace ring3
