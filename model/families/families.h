#pragma once

#include "model/registry.h"

/// The model families, one file each. model/registry.cpp lists them.
namespace dtrain::model {

/// BERT (Devlin et al., 2019) as transformers' BertForSequenceClassification.
Family bert_family();

/// RoBERTa (Liu et al., 2019, arXiv:1907.11692) as transformers' RobertaForSequenceClassification: BERT's encoder whose
/// positions count from the padding token's id on, with a head of two linear layers.
Family roberta_family();

/// DistilBERT (Sanh et al., 2019, arXiv:1910.01108) as transformers' DistilBertForSequenceClassification: BERT's
/// encoder without segments.
Family distilbert_family();

}  // namespace dtrain::model
