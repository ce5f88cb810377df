// The sub-commands that talk to a machine that runs already, through its control socket.
#pragma once

#include <string_view>

namespace ring3 {

/// Whether `command` is one of them: status, stop, cont, reset, powerdown, quit, type,
/// screenshot, text.
bool IsClientCommand(std::string_view command);
/// argv[0] is the command. Returns the program's exit code: 0, or 1 where the machine refused. Throws UsageError.
int ClientMain(int argc, char** argv);

}  // namespace ring3
