#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "data/readers/labelled_text.h"

namespace dtrain::data {

/// Class names and their ids: the sorted distinct labels (numerically where all are integers, else by bytes).
class LabelMap {
 public:
  LabelMap() = default;
  /// The names in the order of their ids, which must be distinct.
  explicit LabelMap(std::vector<std::string> names);
  static LabelMap from_rows(const std::vector<LabelledText>& rows);

  std::int64_t size() const { return static_cast<std::int64_t>(names_.size()); }
  const std::vector<std::string>& names() const { return names_; }
  /// The id of a name, or -1.
  std::int64_t id_of(std::string_view name) const;

 private:
  std::vector<std::string> names_;
  std::unordered_map<std::string, std::int64_t> ids_;
};

}  // namespace dtrain::data
