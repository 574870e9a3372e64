#include "data/label_map.h"

#include <algorithm>
#include <charconv>
#include <set>

namespace dtrain::data {
namespace {

bool parse_integer(const std::string& text, std::int64_t& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

LabelMap::LabelMap(std::vector<std::string> names) : names_(std::move(names)) {
  for (std::size_t id = 0; id < names_.size(); ++id) ids_.emplace(names_[id], static_cast<std::int64_t>(id));
}

LabelMap LabelMap::from_rows(const std::vector<LabelledText>& rows) {
  std::set<std::string> distinct;
  for (const LabelledText& row : rows) distinct.insert(row.label);
  std::vector<std::string> names(distinct.begin(), distinct.end());
  std::int64_t ignored = 0;
  if (std::all_of(names.begin(), names.end(), [&](const auto& name) { return parse_integer(name, ignored); })) {
    std::stable_sort(names.begin(), names.end(), [](const std::string& left, const std::string& right) {
      std::int64_t left_value = 0;
      std::int64_t right_value = 0;
      parse_integer(left, left_value);
      parse_integer(right, right_value);
      return left_value < right_value;
    });
  }
  return LabelMap(std::move(names));
}

std::int64_t LabelMap::id_of(std::string_view name) const {
  const auto found = ids_.find(std::string(name));
  return found == ids_.end() ? -1 : found->second;
}

}  // namespace dtrain::data
