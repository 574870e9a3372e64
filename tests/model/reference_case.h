#pragma once

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>

#include "model/classifier.h"
#include "model/formats/classifier_files.h"
#include "model/formats/safetensors.h"
#include "model/token_batch.h"

/// What hf_reference.py wrote.
namespace dtrain::model {

inline std::filesystem::path reference_directory() { return DTRAIN_REFERENCE_DIR; }

/// What the tests compute on: DTRAIN_TEST_DEVICE ("cuda:0"), and else the CPU.
inline at::Device test_device() {
  const char* name = std::getenv("DTRAIN_TEST_DEVICE");
  return at::Device(name == nullptr ? "cpu" : name);
}

/// A batch of the host as the model takes it.
inline TokenBatch on_test_device(TokenBatch batch) {
  for (auto* tensor : {&batch.ids, &batch.types, &batch.positions}) *tensor = tensor->to(test_device());
  return batch;
}

/// A checkpoint that transformers saved, a batch, and what transformers computes for it.
class ReferenceCase {
 public:
  explicit ReferenceCase(const std::string& name)
      : directory_(reference_directory() / name), tensors_(directory_ / "reference.safetensors") {}

  const std::filesystem::path& directory() const { return directory_; }

  TokenBatch batch() const {
    const SafetensorsFile file(directory_ / "batch.safetensors");
    TokenBatch batch{file.tensor("ids"), file.tensor("types"), file.tensor("positions"), file.tensor("offsets")};
    batch.max_length = batch.offsets.diff().max().item<std::int64_t>();
    return on_test_device(batch);
  }
  at::Tensor labels() const {
    return SafetensorsFile(directory_ / "batch.safetensors").tensor("labels").to(test_device());
  }

  /// "logits", "logits32", "loss", "gradient.NAME" under a pooling.
  at::Tensor tensor(Pooling pooling, const std::string& name) const {
    return tensors_.tensor(pooling_name(pooling) + "." + name);
  }
  bool contains(Pooling pooling, const std::string& name) const {
    return tensors_.contains(pooling_name(pooling) + "." + name);
  }

  std::unique_ptr<Classifier> load(Pooling pooling, at::ScalarType type) const {
    auto classifier =
        load_classifier({.directory = directory_, .pooling = pooling, .trained_head = true, .device = test_device()});
    for (Parameter* parameter : classifier->stored_parameters()) parameter->set_value(parameter->value().to(type));
    return classifier;
  }

 private:
  std::filesystem::path directory_;
  SafetensorsFile tensors_;
};

/// Gives each trainable parameter a gradient of its own, full of numbers that backward must overwrite.
inline void bind_gradients(Classifier& classifier) {
  for (Parameter* parameter : classifier.parameters()) {
    if (!parameter->trainable()) continue;
    parameter->bind(parameter->value().clone(), at::full_like(parameter->value(), 1e30));
  }
}

/// Mean cross-entropy; the gradients of what trains are written.
inline double backward_of_loss(Classifier& classifier, const TokenBatch& batch, const at::Tensor& labels,
                               ForwardContext context = {}) {
  for (Parameter* parameter : classifier.parameters()) {
    if (parameter->trainable()) parameter->begin_step();
  }
  const auto loss = at::cross_entropy_loss(classifier.forward(batch, context), labels);
  torch::autograd::backward({loss}, {});
  return loss.item<double>();
}

inline double largest_difference(const at::Tensor& left, const at::Tensor& right) {
  EXPECT_EQ(left.sizes(), right.sizes());
  const auto exact = [](const at::Tensor& tensor) { return tensor.to(at::kCPU, at::kDouble); };
  return left.numel() == 0 ? 0 : (exact(left) - exact(right)).abs().max().item<double>();
}

}  // namespace dtrain::model
