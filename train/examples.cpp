#include "train/examples.h"

#include <ATen/ATen.h>

#include <numeric>
#include <stdexcept>

#include "base/digest.h"

namespace dtrain::train {
namespace {

at::Tensor tensor_of(const data::Targets& targets, const std::vector<std::int64_t>& indices) {
  const auto count = static_cast<std::int64_t>(indices.size());
  switch (targets.type()) {
    case ProblemType::single_label_classification: {
      auto classes = at::empty({count}, at::kLong);
      auto* values = classes.mutable_data_ptr<std::int64_t>();
      for (std::size_t i = 0; i < indices.size(); ++i) values[i] = targets.class_of(indices[i]);
      return classes;
    }
    case ProblemType::multi_label_classification: {
      auto sets = at::zeros({count, targets.outputs()}, at::kFloat);
      auto* values = sets.mutable_data_ptr<float>();
      for (std::int64_t i = 0; i < count; ++i) {
        for (const std::int32_t label : targets.labels_of(indices[static_cast<std::size_t>(i)]))
          values[i * targets.outputs() + label] = 1;
      }
      return sets;
    }
    case ProblemType::regression: {
      auto numbers = at::empty({count, targets.outputs()}, at::kDouble);
      auto* values = numbers.mutable_data_ptr<double>();
      for (const std::int64_t index : indices) {
        for (const double number : targets.numbers_of(index)) *values++ = number;
      }
      return numbers;
    }
  }
  throw std::logic_error("targets of a problem type without a tensor");
}

}  // namespace

Examples::Examples(std::shared_ptr<const ExampleSource> source, data::Targets targets)
    : source_(std::move(source)), targets_(std::make_shared<const data::Targets>(std::move(targets))) {
  if (source_->size() != targets_->size()) throw std::invalid_argument("examples and targets of different numbers");
}

std::vector<std::int32_t> Examples::lengths() const {
  std::vector<std::int32_t> lengths(static_cast<std::size_t>(size()));
  for (std::size_t i = 0; i < lengths.size(); ++i) lengths[i] = length(static_cast<std::int64_t>(i));
  return lengths;
}

std::string Examples::digest() const {
  if (!source_) return "";
  Digest digest;
  digest.add(source_->digest());
  if (indices_) digest.add(indices_->data(), indices_->size() * sizeof(std::int64_t));
  digest.add(targets_->digest());
  return digest.text();
}

Examples Examples::subset(const std::vector<std::int64_t>& indices) const {
  Examples part;
  part.source_ = source_;
  part.targets_ = std::make_shared<const data::Targets>(targets_->subset(indices));
  auto places = std::make_shared<std::vector<std::int64_t>>();
  for (const std::int64_t index : indices) places->push_back(place(index));
  part.indices_ = std::move(places);
  return part;
}

model::TokenBatch Examples::collate(const std::vector<std::int64_t>& indices, at::Device device) const {
  if (!indices_) return source_->collate(indices, device);
  std::vector<std::int64_t> places;
  places.reserve(indices.size());
  for (const std::int64_t index : indices) places.push_back(place(index));
  return source_->collate(places, device);
}

at::Tensor Examples::collate_targets(const std::vector<std::int64_t>& indices, at::Device device) const {
  return model::on_device(tensor_of(*targets_, indices), device);
}

at::Tensor Examples::all_targets() const {
  std::vector<std::int64_t> all(static_cast<std::size_t>(size()));
  std::iota(all.begin(), all.end(), std::int64_t{0});
  return tensor_of(*targets_, all);
}

}  // namespace dtrain::train
