#pragma once

#include "model/registry.h"

namespace dtrain::model {

/// The modules below a layer of BERT and of the families that took over its names.
LayerModules bert_layer_modules();

/// What config.json of BERT holds, and of the families that took over its keys.
void read_bert_config(const ConfigReader& reader, EncoderConfig& config);
std::span<const FileKey> bert_config_keys();

/// Throws InputError naming both keys where the heads do not share out the hidden size.
void require_whole_heads(const ConfigReader& reader, const EncoderConfig& config, const char* width_key,
                         const char* heads_key);

}  // namespace dtrain::model
