#pragma once

#include "data/token_dataset.h"
#include "train/examples.h"

namespace dtrain::launcher {

/// Tokenized texts as the examples that training and studies know.
train::Examples text_examples(data::TokenDataset texts);

}  // namespace dtrain::launcher
