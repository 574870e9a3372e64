#include "base/error.h"
#include "launcher/commands.h"

namespace dtrain::launcher {

void run_compare(const Options&, const Session&) { throw UsageError("compare: not here yet"); }

}  // namespace dtrain::launcher
