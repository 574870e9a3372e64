#include "data/row_targets.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <optional>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"

namespace dtrain::data {
namespace {

// More different numbers than this, not all of them whole, are no names of classes.
constexpr std::size_t kMostNumericClasses = 10;

std::optional<double> number_in(std::string_view text) {
  double value = 0;
  // from_chars takes no plus.
  if (text.starts_with('+') && !text.starts_with("+-")) text.remove_prefix(1);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

// "3,80" as "3.80", as spreadsheets write numbers in many countries.
std::string with_point(std::string text) {
  const std::size_t comma = text.find(',');
  if (comma != std::string::npos) text[comma] = '.';
  return text;
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
      throw InputError(fmt::format("{}:{}: the label is '{}'; expected a finite number{}, as regression takes it", name,
                                   row.line, text, number_in(with_point(text)) ? " with a point for the comma" : ""));
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

}  // namespace

ProblemType problem_type_of(const LabelledTexts& rows, const std::string& name) {
  if (rows.has_label_lists) return ProblemType::multi_label_classification;
  std::set<double> distinct;
  const LabelledText* fraction = nullptr;
  for (const LabelledText& row : rows.rows) {
    const auto value = number_in(with_point(row.label));
    if (!value) return ProblemType::single_label_classification;
    distinct.insert(*value);
    if (fraction == nullptr && *value != std::floor(*value)) fraction = &row;
  }
  if (fraction != nullptr && distinct.size() > kMostNumericClasses) {
    const bool has_comma = fraction->label.find(',') != std::string::npos;
    throw InputError(
        fmt::format("{}:{}: the labels are {} different numbers such as {}, which look like scores and not like "
                    "classes; say which they are: --problem-type regression{}, or --problem-type "
                    "single_label_classification to make a class of each",
                    name, fraction->line, distinct.size(), fraction->label,
                    has_comma ? " with points for the commas, --label-separator , where they are several labels" : ""));
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

}  // namespace dtrain::data
