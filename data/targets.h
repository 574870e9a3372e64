#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/image.h"
#include "base/problem_type.h"
#include "base/random.h"

namespace dtrain::data {

/// What examples are to be answered with, kept apart from what they are made of: a class each, a set of labels each, or
/// numbers. Immutable.
class Targets {
 public:
  Targets() = default;
  /// A class of `classes` for each example, or -1 where it is not known.
  static Targets of_classes(std::vector<std::int32_t> classes, std::int64_t count);
  /// A set of `count` labels for each example.
  static Targets of_label_sets(const std::vector<std::vector<std::int32_t>>& sets, std::int64_t count);
  /// The same number of finite numbers for each example; NaN where they are not known.
  static Targets of_numbers(const std::vector<std::vector<double>>& numbers, std::int64_t count);

  ProblemType type() const { return type_; }
  std::int64_t size() const { return static_cast<std::int64_t>(offsets_.size()) - 1; }
  /// Classes, labels, or numbers of an example: what a model that answers has outputs for.
  std::int64_t outputs() const { return outputs_; }

  /// Of single-label classification: the class, or -1.
  std::int32_t class_of(std::int64_t index) const { return ids_[static_cast<std::size_t>(index)]; }
  /// Of multi-label classification: the labels, ascending, each once.
  std::span<const std::int32_t> labels_of(std::int64_t index) const { return row(ids_, index); }
  /// Of regression.
  std::span<const double> numbers_of(std::int64_t index) const { return row(numbers_, index); }

  /// Those with these indices, in this order.
  Targets subset(const std::vector<std::int64_t>& indices) const;
  /// XXH3-128 of type and values, in hexadecimal.
  std::string digest() const;

  /// For another process: as part of an image, while this lives, and out of one.
  void add_to(ImageWriter& image) const;
  static Targets from(ImageReader& image);

 private:
  template <typename Value>
  std::span<const Value> row(const std::vector<Value>& values, std::int64_t index) const {
    const auto begin = static_cast<std::size_t>(offsets_[static_cast<std::size_t>(index)]);
    return std::span(values).subspan(begin,
                                     static_cast<std::size_t>(offsets_[static_cast<std::size_t>(index) + 1]) - begin);
  }

  ProblemType type_ = ProblemType::single_label_classification;
  std::int64_t outputs_ = 0;
  std::vector<std::int64_t> offsets_ = {0};
  std::vector<std::int32_t> ids_;
  std::vector<double> numbers_;
};

/// A part of each example by which draws are stratified, and how many parts there are: the class; the rarest of its
/// labels, or none; a tenth of the range by rank of its first number.
struct Strata {
  std::vector<std::int32_t> of_examples;
  std::int64_t count = 0;
};
Strata strata_of(const Targets& targets);

/// stratified_subset of examples with these targets.
std::vector<std::int64_t> stratified_draw(const Targets& targets, std::int64_t count, std::uint64_t seed,
                                          Purpose purpose = Purpose::subset);

}  // namespace dtrain::data
