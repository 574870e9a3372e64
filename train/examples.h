#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/targets.h"
#include "model/token_batch.h"

namespace dtrain::train {

/// Where examples come from. Text is one kind (launcher/text_examples.h); adding one: its file pair, a function that
/// returns Examples.
class ExampleSource {
 public:
  virtual ~ExampleSource() = default;
  virtual std::int64_t size() const = 0;
  /// In tokens, as the model will see them without a method's virtual tokens: what an example costs.
  virtual std::int32_t length(std::int64_t index) const = 0;
  /// Of the content, targets excepted: the same text for the same examples.
  virtual std::string digest() const = 0;
  /// Examples as the model takes them, on `device`.
  virtual model::TokenBatch collate(const std::vector<std::int64_t>& indices, at::Device device) const = 0;
};

/// Examples and what they are to be answered with: all that training, evaluation and studies know of data. Cheap to
/// copy; immutable.
class Examples {
 public:
  /// None.
  Examples() = default;
  /// `targets` has one for each example of the source.
  Examples(std::shared_ptr<const ExampleSource> source, data::Targets targets);

  std::int64_t size() const { return targets_->size(); }
  std::int32_t length(std::int64_t index) const { return source_->length(place(index)); }
  /// Of all examples.
  std::vector<std::int32_t> lengths() const;
  const data::Targets& targets() const { return *targets_; }
  /// Of content and targets: what a checkpoint compares and a cache is known by.
  std::string digest() const;
  /// Those with these indices, in this order: a view.
  Examples subset(const std::vector<std::int64_t>& indices) const;

  /// As the model takes them, on `device`.
  model::TokenBatch collate(const std::vector<std::int64_t>& indices, at::Device device) const;
  /// Their targets on `device`: classes [n] int64, label sets [n, labels] float of 0 and 1, numbers [n, outputs]
  /// double.
  at::Tensor collate_targets(const std::vector<std::int64_t>& indices, at::Device device) const;
  /// The targets of all, on the CPU.
  at::Tensor all_targets() const;

 private:
  std::int64_t place(std::int64_t index) const {
    return indices_ ? (*indices_)[static_cast<std::size_t>(index)] : index;
  }

  std::shared_ptr<const ExampleSource> source_;
  std::shared_ptr<const std::vector<std::int64_t>> indices_;  // null: all of the source
  std::shared_ptr<const data::Targets> targets_ = std::make_shared<const data::Targets>();
};

}  // namespace dtrain::train
