#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/digest.h"
#include "base/random.h"
#include "data/targets.h"
#include "dist/communicator.h"
#include "model/formats/classifier_files.h"
#include "model/formats/safetensors.h"
#include "model/token_batch.h"
#include "peft/registry.h"
#include "tests/model/reference_case.h"
#include "train/examples.h"
#include "train/flat_parameters.h"
#include "train/run_context.h"
#include "train/trainer.h"

/// Models and data that are small enough to train in a test.
namespace dtrain::train {

using model::reference_directory;
using model::test_device;

/// Examples that were tokens from the beginning: training asks no more of a source.
class TokenSource final : public ExampleSource {
 public:
  /// Packed ids and token types [tokens], and offsets [examples + 1], all int64.
  TokenSource(const at::Tensor& ids, const at::Tensor& types, const at::Tensor& offsets)
      : ids_(values_of<std::int32_t>(ids.to(at::kInt))), offsets_(values_of<std::int64_t>(offsets.to(at::kLong))) {
    for (std::int64_t i = 0; i < size(); ++i) {
      const auto of_example = types.slice(0, offsets_[place(i)], offsets_[place(i) + 1]);
      second_segments_.push_back(static_cast<std::int32_t>(of_example.eq(0).sum().item<std::int64_t>()));
    }
  }

  std::int64_t size() const override { return static_cast<std::int64_t>(offsets_.size()) - 1; }
  std::int32_t length(std::int64_t index) const override {
    return static_cast<std::int32_t>(tokens_of(index).ids.size());
  }
  std::string digest() const override {
    Digest digest;
    digest.add(ids_.data(), ids_.size() * sizeof ids_[0]);
    digest.add(offsets_.data(), offsets_.size() * sizeof offsets_[0]);
    digest.add(second_segments_.data(), second_segments_.size() * sizeof second_segments_[0]);
    return digest.text();
  }
  model::TokenBatch collate(const std::vector<std::int64_t>& indices, at::Device device) const override {
    std::vector<model::ExampleTokens> examples;
    for (const std::int64_t index : indices) examples.push_back(tokens_of(index));
    return model::packed(examples, device);
  }

 private:
  template <typename Value>
  static std::vector<Value> values_of(const at::Tensor& tensor) {
    const auto plain = tensor.contiguous();
    const auto* values = plain.const_data_ptr<Value>();
    return {values, values + plain.numel()};
  }
  static std::size_t place(std::int64_t index) { return static_cast<std::size_t>(index); }
  model::ExampleTokens tokens_of(std::int64_t index) const {
    const auto begin = static_cast<std::size_t>(offsets_[place(index)]);
    const auto end = static_cast<std::size_t>(offsets_[place(index) + 1]);
    return {std::span(ids_).subspan(begin, end - begin), second_segments_[place(index)]};
  }

  std::vector<std::int32_t> ids_;
  std::vector<std::int64_t> offsets_;
  std::vector<std::int32_t> second_segments_;
};

/// Examples from packed ids and token types [tokens], offsets [examples + 1] and their targets.
inline Examples examples_of(const at::Tensor& ids, const at::Tensor& types, const at::Tensor& offsets,
                            data::Targets targets) {
  return {std::make_shared<const TokenSource>(ids, types, offsets), std::move(targets)};
}

/// The same with classes [examples].
inline Examples dataset_of(const at::Tensor& ids, const at::Tensor& types, const at::Tensor& offsets,
                           const at::Tensor& labels, std::int64_t classes) {
  const auto plain = labels.to(at::kInt).contiguous();
  const auto* values = plain.const_data_ptr<std::int32_t>();
  return examples_of(ids, types, offsets, data::Targets::of_classes({values, values + plain.numel()}, classes));
}

/// What train_reference.py trained on.
inline Examples reference_data() {
  const model::SafetensorsFile file(reference_directory() / "train" / "data.safetensors");
  return dataset_of(file.tensor("ids"), file.tensor("types"), file.tensor("offsets"), file.tensor("labels"), 4);
}

/// Examples of 2 to 24 tokens whose class, of four, is decided by their first token. Another `shift` is another rule.
/// As label sets: that class, and the next one where the number of tokens is odd. As a number: the class over two.
inline Examples random_data(std::int64_t examples, std::uint64_t seed, std::int64_t shift = 0,
                            ProblemType type = ProblemType::single_label_classification) {
  SplitMix64 random(seed);
  std::vector<std::int64_t> ids, types, offsets{0};
  std::vector<std::int32_t> classes;
  std::vector<std::vector<std::int32_t>> sets;
  std::vector<std::vector<double>> numbers;
  for (std::int64_t i = 0; i < examples; ++i) {
    const auto length = static_cast<std::int64_t>(2 + random.below(23));
    classes.push_back(static_cast<std::int32_t>(random.below(4)));
    sets.push_back({classes.back()});
    if (length % 2 == 1) sets.back().push_back((classes.back() + 1) % 4);
    numbers.push_back({classes.back() / 2.0});
    for (std::int64_t token = 0; token < length; ++token) {
      ids.push_back(token == 0 ? 1 + (classes.back() + shift) % 4 : static_cast<std::int64_t>(5 + random.below(90)));
      types.push_back(2 * token >= length ? 1 : 0);
    }
    offsets.push_back(static_cast<std::int64_t>(ids.size()));
  }
  const auto targets = type == ProblemType::regression                   ? data::Targets::of_numbers(numbers, 1)
                       : type == ProblemType::multi_label_classification ? data::Targets::of_label_sets(sets, 4)
                                                                         : data::Targets::of_classes(classes, 4);
  return examples_of(at::tensor(ids), at::tensor(types), at::tensor(offsets), targets);
}

/// A checkpoint that hf_reference.py wrote, with a new head and a method.
inline std::unique_ptr<model::Classifier> classifier_with(const std::string& checkpoint, const std::string& method,
                                                          model::Pooling pooling = model::Pooling::mean,
                                                          ProblemType type = ProblemType::single_label_classification) {
  auto classifier = model::load_classifier({.directory = reference_directory() / checkpoint,
                                            .pooling = pooling,
                                            .classes = type == ProblemType::regression ? 1 : 4,
                                            .head_seed = 1,
                                            .problem_type = type,
                                            .device = test_device()});
  peft::make_method(peft::parse_method_spec(method))->attach(*classifier, {.seed = 1});
  return classifier;
}

/// A run over the ranks of `communicator`, on the tests' device and silent.
inline RunContext context_over(dist::Communicator& communicator) {
  return {communicator, communicator, test_device(), at::kFloat, Log(), [] { return false; }};
}

/// Every value that the model computes with, in one tensor.
inline at::Tensor all_values(model::Classifier& classifier) {
  std::vector<at::Tensor> values;
  for (const model::Parameter* parameter : classifier.parameters()) values.push_back(parameter->value().flatten());
  return at::cat(values).to(at::kCPU);
}

/// Options of a short run.
inline TrainOptions short_run(const std::string& method, std::int64_t steps) {
  TrainOptions options;
  options.method = peft::parse_method_spec(method);
  options.learning_rate = 3e-3;
  options.max_steps = steps;
  options.batch_size = 8;
  options.seed = 5;
  options.cache_memory = 1 << 24;
  return options;
}

}  // namespace dtrain::train
