#pragma once

#include "model/registry.h"

namespace dtrain::model {

/// DistilBERT (Sanh et al., 2019, arXiv:1910.01108) as transformers' DistilBertForSequenceClassification: BERT's
/// encoder without segments.
Family distilbert_family();

}  // namespace dtrain::model
