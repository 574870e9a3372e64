#pragma once

#include "peft/method_kind.h"

namespace dtrain::peft {

/// Marks as trainable everything from a stage of the classifier on.
void train_stages_from(model::Classifier& classifier, int stage);

}  // namespace dtrain::peft
