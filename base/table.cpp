#include "base/table.h"

#include <algorithm>
#include <cctype>

#include "base/text_columns.h"

namespace dtrain {
namespace {

struct Column {
  std::size_t width = 0;
  int words = 0;
  int others = 0;
  bool left() const { return words > others; }
};

std::vector<Column> columns_of(const Table& table) {
  std::vector<Column> columns(1);
  const auto widen = [&](const std::vector<std::string>& row) {
    columns.resize(std::max(columns.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) columns[i].width = std::max(columns[i].width, text_columns(row[i]));
  };
  widen(table.header);
  for (const auto& row : table.rows) {
    widen(row);
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (row[i].empty()) continue;
      ++(std::isalpha(static_cast<unsigned char>(row[i][0])) != 0 ? columns[i].words : columns[i].others);
    }
  }
  columns[0].words = 1;
  columns[0].others = 0;
  return columns;
}

std::string joined(const std::vector<std::string>& row, const std::vector<Column>& columns, const std::string& before,
                   const std::string& between, const std::string& after) {
  std::string line = before;
  for (std::size_t i = 0; i < columns.size(); ++i) {
    const std::string cell = i < row.size() ? row[i] : "";
    const std::string space(columns[i].width - text_columns(cell), ' ');
    if (i > 0) line += between;
    line += columns[i].left() ? cell + space : space + cell;
  }
  line += after;
  line.erase(line.find_last_not_of(' ') + 1);
  return line + "\n";
}

// A bar would end the cell.
std::vector<std::string> escaped(std::vector<std::string> row) {
  for (std::string& cell : row) {
    for (std::size_t bar = cell.find('|'); bar != std::string::npos; bar = cell.find('|', bar + 2))
      cell.insert(bar, "\\");
  }
  return row;
}

}  // namespace

std::vector<bool> left_columns(const Table& table) {
  std::vector<bool> left;
  for (const Column& column : columns_of(table)) left.push_back(column.left());
  return left;
}

std::string terminal_table(const Table& table) {
  const auto columns = columns_of(table);
  std::vector<std::string> rule;
  for (const Column& column : columns) {
    std::string dashes;
    for (std::size_t i = 0; i < column.width; ++i) dashes += "─";
    rule.push_back(dashes);
  }
  std::string text = joined(table.header, columns, "", "  ", "") + joined(rule, columns, "", "  ", "");
  for (const auto& row : table.rows) text += joined(row, columns, "", "  ", "");
  return text;
}

std::string markdown_table(const Table& plain) {
  Table table{escaped(plain.header), {}};
  for (const auto& row : plain.rows) table.rows.push_back(escaped(row));
  auto columns = columns_of(table);
  std::vector<std::string> rule;
  for (Column& column : columns) {
    column.width = std::max<std::size_t>(column.width, 3);  // for the rule's dashes and colon
    rule.push_back(column.left() ? std::string(column.width, '-') : std::string(column.width - 1, '-') + ":");
  }
  std::string text = joined(table.header, columns, "| ", " | ", " |") + joined(rule, columns, "| ", " | ", " |");
  for (const auto& row : table.rows) text += joined(row, columns, "| ", " | ", " |");
  return text;
}

}  // namespace dtrain
