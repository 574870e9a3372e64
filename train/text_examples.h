#pragma once

#include "data/token_dataset.h"
#include "train/examples.h"

namespace dtrain::train {

/// Tokenized texts as examples: packed one after the other, without padding, and filled up to model::kTokenMultiple.
Examples text_examples(data::TokenDataset texts);

}  // namespace dtrain::train
