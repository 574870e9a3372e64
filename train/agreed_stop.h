#pragma once

#include "train/run_context.h"

namespace dtrain::train {

/// Whether `end_if_stopped` of the context throws Stopped: for whoever must tell the other ranks before it ends.
bool is_stopped(const RunContext& context);

/// Collective: throws Stopped on every rank where one of them `stopped`, so that none is waited for in vain.
void end_where_one_stopped(bool stopped, const RunContext& context);

}  // namespace dtrain::train
