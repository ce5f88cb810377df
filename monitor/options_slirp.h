// What the command line says of a user-mode network.
#pragma once

#include <string>

#include "monitor/net/slirp_options.h"
#include "monitor/properties.h"

namespace ring3 {

/// [tcp|udp]:[host address]:port-[guest address]:port. Throws UsageError for other text.
HostForward ParseForward(const std::string& text);
/// Takes out of `properties` what is the network's, and not its card's. Throws UsageError for values that make no
/// sense.
SlirpOptions TakeSlirp(Properties& properties);

}  // namespace ring3
