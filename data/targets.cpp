#include "data/targets.h"

#include <algorithm>
#include <numeric>
#include <set>
#include <utility>

#include "base/digest.h"
#include "data/subset.h"

namespace dtrain::data {
namespace {

// Numbers are cut into this many strata.
constexpr std::int64_t kNumberStrata = 10;

// The rarest label of each example over all of them, the smaller id of two that are equal; after the last label: none.
Strata rarest_labels(const Targets& targets) {
  std::vector<std::int64_t> counts(static_cast<std::size_t>(targets.outputs()), 0);
  for (std::int64_t i = 0; i < targets.size(); ++i) {
    for (const std::int32_t label : targets.labels_of(i)) ++counts[static_cast<std::size_t>(label)];
  }
  Strata strata;
  strata.count = targets.outputs() + 1;
  for (std::int64_t i = 0; i < targets.size(); ++i) {
    const auto labels = targets.labels_of(i);
    const auto rarest = std::min_element(labels.begin(), labels.end(), [&](std::int32_t left, std::int32_t right) {
      return counts[static_cast<std::size_t>(left)] < counts[static_cast<std::size_t>(right)];
    });
    strata.of_examples.push_back(rarest == labels.end() ? static_cast<std::int32_t>(targets.outputs()) : *rarest);
  }
  return strata;
}

Strata tenths(const Targets& targets) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(targets.size()));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t left, std::int64_t right) {
    return targets.numbers_of(left)[0] < targets.numbers_of(right)[0];
  });
  Strata strata;
  strata.count = kNumberStrata;
  strata.of_examples.resize(order.size());
  std::int32_t stratum = 0;
  for (std::size_t rank = 0; rank < order.size(); ++rank) {
    // Equal numbers are of one stratum.
    if (rank == 0 || targets.numbers_of(order[rank])[0] != targets.numbers_of(order[rank - 1])[0])
      stratum = static_cast<std::int32_t>(rank * static_cast<std::size_t>(kNumberStrata) / order.size());
    strata.of_examples[static_cast<std::size_t>(order[rank])] = stratum;
  }
  return strata;
}

}  // namespace

Targets Targets::of_classes(std::vector<std::int32_t> classes, std::int64_t count) {
  Targets targets;
  targets.outputs_ = count;
  targets.offsets_.resize(classes.size() + 1);
  std::iota(targets.offsets_.begin(), targets.offsets_.end(), std::int64_t{0});
  targets.ids_ = std::move(classes);
  return targets;
}

Targets Targets::of_label_sets(const std::vector<std::vector<std::int32_t>>& sets, std::int64_t count) {
  Targets targets;
  targets.type_ = ProblemType::multi_label_classification;
  targets.outputs_ = count;
  for (const auto& labels : sets) {
    const std::set<std::int32_t> sorted(labels.begin(), labels.end());
    targets.ids_.insert(targets.ids_.end(), sorted.begin(), sorted.end());
    targets.offsets_.push_back(static_cast<std::int64_t>(targets.ids_.size()));
  }
  return targets;
}

Targets Targets::of_numbers(const std::vector<std::vector<double>>& numbers, std::int64_t count) {
  Targets targets;
  targets.type_ = ProblemType::regression;
  targets.outputs_ = count;
  for (const auto& row : numbers) {
    targets.numbers_.insert(targets.numbers_.end(), row.begin(), row.end());
    targets.offsets_.push_back(static_cast<std::int64_t>(targets.numbers_.size()));
  }
  return targets;
}

Targets Targets::subset(const std::vector<std::int64_t>& indices) const {
  Targets part;
  part.type_ = type_;
  part.outputs_ = outputs_;
  part.offsets_.reserve(indices.size() + 1);
  for (const std::int64_t index : indices) {
    if (type_ == ProblemType::regression) {
      const auto numbers = row(numbers_, index);
      part.numbers_.insert(part.numbers_.end(), numbers.begin(), numbers.end());
      part.offsets_.push_back(static_cast<std::int64_t>(part.numbers_.size()));
    } else {
      const auto ids = row(ids_, index);
      part.ids_.insert(part.ids_.end(), ids.begin(), ids.end());
      part.offsets_.push_back(static_cast<std::int64_t>(part.ids_.size()));
    }
  }
  return part;
}

std::string Targets::digest() const {
  Digest digest;
  digest.add(problem_type_name(type_));
  digest.add(&outputs_, sizeof outputs_);
  digest.add(offsets_.data(), offsets_.size() * sizeof offsets_[0]);
  digest.add(ids_.data(), ids_.size() * sizeof(std::int32_t));
  digest.add(numbers_.data(), numbers_.size() * sizeof(double));
  return digest.text();
}

void Targets::add_to(ImageWriter& image) const {
  image.add_number(static_cast<std::int64_t>(type_));
  image.add_number(outputs_);
  image.add_list(offsets_);
  image.add_list(ids_);
  image.add_list(numbers_);
}

Targets Targets::from(ImageReader& image) {
  Targets targets;
  targets.type_ = static_cast<ProblemType>(image.next_number());
  targets.outputs_ = image.next_number();
  targets.offsets_ = image.next_list<std::int64_t>();
  targets.ids_ = image.next_list<std::int32_t>();
  targets.numbers_ = image.next_list<double>();
  return targets;
}

Strata strata_of(const Targets& targets) {
  if (targets.type() == ProblemType::multi_label_classification) return rarest_labels(targets);
  if (targets.type() == ProblemType::regression) return tenths(targets);
  Strata strata;
  strata.count = targets.outputs();
  for (std::int64_t i = 0; i < targets.size(); ++i) strata.of_examples.push_back(targets.class_of(i));
  return strata;
}

std::vector<std::int64_t> stratified_draw(const Targets& targets, std::int64_t count, std::uint64_t seed,
                                          Purpose purpose) {
  const Strata strata = strata_of(targets);
  return stratified_subset(strata.of_examples, strata.count, count, seed, purpose);
}

}  // namespace dtrain::data
