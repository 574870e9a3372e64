#pragma once

#include "train/run_context.h"

namespace dtrain::train {

/// Of a number of each rank. Collective: the same on every rank.
double sum_over_ranks(double value, const RunContext& context);

}  // namespace dtrain::train
