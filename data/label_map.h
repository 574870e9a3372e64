#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "data/readers/labelled_text.h"

namespace dtrain::data {

/// Class names and their ids: the sorted distinct labels (by value where all are numbers, else by bytes). Where all are
/// numbers, those that are equal are one: 1.0 and 1 (canonical_number; 01 is no number).
class LabelMap {
 public:
  LabelMap() = default;
  /// The names in the order of their ids, which must be distinct.
  explicit LabelMap(std::vector<std::string> names);
  /// Of equal numbers the shortest is the name.
  static LabelMap from_labels(const std::set<std::string>& labels);
  /// The labels of all rows, also those in lists.
  static LabelMap from_rows(const std::vector<LabelledText>& rows);

  std::int64_t size() const { return static_cast<std::int64_t>(names_.size()); }
  const std::vector<std::string>& names() const { return names_; }
  /// The id of a name, or -1.
  std::int64_t id_of(std::string_view name) const;

 private:
  std::vector<std::string> names_;
  // By name, or by canonical number.
  std::unordered_map<std::string, std::int64_t> ids_;
  bool numbers_ = false;
};

}  // namespace dtrain::data
