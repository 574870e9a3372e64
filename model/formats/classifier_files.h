#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/classifier.h"

namespace dtrain::model {

class ModelWeights;

/// A pretrained model to fine-tune on `classes` classes, or a classifier that was trained already.
struct LoadOptions {
  std::filesystem::path directory;
  /// Unset: what the directory says (EncoderConfig::pooling).
  std::optional<Pooling> pooling;
  std::int64_t classes = 0;
  /// Of the new head: weight normal with config.json's initializer_range, bias zero.
  std::uint64_t head_seed = 0;
  /// Whether the directory's own head must be there and is used; else a new one is drawn, whatever the directory holds.
  bool trained_head = false;
  /// What the outputs are. Unset: of a trained head what config.json says, or transformers takes where it says nothing
  /// (one output: regression); of a new head one class of several.
  std::optional<ProblemType> problem_type = std::nullopt;
  at::Device device = at::Device("cpu");
  /// Those of `directory`, where they are at hand; null: they are read. What they keep (ModelWeights::keep_tensors) is
  /// the storage of the classifier's own parameters on the CPU, until one is trained (Parameter::bind).
  std::shared_ptr<const ModelWeights> weights = nullptr;
};

/// What the outputs of a trained head are: as `named` says, else as transformers takes them, one for a number and
/// several for the classes of which one is right.
ProblemType problem_type_of_outputs(std::optional<ProblemType> named, std::int64_t outputs);

/// Reads a Hugging Face directory, a bare encoder's or a classifier's. Throws InputError naming file and tensor:
/// missing, wrong shape or type, expected and found. A missing pooler is drawn anew where the pooling needs it.
std::unique_ptr<Classifier> load_classifier(const LoadOptions& options);

/// Writes config.json (architectures, problem_type, id2label, label2id,
/// dtrain_pooling) and model.safetensors as transformers'
/// save_pretrained does. The tokenizer's files are the caller's to copy.
void save_classifier(Classifier& classifier, const std::vector<std::string>& labels,
                     const std::filesystem::path& directory);

}  // namespace dtrain::model
