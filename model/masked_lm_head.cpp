#include "model/masked_lm_head.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <map>
#include <vector>

#include "model/encoder_config.h"
#include "model/formats/model_weights.h"
#include "model/registry.h"

namespace dtrain::model {
namespace {

// Where a family keeps it. BERT's oldest checkpoints call a norm's weight and bias gamma and beta.
struct Names {
  std::string dense;
  std::string norm;
  std::string decoder_weight;
  std::string decoder_bias;
};

const std::map<std::string, Names> kNames = {
    {"bert",
     {"cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm", "cls.predictions.decoder.weight",
      "cls.predictions.bias"}},
    {"roberta", {"lm_head.dense", "lm_head.layer_norm", "lm_head.decoder.weight", "lm_head.bias"}},
    {"distilbert", {"vocab_transform", "vocab_layer_norm", "vocab_projector.weight", "vocab_projector.bias"}}};

// The first of these names that the checkpoint has; empty: none.
std::string present(const ModelWeights& file, const std::vector<std::string>& names) {
  for (const auto& name : names) {
    if (file.contains(name)) return name;
  }
  return "";
}

}  // namespace

at::Tensor MaskedLmHead::logits(const at::Tensor& hidden) const {
  const at::NoGradGuard no_grad;
  auto transformed = at::linear(hidden, dense_weight, dense_bias);
  transformed =
      activation == "relu" ? at::relu(transformed) : at::gelu(transformed, activation == "gelu_new" ? "tanh" : "none");
  transformed = at::layer_norm(transformed, {transformed.size(1)}, norm_weight, norm_bias, epsilon);
  return at::linear(transformed, decoder_weight, decoder_bias);
}

std::optional<MaskedLmHead> load_masked_lm_head(const std::filesystem::path& directory, at::Device device,
                                                const std::shared_ptr<const ModelWeights>& weights) {
  const EncoderConfig config = read_encoder_config(directory);
  const auto found = kNames.find(config.model_type);
  if (found == kNames.end()) return std::nullopt;
  const Names& names = found->second;
  const auto opened = weights ? weights : std::make_shared<const ModelWeights>(directory);
  const ModelWeights& file = *opened;
  const std::string& words = family(config.model_type).modules.word_embeddings + ".weight";
  const std::string prefix = family(config.model_type).prefix;
  const bool is_tied = config.json.value("tie_word_embeddings", true);
  const std::string dense_weight = present(file, {names.dense + ".weight"});
  const std::string dense_bias = present(file, {names.dense + ".bias"});
  const std::string norm_weight = present(file, {names.norm + ".weight", names.norm + ".gamma"});
  const std::string norm_bias = present(file, {names.norm + ".bias", names.norm + ".beta"});
  const std::string decoder_weight =
      is_tied ? present(file, {words, words.starts_with(prefix) ? words.substr(prefix.size()) : words})
              : present(file, {names.decoder_weight});
  const std::string decoder_bias = present(file, {names.decoder_bias});
  for (const auto* name : {&dense_weight, &dense_bias, &norm_weight, &norm_bias, &decoder_weight, &decoder_bias}) {
    if (name->empty()) return std::nullopt;
  }
  const auto read = [&](const std::string& name, at::IntArrayRef shape) {
    return file.float_tensor(name, shape).to(device);
  };
  const std::int64_t hidden = config.hidden_size;
  const std::int64_t vocabulary = config.vocabulary_size;
  return MaskedLmHead{.dense_weight = read(dense_weight, {hidden, hidden}),
                      .dense_bias = read(dense_bias, {hidden}),
                      .norm_weight = read(norm_weight, {hidden}),
                      .norm_bias = read(norm_bias, {hidden}),
                      .decoder_weight = read(decoder_weight, {vocabulary, hidden}),
                      .decoder_bias = read(decoder_bias, {vocabulary}),
                      .epsilon = config.layer_norm_epsilon,
                      // RoBERTa's head has its own, whatever the layers' is.
                      .activation = config.model_type == "roberta" ? "gelu" : config.activation};
}

}  // namespace dtrain::model
