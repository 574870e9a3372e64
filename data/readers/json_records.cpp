#include "data/readers/json_records.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/json_file.h"
#include "data/readers/text_content.h"

namespace dtrain::data {
namespace {

using nlohmann::json;

constexpr std::string_view kBlanks = " \t\r\n";
// Of a file that is small.
constexpr std::size_t kMostCells = 1'000'000;
constexpr std::size_t kNone = std::string_view::npos;

std::string text_of(const json& value) {
  return value.is_string() ? value.get<std::string>() : value.is_null() ? "" : value.dump();
}

// Texts, numbers and booleans; nothing where the array holds others.
std::optional<std::vector<std::string>> list_of(const json& array) {
  std::vector<std::string> list;
  for (const json& value : array) {
    if (value.is_structured() || value.is_null()) return std::nullopt;
    list.push_back(text_of(value));
  }
  return list;
}

// The position behind a value that begins at `at`, or kNone where the text ends within it. It need not be valid.
std::size_t end_of_value(std::string_view content, std::size_t at) {
  std::size_t depth = 0;
  while (at < content.size()) {
    const char byte = content[at];
    if (byte == '"') {
      for (++at; at < content.size() && content[at] != '"'; ++at) at += content[at] == '\\' ? 1 : 0;
      if (at >= content.size()) return kNone;
      if (++at; depth == 0) return at;
    } else if (byte == '{' || byte == '[') {
      ++depth;
      ++at;
    } else if (byte == '}' || byte == ']') {
      if (depth == 0) return at;
      if (++at; --depth == 0) return at;
    } else if (depth == 0) {
      return std::min(content.find_first_of(",:]}\"{[ \t\r\n", at + 1), content.size());
    } else {
      ++at;
    }
  }
  return kNone;
}

std::size_t next_byte(std::string_view content, std::size_t at) { return content.find_first_not_of(kBlanks, at); }

bool is_at(std::string_view content, std::size_t at, char byte) { return at < content.size() && content[at] == byte; }

// Gathers objects as records over the columns of all of them.
class ObjectRecords {
 public:
  ObjectRecords(std::string_view content, const std::string& name,
                const std::function<bool(std::string_view)>& keeps_lists)
      : content_(content), name_(name), keeps_lists_(keeps_lists) {}

  // The object that begins at an offset, on a line.
  void add(std::size_t offset, std::size_t size, std::int64_t line) {
    const json object = parse_json(content_.substr(offset, size), [&](std::size_t byte) {
      return fmt::format("{}:{}", name_, place_of(content_, offset + byte));
    });
    if (!object.is_object()) {
      throw InputError(fmt::format("{}:{}: expected a JSON object, found {}", name_, place_of(content_, offset),
                                   object.type_name()));
    }
    Record record{std::vector<std::string>(records_.columns.size()), line};
    for (std::size_t column = 0; column < records_.columns.size(); ++column) {
      if (!object.contains(records_.columns[column])) record.without_text.emplace_back(column, "missing");
    }
    for (const auto& [key, value] : object.items()) take(key, value, record);
    records_.rows.push_back(std::move(record));
    // Every row gets a field for every key of the file.
    if (records_.rows.size() * records_.columns.size() <= kMostCells + 4 * content_.size()) return;
    throw InputError(
        fmt::format("{}:{}: {} different keys in {} rows, and few rows have many of them; expected a table, "
                    "the same keys in each row",
                    name_, place_of(content_, offset), records_.columns.size(), records_.rows.size()));
  }

  void count_blank_lines(std::int64_t count) { records_.blank_lines += count; }

  Records finished(std::string format) {
    for (Record& record : records_.rows) {
      // A column that only a later row names.
      for (std::size_t column = record.fields.size(); column < records_.columns.size(); ++column)
        record.without_text.emplace_back(column, "missing");
      record.fields.resize(records_.columns.size());
    }
    records_.format = std::move(format);
    return std::move(records_);
  }

 private:
  void take(const std::string& key, const json& value, Record& record) {
    const auto [found, is_new] = column_of_.emplace(key, records_.columns.size());
    const std::size_t column = found->second;
    if (is_new) {
      records_.columns.push_back(key);
      record.fields.resize(records_.columns.size());
    }
    if (!value.is_structured()) {
      record.fields[column] = text_of(value);
      return;
    }
    record.without_text.emplace_back(column, value.type_name());
    if (!value.is_array() || !keeps_lists_(key)) return;
    if (auto list = list_of(value)) record.lists.emplace_back(column, std::move(*list));
  }

  std::string_view content_;
  const std::string& name_;
  const std::function<bool(std::string_view)>& keeps_lists_;
  Records records_;
  std::unordered_map<std::string, std::size_t> column_of_;
};

Records read_lines(std::string_view content, ObjectRecords objects) {
  std::int64_t waiting = 0;  // blank lines count where a row follows
  Lines lines(content);
  for (std::string_view line; lines.next(line);) {
    if (line.find_first_not_of(" \t") == kNone) {
      ++waiting;
      continue;
    }
    objects.count_blank_lines(std::exchange(waiting, 0));
    objects.add(static_cast<std::size_t>(line.data() - content.data()), line.size(), lines.number());
  }
  return objects.finished("JSON lines");
}

// The array whose bracket is at `open`.
Records read_array(std::string_view content, std::size_t open, const std::string& name, ObjectRecords objects) {
  const auto refuse = [&](std::size_t at, const std::string& what) {
    throw InputError(fmt::format("{}:{}: {}", name, place_of(content, at), what));
  };
  std::int64_t line = 1;
  std::size_t counted = 0;
  std::size_t at = next_byte(content, open + 1);
  while (!is_at(content, at, ']')) {
    if (at == kNone) refuse(open, "this array is never closed; is the file complete?");
    const std::size_t end = end_of_value(content, at);
    for (; counted < at; ++counted) {
      const bool is_end = content[counted] == '\n' || (content[counted] == '\r' && content[counted + 1] != '\n');
      line += is_end ? 1 : 0;
    }
    objects.add(at, end == kNone ? kNone : end - at, line);
    at = next_byte(content, end);
    if (is_at(content, at, ',')) {
      at = next_byte(content, at + 1);
      if (is_at(content, at, ']')) refuse(at, "expected an object after the comma, found ']'");
    } else if (at != kNone && content[at] != ']') {
      refuse(at, fmt::format("expected ',' or ']' after an object, found '{}'", code_point_at(content, at)));
    }
  }
  return objects.finished("a JSON array");
}

// Where the array of objects of one object begins that fills the file: "data", or the only one. Nothing where it has
// none or is not valid.
std::optional<std::size_t> array_within(std::string_view content, std::size_t open) {
  std::vector<std::size_t> arrays;
  std::size_t at = next_byte(content, open + 1);
  while (is_at(content, at, '"')) {
    const std::size_t key_end = end_of_value(content, at);
    if (key_end == kNone) return std::nullopt;
    const std::string_view key = content.substr(at, key_end - at);
    at = next_byte(content, key_end);
    if (!is_at(content, at, ':')) return std::nullopt;
    at = next_byte(content, at + 1);
    if (is_at(content, at, '[') && is_at(content, next_byte(content, at + 1), '{')) {
      if (key == "\"data\"") return at;
      arrays.push_back(at);
    }
    if (at == kNone) return std::nullopt;
    const std::size_t end = end_of_value(content, at);
    at = end == kNone ? kNone : next_byte(content, end);
    if (is_at(content, at, ',')) at = next_byte(content, at + 1);
  }
  return arrays.size() == 1 ? std::optional(arrays[0]) : std::nullopt;
}

// One object that holds each column as a whole, as pandas' to_json writes where it is not told otherwise.
void refuse_columns(std::string_view content, const std::string& name) {
  json object;
  try {
    object = parse_json(content, name);
  } catch (const InputError&) {
    return;  // said with its place where the rows are read
  }
  if (!object.is_object() || object.empty()) return;
  const bool of_columns =
      std::all_of(object.begin(), object.end(), [](const json& value) { return value.is_structured(); });
  if (!of_columns) return;
  throw InputError(
      fmt::format("{}: one JSON object that holds whole columns; expected an object a row, one a line or in an array; "
                  "pandas writes "
                  "them with to_json(FILE, orient='records', lines=True), datasets with to_json(FILE)",
                  name));
}

}  // namespace

Records read_json_records(std::string_view content, const std::string& name,
                          const std::function<bool(std::string_view)>& keeps_lists) {
  const ObjectRecords objects(content, name, keeps_lists);
  const std::size_t open = next_byte(content, 0);
  const std::size_t end = open == kNone ? kNone : end_of_value(content, open);
  const std::size_t rest = end == kNone ? kNone : next_byte(content, end);
  if (is_at(content, open, '[')) {
    if (rest != kNone) {
      throw InputError(fmt::format("{}:{}: expected the end of the file after the array, found '{}'", name,
                                   place_of(content, rest), code_point_at(content, rest)));
    }
    return read_array(content, open, name, objects);
  }
  if (is_at(content, open, '{') && end != kNone && rest == kNone) {
    if (const auto array = array_within(content, open)) return read_array(content, *array, name, objects);
    refuse_columns(content, name);
    if (content.substr(open, end - open).find_first_of("\r\n") != kNone) {
      ObjectRecords one = objects;
      one.add(open, end - open, 1);
      return one.finished("a JSON object");
    }
  }
  return read_lines(content, objects);
}

}  // namespace dtrain::data
