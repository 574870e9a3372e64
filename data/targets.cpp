#include "data/targets.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>
#include <set>

#include "base/digest.h"
#include "base/error.h"
#include "data/subset.h"

namespace dtrain::data {
namespace {

// More different numbers than this, not all of them whole, are no names of classes.
constexpr std::size_t kMostNumericClasses = 10;
// Numbers are cut into this many strata.
constexpr std::int64_t kNumberStrata = 10;

std::optional<double> number_in(const std::string& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

// The labels of a row as a list, whichever way the file gives them.
std::vector<std::string> labels_in(const LabelledText& row, bool lists) {
  if (lists) return row.labels;
  return row.label.empty() ? std::vector<std::string>{} : std::vector<std::string>{row.label};
}

// Lists that name a label twice, and no labels but 0 and 1, are vectors with a place for each label.
void refuse_indicator_vectors(const LabelledTexts& rows, const std::set<std::string>& distinct,
                              const std::string& name) {
  const auto is_indicator = [](const std::string& label) {
    const auto value = number_in(label);
    return value && (*value == 0 || *value == 1);
  };
  if (!std::all_of(distinct.begin(), distinct.end(), is_indicator)) return;
  for (const LabelledText& row : rows.rows) {
    if (std::set<std::string>(row.labels.begin(), row.labels.end()).size() == row.labels.size()) continue;
    throw InputError(fmt::format(
        "{}:{}: the labels look like a vector of zeros and ones; expected the list of the names of those that hold",
        name, row.line));
  }
}

// How many numbers every row has.
std::int64_t number_count(const LabelledTexts& rows, const std::string& name) {
  if (!rows.has_label_lists || rows.rows.empty()) return 1;
  const std::size_t count = rows.rows.front().labels.size();
  for (const LabelledText& row : rows.rows) {
    if (row.labels.size() == count && count > 0) continue;
    throw InputError(fmt::format("{}:{}: {} numbers; expected as many in every row, {} as in the first", name, row.line,
                                 row.labels.size(), std::max<std::size_t>(count, 1)));
  }
  return static_cast<std::int64_t>(count);
}

std::vector<double> numbers_in(const LabelledText& row, bool lists, std::int64_t count, const std::string& name,
                               bool required) {
  std::vector<double> numbers;
  for (const std::string& text : labels_in(row, lists)) {
    const auto value = number_in(text);
    if (!value && required) {
      throw InputError(fmt::format("{}:{}: the label is '{}'; expected a finite number, as regression takes it", name,
                                   row.line, text));
    }
    numbers.push_back(value.value_or(std::numeric_limits<double>::quiet_NaN()));
  }
  if (static_cast<std::int64_t>(numbers.size()) == count) return numbers;
  if (required) {
    throw InputError(fmt::format("{}:{}: {} numbers; expected {}, one for each output of the model", name, row.line,
                                 numbers.size(), count));
  }
  return std::vector<double>(static_cast<std::size_t>(count), std::numeric_limits<double>::quiet_NaN());
}

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

ProblemType problem_type_of(const LabelledTexts& rows, const std::string& name) {
  if (rows.has_label_lists) return ProblemType::multi_label_classification;
  std::set<double> distinct;
  const LabelledText* fraction = nullptr;
  for (const LabelledText& row : rows.rows) {
    const auto value = number_in(row.label);
    if (!value) return ProblemType::single_label_classification;
    distinct.insert(*value);
    if (fraction == nullptr && *value != std::floor(*value)) fraction = &row;
  }
  if (fraction != nullptr && distinct.size() > kMostNumericClasses) {
    throw InputError(
        fmt::format("{}:{}: the labels are {} different numbers such as {}, which look like scores and not like "
                    "classes; say which they are: --problem-type regression, or --problem-type "
                    "single_label_classification to make a class of each",
                    name, fraction->line, distinct.size(), fraction->label));
  }
  return ProblemType::single_label_classification;
}

void check_label_form(const LabelledTexts& rows, ProblemType type, const std::string& name) {
  const std::int64_t line = rows.rows.empty() ? 0 : rows.rows.front().line;
  if (type == ProblemType::single_label_classification && rows.has_label_lists) {
    throw InputError(fmt::format("{}:{}: a list of labels; expected one label (multi_label_classification takes lists)",
                                 name, line));
  }
  if (type == ProblemType::multi_label_classification && rows.has_labels && !rows.has_label_lists) {
    throw InputError(fmt::format(
        "{}:{}: the label is '{}'; expected a list of labels, as multi_label_classification takes them (in JSONL "
        "\"label\": [\"a\", \"b\"]; in a text, --label-separator says what they are joined with)",
        name, line, rows.rows.empty() ? "" : rows.rows.front().label));
  }
}

LabelMap label_map_of(const LabelledTexts& rows, ProblemType type, const std::string& name) {
  if (type == ProblemType::single_label_classification) return LabelMap::from_rows(rows.rows);
  if (type == ProblemType::regression) {
    std::vector<std::string> names;
    for (std::int64_t i = 0; i < number_count(rows, name); ++i) names.push_back(fmt::format("LABEL_{}", i));
    return LabelMap(std::move(names));
  }
  std::set<std::string> distinct;
  for (const LabelledText& row : rows.rows) distinct.insert(row.labels.begin(), row.labels.end());
  refuse_indicator_vectors(rows, distinct, name);
  std::vector<LabelledText> single;
  for (const std::string& label : distinct) single.push_back({.text = {}, .pair = {}, .label = label});
  return LabelMap::from_rows(single);
}

Targets targets_of(const LabelledTexts& rows, ProblemType type, const LabelMap& labels, const std::string& name,
                   bool required) {
  if (type == ProblemType::single_label_classification) {
    std::vector<std::int32_t> classes;
    for (const LabelledText& row : rows.rows) classes.push_back(static_cast<std::int32_t>(labels.id_of(row.label)));
    return Targets::of_classes(std::move(classes), labels.size());
  }
  if (type == ProblemType::multi_label_classification) {
    std::vector<std::vector<std::int32_t>> sets;
    for (const LabelledText& row : rows.rows) {
      auto& known = sets.emplace_back();
      for (const std::string& label : labels_in(row, rows.has_label_lists)) {
        const auto id = static_cast<std::int32_t>(labels.id_of(label));
        if (id >= 0) known.push_back(id);
      }
    }
    return Targets::of_label_sets(sets, labels.size());
  }
  std::vector<std::vector<double>> numbers;
  for (const LabelledText& row : rows.rows)
    numbers.push_back(numbers_in(row, rows.has_label_lists, labels.size(), name, required));
  return Targets::of_numbers(numbers, labels.size());
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
