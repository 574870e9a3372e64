#pragma once

#include <memory>

#include "model/encoder.h"
#include "model/encoder_config.h"

namespace dtrain::model {

/// BERT (Devlin et al., 2019) as transformers' BertModel without its pooler.
std::unique_ptr<Encoder> make_bert(const EncoderConfig& config);

}  // namespace dtrain::model
