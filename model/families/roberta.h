#pragma once

#include "model/registry.h"

namespace dtrain::model {

/// RoBERTa (Liu et al., 2019, arXiv:1907.11692) as transformers' RobertaForSequenceClassification: BERT's encoder whose
/// positions count from the padding token's id on, with a head of two linear layers.
Family roberta_family();

}  // namespace dtrain::model
