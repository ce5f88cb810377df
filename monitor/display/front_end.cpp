#include "monitor/display/front_end.h"

namespace ring3 {

std::unique_ptr<FrontEnd> StartFrontEnd(const DisplayOptions& options, const FrontEndContext& context) {
  switch (options.front_end) {
    case FrontEndKind::kVnc:
      return StartVnc(options.vnc, context);
    case FrontEndKind::kSdl:
      return StartSdl(context);
    case FrontEndKind::kCurses:
      return StartCurses(context);
    default:
      return nullptr;
  }
}

}  // namespace ring3
