#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string>

#include "model/parameter.h"
#include "peft/adapter_config.h"
#include "peft/method.h"

/// What PEFT's prompt learning methods (prefix tuning, prompt tuning, p-tuning) have in common: virtual tokens in front
/// of every example, and a file of what stands for them, whatever computed it in training.
namespace dtrain::peft {

/// Throws UsageError where the virtual tokens leave an example no position of the model's.
void check_virtual_tokens(const model::Classifier& classifier, std::int64_t virtual_tokens, const std::string& method);

/// A linear layer that a prompt is computed with, drawn as torch.nn.Linear draws: within 1 / sqrt(in).
struct PromptLinear {
  PromptLinear(const std::string& name, std::int64_t out, std::int64_t in, const at::TensorOptions& options,
               at::Generator& generator);

  /// [n, in] -> [n, out], in full precision; the context counts it.
  at::Tensor forward(const at::Tensor& input, model::ForwardContext& context);

  model::Parameter weight;
  model::Parameter bias;
};

/// Drawn from the normal distribution, as torch.nn.Embedding is.
at::Tensor draw_embedding(std::int64_t tokens, std::int64_t size, const at::TensorOptions& options,
                          at::Generator& generator);
/// Uniform between -bound and bound.
at::Tensor draw_within(at::IntArrayRef shape, double bound, const at::TensorOptions& options, at::Generator& generator);

/// The name of the parameter that holds a prompt by itself.
inline constexpr const char* kPromptEmbedding = "prompt_encoder.embedding.weight";

/// Under PEFT's names: the prompt, where it is a parameter, and the head.
NamedParameters prompt_file_parameters(model::Classifier& classifier);

/// `prompt` and the head.
NamedTensors prompt_saved_tensors(model::Classifier& classifier, const at::Tensor& prompt);

/// PEFT's keys for all of them.
nlohmann::json prompt_config(model::Classifier& classifier, const std::string& peft_type, const std::string& base_model,
                             std::int64_t virtual_tokens);

/// num_virtual_tokens of PEFT's configuration file, which all of them need; the other keys for all are checked.
std::int64_t read_virtual_tokens(const AdapterConfig& config, const model::Classifier& classifier);

/// The keys that read_virtual_tokens reads, and `computed`: those that say how the file's prompt was computed, which
/// has no effect once it is there.
FileKeys virtual_token_keys(std::initializer_list<const char*> computed);

}  // namespace dtrain::peft
