#include "peft/parts/prompt_learning.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cmath>

#include "base/error.h"
#include "model/linear.h"
#include "peft/parts/modules_to_save.h"

namespace dtrain::peft {
namespace {

constexpr const char* kPromptInFile = "prompt_embeddings";

}  // namespace

void check_virtual_tokens(const model::Classifier& classifier, std::int64_t virtual_tokens, const std::string& method) {
  const std::int64_t positions = classifier.config().max_tokens();
  if (virtual_tokens < positions) return;
  throw UsageError(
      fmt::format("method '{}': num_virtual_tokens is {}, but the model has only {} positions, for these "
                  "and for the tokens of an example",
                  method, virtual_tokens, positions));
}

PromptLinear::PromptLinear(const std::string& name, std::int64_t out, std::int64_t in, const at::TensorOptions& options,
                           at::Generator& generator)
    : weight(name + ".weight", draw_within({out, in}, 1 / std::sqrt(static_cast<double>(in)), options, generator)),
      bias(name + ".bias", draw_within({out}, 1 / std::sqrt(static_cast<double>(in)), options, generator)) {
  weight.set_trainable(true);
  bias.set_trainable(true);
}

at::Tensor PromptLinear::forward(const at::Tensor& input, model::ForwardContext& context) {
  model::ForwardContext in_full_precision;
  auto output = model::linear(input, weight, &bias, in_full_precision);
  context.count(in_full_precision.flop());
  return output;
}

at::Tensor draw_embedding(std::int64_t tokens, std::int64_t size, const at::TensorOptions& options,
                          at::Generator& generator) {
  return at::empty({tokens, size}).normal_(0, 1, generator).to(options);
}

at::Tensor draw_within(at::IntArrayRef shape, double bound, const at::TensorOptions& options,
                       at::Generator& generator) {
  return at::empty(shape).uniform_(-bound, bound, generator).to(options);
}

NamedParameters prompt_file_parameters(model::Classifier& classifier) {
  NamedParameters named;
  for (const auto& [name, parameter] : trained_parameters(classifier)) {
    if (name == kPromptEmbedding) {
      named.emplace_back(kPromptInFile, parameter);
    } else if (!name.starts_with("prompt_encoder.")) {
      named.emplace_back("base_model." + name, parameter);
    }
  }
  return named;
}

NamedTensors prompt_saved_tensors(model::Classifier& classifier, const at::Tensor& prompt) {
  NamedTensors tensors = {{kPromptInFile, prompt}};
  for (const auto& [name, parameter] : prompt_file_parameters(classifier)) {
    if (name != kPromptInFile) tensors.emplace_back(name, parameter->value());
  }
  return tensors;
}

nlohmann::json prompt_config(model::Classifier& classifier, const std::string& peft_type, const std::string& base_model,
                             std::int64_t virtual_tokens) {
  auto config = peft_config(classifier, peft_type, base_model);
  config["num_virtual_tokens"] = virtual_tokens;
  config["token_dim"] = classifier.config().hidden_size;
  config["num_transformer_submodules"] = 1;
  config["num_attention_heads"] = classifier.config().heads;
  config["num_layers"] = classifier.config().layers;
  return config;
}

std::int64_t read_virtual_tokens(const AdapterConfig& config, const model::Classifier& classifier) {
  const auto tokens = config.value<std::int64_t>("num_virtual_tokens", 0);
  if (tokens < 1) config.refuse("num_virtual_tokens", "expected a whole number from 1");
  const auto require = [&](const char* key, std::int64_t expected) {
    if (config.value<std::int64_t>(key, expected) == expected) return;
    config.refuse(key, fmt::format("the base model needs {}. Is the adapter for another model?", expected));
  };
  require("token_dim", classifier.config().hidden_size);
  require("num_attention_heads", classifier.config().heads);
  require("num_layers", classifier.config().layers);
  require("num_transformer_submodules", 1);
  if (!read_modules_to_save(config, classifier).empty()) {
    config.refuse("modules_to_save", "beside a prompt the head alone can train");
  }
  return tokens;
}

FileKeys virtual_token_keys(std::initializer_list<const char*> computed) {
  return joined({heeded_keys({"num_virtual_tokens"}),
                 keys_of(KeyUse::heeded, "the base model's; others are refused",
                         {"token_dim", "num_transformer_submodules", "num_attention_heads", "num_layers"}),
                 {{"modules_to_save", KeyUse::heeded, "the head; other modules are refused"}},
                 keys_of(KeyUse::no_effect, "the file holds what was computed", computed)});
}

}  // namespace dtrain::peft
