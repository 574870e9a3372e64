#pragma once

#include "peft/registry.h"

namespace dtrain::peft {

/// Trains everything.
MethodKind full_kind();
/// Trains the classifier over a frozen body: linear probing.
MethodKind head_kind();
/// Trains the top k layers and what is above them.
MethodKind layers_kind();

/// Marks as trainable everything from a stage of the classifier on.
void train_stages_from(model::Classifier& classifier, int stage);

}  // namespace dtrain::peft
