// "ring3 bench": measures ring3 and compares it with QEMU, with native execution and with /dev/kvm.
#pragma once

namespace ring3::bench {

/// The subcommand's own main; argv[0] is its name. Returns the program's exit code.
int BenchMain(int argc, const char* const* argv);

}  // namespace ring3::bench
