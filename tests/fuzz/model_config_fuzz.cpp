// What describes a model: config.json, sentence-transformers' files beside it, the index of weights in several files.

#include "model/encoder_config.h"
#include "model/formats/model_weights.h"
#include "tests/fuzz/fuzz_target.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dtrain;
  const auto directory = fuzz::scratch() / "model";
  fuzz::unpack(fuzz::text_of(data, size),
               {"config.json", "modules.json", "sentence_bert_config.json", "1_Pooling/config.json",
                "model.safetensors.index.json", "a.safetensors"},
               directory);
  fuzz::read_or_refuse([&] {
    const auto config = model::read_encoder_config(directory);
    fuzz::require(config.layers > 0 && config.heads > 0 && config.hidden_size % config.heads == 0, "whole heads");
    fuzz::require(config.max_tokens() > 0 && config.padding_token < config.vocabulary_size, "places for tokens");
  });
  fuzz::read_or_refuse([&] { model::ModelWeights weights(directory); });
  return 0;
}
