#pragma once

#include "model/registry.h"

namespace dtrain::model {

/// BERT (Devlin et al., 2019) as transformers' BertForSequenceClassification.
Family bert_family();

/// The modules below a layer of BERT and of the families that took over its names.
LayerModules bert_layer_modules();

/// What config.json of BERT holds, and of the families that took over its keys.
void read_bert_config(const ConfigReader& reader, EncoderConfig& config);

}  // namespace dtrain::model
