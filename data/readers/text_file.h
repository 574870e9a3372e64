#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace dtrain::data {

/// One record of a data file: its fields and the line it begins on.
struct Record {
  std::vector<std::string> fields;
  std::int64_t line;
  /// Columns that hold no text here and what they hold instead: "missing", "array" or "object" (JSONL).
  std::vector<std::pair<std::size_t, const char*>> without_text = {};
};

/// A data file cut into records.
struct Records {
  /// The columns' names where the format gives them (JSONL); else empty, and the first record may be a header.
  std::vector<std::string> columns;
  std::vector<Record> rows;
  /// Lines of nothing but spaces that are followed by a row (a line end too many at the end of a file is no news).
  std::int64_t blank_lines = 0;
};

/// Readers of the formats, over valid UTF-8 without a byte-order mark. `name` is for messages; all throw InputError
/// with name:line:column.
Records read_tsv(std::string_view content, const std::string& name);
/// RFC 4180, a quoted field may hold line ends. Own code: the message needs the exact line and column of an open quote,
/// which the kept CSV libraries do not give.
Records read_csv(std::string_view content, const std::string& name);
/// An object a line; numbers and booleans become their JSON text, null an empty one. Arrays and objects are not read.
Records read_jsonl(std::string_view content, const std::string& name);

}  // namespace dtrain::data
