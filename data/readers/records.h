#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace dtrain::data {

/// One record of a data file: its fields and the line it begins on.
struct Record {
  std::vector<std::string> fields;
  std::int64_t line;
  /// Columns that hold no text here and what they hold instead: "missing", "array" or "object" (JSON).
  std::vector<std::pair<std::size_t, const char*>> without_text = {};
  /// Columns that hold an array of texts, numbers or booleans (JSON; only of the columns that were asked for).
  std::vector<std::pair<std::size_t, std::vector<std::string>>> lists = {};
};

/// A data file cut into records.
struct Records {
  /// The columns' names where the format gives them (JSON); else empty, and the first record may be a header.
  std::vector<std::string> columns;
  std::vector<Record> rows;
  /// Lines of nothing but spaces that are followed by a row (a line end too many at the end of a file is no news).
  std::int64_t blank_lines = 0;
  /// How the file was read, in words: "tab-separated", "JSON lines".
  std::string format;
};

}  // namespace dtrain::data
