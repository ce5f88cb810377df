// The user, guest and io suites: programs and shells on Debian's kernel in a guest, and on the host.
#pragma once

#include <string>

#include "bench/images.h"
#include "bench/machines.h"
#include "bench/results.h"

namespace ring3::bench {

/// The guest files, as tests/guests/fetch_guests leaves them.
struct GuestFiles {
  std::string kernel, initramfs, drivers, busybox;
  std::string versions;  // of Debian's packages
  std::string missing;   // what is not there; empty: nothing
};
GuestFiles FindGuestFiles();

/// Why a machine cannot run these suites; empty: it can.
std::string MissingForLinux(const Machine& machine, const GuestFiles& files, const ImageFolder& images);

/// One round of a suite on one machine.
void RunLinux(const std::string& suite, const Machine& machine, unsigned round, const GuestFiles& files,
              const ImageFolder& images, const BenchOptions& options, Results& results);

}  // namespace ring3::bench
