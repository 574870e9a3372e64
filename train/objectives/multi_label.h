#pragma once

#include "train/objective.h"

namespace dtrain::train {

/// Any number of labels: a sigmoid each and binary cross-entropy, its mean over examples and labels. A label is
/// predicted where its probability is above one half. Class weights are BCEWithLogitsLoss' pos_weight, of a label's
/// positive examples against its negative ones; balanced ones are negatives / positives, 1 for a label that has only
/// one kind.
///
/// The score of an example is its F1, 1 where there is nothing to find and nothing was found: whether the whole set is
/// right says too little of an example with many labels.
const Objective& multi_label_objective();

}  // namespace dtrain::train
