#pragma once

#include <string>
#include <vector>

namespace dtrain {

/// Rows of text shown in aligned columns: the first one and those of words to the left, those of numbers to the right.
/// More than half of a column's cells that are not empty decide.
struct Table {
  std::vector<std::string> header;
  std::vector<std::vector<std::string>> rows;
};

/// Of each column, whether it stands to the left.
std::vector<bool> left_columns(const Table& table);

/// For a terminal: two spaces between columns, a line under the header. Widths are those of text_columns.
std::string terminal_table(const Table& table);

/// For a Markdown file; bars in cells are escaped.
std::string markdown_table(const Table& plain);

}  // namespace dtrain
