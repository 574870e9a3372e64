#include "data/label_map.h"

#include <algorithm>
#include <cstdlib>
#include <map>

#include "data/readers/number_text.h"

namespace dtrain::data {
namespace {

// By value; numbers too long for a double, by size and digits.
bool is_less(const std::string& left, const std::string& right) {
  const double left_value = std::strtod(left.c_str(), nullptr);
  const double right_value = std::strtod(right.c_str(), nullptr);
  if (left_value != right_value) return left_value < right_value;
  if (left.size() != right.size()) return (left.size() < right.size()) == (left_value >= 0);
  return left_value >= 0 ? left < right : right < left;
}

}  // namespace

LabelMap::LabelMap(std::vector<std::string> names) : names_(std::move(names)) {
  numbers_ = true;
  for (std::size_t id = 0; id < names_.size() && numbers_; ++id) {
    const auto number = canonical_number(names_[id]);
    // Names that somebody else has chosen may be equal numbers.
    numbers_ = number && ids_.emplace(*number, static_cast<std::int64_t>(id)).second;
  }
  if (numbers_) return;
  ids_.clear();
  for (std::size_t id = 0; id < names_.size(); ++id) ids_.emplace(names_[id], static_cast<std::int64_t>(id));
}

LabelMap LabelMap::from_labels(const std::set<std::string>& labels) {
  std::map<std::string, std::string> name_of;
  for (const std::string& label : labels) {
    const auto number = canonical_number(label);
    if (!number) return LabelMap({labels.begin(), labels.end()});
    const auto [found, is_new] = name_of.emplace(*number, label);
    if (!is_new && label.size() < found->second.size()) found->second = label;
  }
  std::vector<std::pair<std::string, std::string>> numbers(name_of.begin(), name_of.end());
  std::sort(numbers.begin(), numbers.end(),
            [](const auto& left, const auto& right) { return is_less(left.first, right.first); });
  std::vector<std::string> names;
  for (auto& [number, name] : numbers) names.push_back(std::move(name));
  return LabelMap(std::move(names));
}

LabelMap LabelMap::from_rows(const std::vector<LabelledText>& rows) {
  const bool lists = std::any_of(rows.begin(), rows.end(), [](const LabelledText& row) { return !row.labels.empty(); });
  std::set<std::string> labels;
  for (const LabelledText& row : rows) {
    labels.insert(row.labels.begin(), row.labels.end());
    if (!lists) labels.insert(row.label);
  }
  return from_labels(labels);
}

std::int64_t LabelMap::id_of(std::string_view name) const {
  std::string key(name);
  if (numbers_) {
    auto number = canonical_number(name);
    if (!number) return -1;
    key = std::move(*number);
  }
  const auto found = ids_.find(key);
  return found == ids_.end() ? -1 : found->second;
}

}  // namespace dtrain::data
