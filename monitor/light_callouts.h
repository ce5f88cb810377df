// Callouts that leave the guest's x87 and SSE state in the host's registers.
#pragma once

#include "translator/callouts.h"

namespace ring3 {

CalloutFunction LightCallout(Callout callout);

}  // namespace ring3
