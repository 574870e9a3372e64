#pragma once

#include "train/objective.h"

namespace dtrain::train {

/// One class of several: softmax and cross-entropy. Class weights as torch's CrossEntropyLoss takes them (a batch's
/// mean is over the sum of its weights), balanced ones as scikit-learn computes them: n / (classes * count), over the
/// classes that occur. Label smoothing as transformers' LabelSmoother.
const Objective& single_label_objective();

}  // namespace dtrain::train
