#pragma once

#include "dist/communicator.h"

namespace dtrain::train {

/// While ranks wait for what one of them reads or writes, which a slow disk or a cold cache may draw out: ten times as
/// long as for a collective.
inline dist::TimeoutScope wait_for_files(dist::Communicator& control) { return {control, 10 * control.timeout()}; }

}  // namespace dtrain::train
