#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "model/classifier.h"
#include "model/formats/classifier_files.h"
#include "peft/method.h"

namespace dtrain::peft {

/// The files of the tokenizer in a directory, by their names, as they were when they were read.
struct TokenizerContents {
  std::filesystem::path directory;
  std::map<std::string, std::string> contents;
};
TokenizerContents read_tokenizer_contents(const std::filesystem::path& directory);

/// Writes what a run trained below `output`:
/// - `model/`, a Hugging Face directory with the tokenizer's files, for a method that changes the whole model;
/// - `adapter/` in PEFT's format (adapter_config.json, adapter_model.safetensors, classifier included) for one PEFT
/// has;
/// - else `adapter/` with weights.safetensors under the Hugging Face model's names (model.load_state_dict(...,
/// strict=False)). An adapter has dtrain.json beside it: method, base model, pooling, labels, problem type; and the
/// tokenizer's files where `tokenizer` is of another directory than the base model's. Without `tokenizer` it is the
/// base model's. Returns the directory.
std::filesystem::path save_trained(model::Classifier& classifier, const MethodSpec& spec,
                                   const std::vector<std::string>& labels, const std::filesystem::path& base_model,
                                   const std::filesystem::path& output,
                                   std::optional<TokenizerContents> tokenizer = std::nullopt);

/// A classifier read back, ready to score.
struct TrainedModel {
  std::unique_ptr<model::Classifier> classifier;
  std::vector<std::string> labels;
  /// False: nothing names them, they are called "0", "1", ... or "LABEL_0", ...
  bool labels_have_names = true;
  /// Where the tokenizer's files are.
  std::filesystem::path tokenizer;
  /// What the adapter is for; of a whole model its own directory.
  std::filesystem::path base_model;
  MethodSpec method;
};

/// Reads what model::LoadOptions::weights is to be for these options.
using ReadWeights = std::function<std::shared_ptr<const model::ModelWeights>(const model::LoadOptions&)>;

/// Reads a run's output directory, a `model/` (any Hugging Face classifier) or an `adapter/` (dtrain's, PEFT's or
/// adapter-hub's). `base_model` overrides the path in the adapter, `labels` the names of the classes; without them an
/// adapter that does not name its classes has those of its base model, where they fit. `problem_type` overrides what
/// the files say of the outputs, or where they say nothing what transformers takes them for. Throws InputError: an
/// adapter for another model (tensor, expected and found shape), without a head where its base model has none either,
/// with tensors that have no place; UsageError where there are not as many `labels` as classes. `read_weights` reads
/// the weights of a whole model, or of an adapter's base model; null: they are read here. It is called once.
TrainedModel load_trained(const std::filesystem::path& directory,
                          const std::optional<std::filesystem::path>& base_model,
                          const std::optional<model::Pooling>& pooling, at::Device device, const Log& log,
                          const std::vector<std::string>& labels = {},
                          std::optional<ProblemType> problem_type = std::nullopt,
                          const ReadWeights& read_weights = nullptr);

/// Whether two directories hold the same tokenizer's vocabulary, by content.
bool same_tokenizer(const std::filesystem::path& left, const std::filesystem::path& right);

/// The size of all files below a directory.
std::int64_t stored_bytes(const std::filesystem::path& directory);

}  // namespace dtrain::peft
