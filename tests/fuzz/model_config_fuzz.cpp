// A model's directory: config.json, sentence-transformers' files beside it, weights in one file or as an index names
// them.

#include <ATen/ATen.h>

#include "model/encoder_config.h"
#include "model/formats/model_weights.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/fuzz/torch_archive.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dtrain;
  const auto directory = fuzz::scratch() / "model";
  fuzz::unpack(
      fuzz::text_of(data, size),
      {"config.json", "modules.json", "sentence_bert_config.json", "1_Pooling/config.json",
       "model.safetensors.index.json", "a.safetensors", "pytorch_model.bin", "pytorch_model.bin.index.json", "a.bin"},
      directory);
  fuzz::pack_torch_files(directory);
  fuzz::read_or_refuse([&] {
    const auto config = model::read_encoder_config(directory);
    fuzz::require(config.layers > 0 && config.heads > 0 && config.hidden_size % config.heads == 0, "whole heads");
    fuzz::require(config.max_tokens() > 0 && config.padding_token < config.vocabulary_size, "places for tokens");
  });
  fuzz::read_or_refuse([&] {
    const model::ModelWeights weights(directory);
    for (const auto& name : weights.names()) {
      fuzz::require(weights.contains(name), "the tensors that it names");
      fuzz::read_or_refuse([&] { weights.float_tensor(name, {2, 8}); });
    }
  });
  return 0;
}
