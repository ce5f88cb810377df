// QMP commands that press keys and move the pointer.
#pragma once

#include "monitor/qmp/commands.h"

namespace ring3::qmp {

Json SendKeys(const CommandContext& context, const Json& arguments);
/// All events are checked before any is sent.
Json SendInput(const CommandContext& context, const Json& arguments);
/// Text of a US keyboard, as `ring3 type` sends it.
Json TypeText(const CommandContext& context, const Json& arguments);

}  // namespace ring3::qmp
