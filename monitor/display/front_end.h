// What shows the guest's screen to a person and takes their keys. Each lives on a thread of its own and reaches the
// machine through the mailbox only.
#pragma once

#include <functional>
#include <memory>

#include "monitor/display/display_options.h"

namespace ring3 {

class Display;
class GuestInput;
class Mailbox;

class FrontEnd {
 public:
  /// Ends it.
  virtual ~FrontEnd() = default;
};

/// What a front end works with.
struct FrontEndContext {
  Display& display;
  GuestInput& input;
  Mailbox& mailbox;
  std::function<void()> quit;  // any thread: the user wants the machine to end
};

/// Null for kNone. Throws UsageError: a port in use, no window system, no terminal.
std::unique_ptr<FrontEnd> StartFrontEnd(const DisplayOptions& options, const FrontEndContext& context);
std::unique_ptr<FrontEnd> StartSdl(const FrontEndContext& context);
std::unique_ptr<FrontEnd> StartCurses(const FrontEndContext& context);
std::unique_ptr<FrontEnd> StartVnc(const VncOptions& options, const FrontEndContext& context);

}  // namespace ring3
