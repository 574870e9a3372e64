#pragma once

#include "train/objective.h"

namespace dtrain::train {

/// Numbers: mean squared error, its mean over examples and outputs. The score of an example is 1 minus its
/// squared error over the variance of the targets that are scored with it, so that the mean of the scores is R².
/// Metrics of several outputs are means over them.
const Objective& regression_objective();

}  // namespace dtrain::train
