#include "data/readers/text_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_map>
#include <utility>

#include "base/error.h"

namespace dtrain::data {
namespace {

// Calls use(line, number) for each line without its end; CRLF counts as one.
template <typename Use>
void for_each_line(std::string_view content, const Use& use) {
  std::int64_t number = 0;
  while (!content.empty()) {
    ++number;
    const std::size_t end = content.find('\n');
    std::string_view line = content.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    use(line, number);
    content.remove_prefix(end == std::string_view::npos ? content.size() : end + 1);
  }
}

// Tabs are not blank: in a TSV they make empty fields.
bool is_blank(std::string_view line) { return line.find_first_not_of(' ') == std::string_view::npos; }

// Counts the blank lines that a row follows.
class BlankLines {
 public:
  void blank() { ++waiting_; }
  void row(Records& records) { records.blank_lines += std::exchange(waiting_, 0); }

 private:
  std::int64_t waiting_ = 0;
};

// What the JSON library says, without its name and its line, which is 1 always.
std::string reason_of(const nlohmann::json::exception& error) {
  const std::string_view text = error.what();
  const std::size_t position = text.find("column ");
  const std::size_t begin = position == std::string_view::npos ? text.find("] ") : text.find(": ", position);
  return std::string(begin == std::string_view::npos ? text : text.substr(begin + 2));
}

}  // namespace

Records read_tsv(std::string_view content, const std::string&) {
  Records records;
  BlankLines blank_lines;
  for_each_line(content, [&](std::string_view line, std::int64_t number) {
    if (is_blank(line)) return blank_lines.blank();
    blank_lines.row(records);
    Record record{{}, number};
    for (std::size_t begin = 0; begin <= line.size();) {
      const std::size_t end = std::min(line.find('\t', begin), line.size());
      record.fields.emplace_back(line.substr(begin, end - begin));
      begin = end + 1;
    }
    records.rows.push_back(std::move(record));
  });
  return records;
}

Records read_csv(std::string_view content, const std::string& name) {
  Records records;
  BlankLines blank_lines;
  std::int64_t line = 1;
  std::size_t line_begin = 0;
  std::size_t position = 0;
  while (position < content.size()) {
    Record record{{}, line};
    bool quoted_any = false;
    while (true) {
      std::string field;
      if (position < content.size() && content[position] == '"') {
        quoted_any = true;
        const std::int64_t open_line = line;
        const std::size_t open_column = position - line_begin + 1;
        ++position;
        while (true) {
          if (position >= content.size()) {
            throw InputError(fmt::format("{}:{}:{}: this quote is never closed; is the file complete?", name, open_line,
                                         open_column));
          }
          const char byte = content[position++];
          if (byte == '"') {
            if (position < content.size() && content[position] == '"') {
              field += '"';
              ++position;
              continue;
            }
            break;
          }
          if (byte == '\n') {
            ++line;
            line_begin = position;
          }
          field += byte;
        }
        if (position < content.size() && content[position] != ',' && content[position] != '\n' &&
            content[position] != '\r') {
          throw InputError(fmt::format("{}:{}:{}: expected a comma or a line end after the closing quote, found '{}'",
                                       name, line, position - line_begin + 1, content[position]));
        }
      } else {
        const std::size_t end = std::min(content.find_first_of(",\r\n", position), content.size());
        field = content.substr(position, end - position);
        position = end;
      }
      record.fields.push_back(std::move(field));
      if (position < content.size() && content[position] == ',') {
        ++position;
        continue;
      }
      break;
    }
    if (position < content.size() && content[position] == '\r') ++position;
    if (position < content.size() && content[position] == '\n') ++position;
    ++line;
    line_begin = position;
    const bool blank = record.fields.size() == 1 && !quoted_any && is_blank(record.fields[0]);
    if (blank) {
      blank_lines.blank();
    } else {
      blank_lines.row(records);
      records.rows.push_back(std::move(record));
    }
  }
  return records;
}

Records read_jsonl(std::string_view content, const std::string& name) {
  Records records;
  BlankLines blank_lines;
  std::unordered_map<std::string, std::size_t> column_of;
  for_each_line(content, [&](std::string_view line, std::int64_t number) {
    if (line.find_first_not_of(" \t") == std::string_view::npos) return blank_lines.blank();
    blank_lines.row(records);
    nlohmann::json object;
    try {
      object = nlohmann::json::parse(line);
    } catch (const nlohmann::json::parse_error& error) {
      throw InputError(fmt::format("{}:{}:{}: not a JSON object; is the file complete? ({})", name, number, error.byte,
                                   reason_of(error)));
    } catch (const nlohmann::json::exception& error) {  // a number beyond all bounds
      throw InputError(fmt::format("{}:{}: {}", name, number, reason_of(error)));
    }
    if (!object.is_object())
      throw InputError(fmt::format("{}:{}:1: expected a JSON object, found {}", name, number, object.type_name()));
    Record record{std::vector<std::string>(records.columns.size()), number};
    for (std::size_t column = 0; column < records.columns.size(); ++column) {
      if (!object.contains(records.columns[column])) record.without_text.emplace_back(column, "missing");
    }
    for (const auto& [key, value] : object.items()) {
      const auto [found, is_new] = column_of.emplace(key, records.columns.size());
      if (is_new) {
        records.columns.push_back(key);
        record.fields.resize(records.columns.size());
      }
      if (value.is_structured()) {
        record.without_text.emplace_back(found->second, value.type_name());
      } else {
        record.fields[found->second] = value.is_string() ? value.get<std::string>()
                                       : value.is_null() ? ""
                                                         : value.dump();
      }
    }
    records.rows.push_back(std::move(record));
  });
  for (Record& record : records.rows) {
    // A column that only a later row names.
    for (std::size_t column = record.fields.size(); column < records.columns.size(); ++column)
      record.without_text.emplace_back(column, "missing");
    record.fields.resize(records.columns.size());
  }
  return records;
}

}  // namespace dtrain::data
