#include "base/table.h"

#include <algorithm>

namespace dtrain {
namespace {

std::size_t width_of(const std::string& text) {
  return static_cast<std::size_t>(std::count_if(
      text.begin(), text.end(), [](char byte) { return (static_cast<unsigned char>(byte) & 0xC0) != 0x80; }));
}

std::vector<std::size_t> column_widths(const Table& table) {
  std::vector<std::size_t> widths;
  const auto widen = [&](const std::vector<std::string>& row) {
    widths.resize(std::max(widths.size(), row.size()), 0);
    for (std::size_t column = 0; column < row.size(); ++column) {
      widths[column] = std::max(widths[column], width_of(row[column]));
    }
  };
  widen(table.header);
  for (const auto& row : table.rows) widen(row);
  return widths;
}

std::string joined(const std::vector<std::string>& row, const std::vector<std::size_t>& widths,
                   const std::string& before, const std::string& between, const std::string& after) {
  std::string line = before;
  for (std::size_t column = 0; column < widths.size(); ++column) {
    const std::string cell = column < row.size() ? row[column] : "";
    const std::string space(widths[column] - width_of(cell), ' ');
    if (column > 0) line += between;
    line += column == 0 ? cell + space : space + cell;
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

std::string terminal_table(const Table& table) {
  const auto widths = column_widths(table);
  std::vector<std::string> rule;
  for (const std::size_t width : widths) {
    std::string dashes;
    for (std::size_t i = 0; i < width; ++i) dashes += "─";
    rule.push_back(dashes);
  }
  std::string text = joined(table.header, widths, "", "  ", "") + joined(rule, widths, "", "  ", "");
  for (const auto& row : table.rows) text += joined(row, widths, "", "  ", "");
  return text;
}

std::string markdown_table(const Table& plain) {
  Table table{escaped(plain.header), {}};
  for (const auto& row : plain.rows) table.rows.push_back(escaped(row));
  auto widths = column_widths(table);
  for (std::size_t& width : widths) width = std::max<std::size_t>(width, 3);  // for the rule's dashes and colon
  std::vector<std::string> rule;
  for (std::size_t column = 0; column < widths.size(); ++column) {
    rule.push_back(column == 0 ? std::string(widths[column], '-') : std::string(widths[column] - 1, '-') + ":");
  }
  std::string text = joined(table.header, widths, "| ", " | ", " |") + joined(rule, widths, "| ", " | ", " |");
  for (const auto& row : table.rows) text += joined(row, widths, "| ", " | ", " |");
  return text;
}

}  // namespace dtrain
