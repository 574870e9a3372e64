#include "data/readers/labelled_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>

#include "base/error.h"
#include "base/listing.h"
#include "data/readers/column_choice.h"
#include "data/readers/delimited_file.h"
#include "data/readers/json_records.h"
#include "data/readers/label_column.h"
#include "data/readers/text_content.h"
#include "data/tokenizers/text_normalizer.h"

namespace dtrain::data {
namespace {

namespace fs = std::filesystem;

Records read_tabs(std::string_view content, const std::string& name, const Columns& columns) {
  if (columns.separator == '\0' || columns.separator == '\t') return read_tsv(content, name);
  return read_csv(content, name, columns.separator);
}

Records read_commas(std::string_view content, const std::string& name, const Columns& columns) {
  const auto is_name = [&](std::string_view field) { return is_column_name(field, columns); };
  return read_csv(content, name, columns.separator != '\0' ? columns.separator : sniffed_separator(content, is_name));
}

Records read_objects(std::string_view content, const std::string& name, const Columns& columns) {
  Records records =
      read_json_records(content, name, [&](std::string_view key) { return is_label_column(key, columns); });
  if (records.rows.empty()) throw InputError(fmt::format("{}: there are no rows in it", name));
  if (records.columns.empty()) throw InputError(fmt::format("{}: its objects are empty", name));
  return records;
}

struct Format {
  const char* ending;
  Records (*read)(std::string_view content, const std::string& name, const Columns& columns);
  // Of a format whose records have no column names: the first line is a header unless something speaks against it.
  bool has_header = false;
};
// Every format there is. Adding one: its file pair here, a line, a line in CMakeLists.txt.
constexpr std::array kFormats = {Format{".tsv", read_tabs}, Format{".txt", read_tabs},
                                 Format{".csv", read_commas, /*has_header=*/true}, Format{".jsonl", read_objects},
                                 Format{".json", read_objects}};

const Format& format_of(const fs::path& path) {
  const std::string ending = small_extension(path);
  for (const Format& format : kFormats) {
    if (ending == format.ending) return format;
  }
  refuse_foreign_ending(path);
  throw InputError(fmt::format("{}: unknown kind of data file; expected a name that ends in {}", path.string(),
                               capped_list(data_file_endings())));
}

// Whether the tokenizer finds anything in a text; one of control characters alone has no tokens.
bool has_words(const std::string& text) {
  if (std::any_of(text.begin(), text.end(), [](char byte) { return byte > ' ' && byte != '\x7F'; })) return true;
  std::vector<std::string> words;
  append_words(text, {}, words);
  return !words.empty();
}

// The texts of a record; throws where it has none.
LabelledText texts_of(Record& record, const ColumnChoice& choice, const std::string& place) {
  const std::size_t needed = 1 + std::max({choice.label.value_or(0), choice.text, choice.pair.value_or(0)});
  if (record.fields.size() < needed) {
    throw InputError(fmt::format("{}: expected at least {} columns, found {}", place, needed, record.fields.size()));
  }
  for (const auto& [column, found] : record.without_text) {
    if (column != choice.text && column != choice.pair) continue;
    throw InputError(fmt::format("{}: expected a string in {} (text), found {}", place, choice.place(column), found));
  }
  LabelledText row;
  row.line = record.line;
  row.text = std::move(record.fields[choice.text]);
  if (choice.pair) row.pair = std::move(record.fields[*choice.pair]);
  return row;
}

// Rows with more fields than there are columns.
struct WideRows {
  std::int64_t count = 0;
  std::int64_t first_line = 0;
  // Of those, the ones whose surplus is not empty.
  std::int64_t with_text = 0;
  std::int64_t first_with_text = 0;

  void see(const Record& record, std::size_t width) {
    if (record.fields.size() <= width) return;
    if (++count == 1) first_line = record.line;
    const auto surplus = record.fields.begin() + static_cast<std::ptrdiff_t>(width);
    const bool has_text =
        std::any_of(surplus, record.fields.end(), [](const std::string& field) { return !is_blank(field); });
    if (has_text && ++with_text == 1) first_with_text = record.line;
  }
};

// A surplus that follows a text which ends the row may be the rest of that text. Elsewhere, and where every row has
// one, what is read may be another column's.
void refuse_moved_fields(const WideRows& wide, std::int64_t rows, const ColumnChoice& choice, const std::string& name) {
  const std::size_t last = choice.width - 1;
  const bool ends_with_text = last == choice.text || last == choice.pair;
  const bool in_all = rows > 1 && wide.with_text == rows;
  if (wide.with_text == 0 || (!in_all && ends_with_text)) return;
  throw InputError(fmt::format(
      "{}:{}: more fields than the {} columns ({} such row{} of {}), so that nobody can tell which is which; "
      "expected a field that holds the separator to be in quotes, and a name over every column (R's "
      "write.table: col.names = NA)",
      name, wide.first_with_text, choice.width, wide.with_text, wide.with_text == 1 ? "" : "s", rows));
}

// "a.json:3", and for rows that share a line which one it is.
std::string place_of_record(const Records& records, std::size_t index, const std::string& name) {
  const std::int64_t line = records.rows[index].line;
  const bool shared = (index > 0 && records.rows[index - 1].line == line) ||
                      (index + 1 < records.rows.size() && records.rows[index + 1].line == line);
  return shared ? fmt::format("{}:{} (row {})", name, line, index + 1) : fmt::format("{}:{}", name, line);
}

}  // namespace

LabelledTexts read_labelled_texts(const fs::path& path, const Columns& columns) {
  const std::string name = path.string();
  const Format& format = format_of(path);
  LabelledTexts texts;
  std::string content = read_text(path, texts.notes);
  Records records = format.read(content, name, columns);
  std::string().swap(content);  // large files: nothing is held twice for longer than it must be
  const ColumnChoice choice = choose_columns(records, columns, name, format.has_header);
  if (records.rows.empty()) throw InputError(fmt::format("{}: there are no rows below the header", name));
  texts.has_pairs = choice.pair.has_value();
  texts.columns_assumed = choice.assumed;
  texts.columns = choice.description();
  texts.format = records.format;
  texts.rows.reserve(records.rows.size());
  LabelColumn labels(choice, columns, name);
  std::int64_t without_words = 0;
  WideRows wide;
  for (std::size_t i = 0; i < records.rows.size(); ++i) {
    Record& record = records.rows[i];
    wide.see(record, choice.width);
    const std::string place = place_of_record(records, i, name);
    LabelledText row = texts_of(record, choice, place);
    if (labels.read(record, place, row)) {
      if (!has_words(row.text) && !has_words(row.pair)) ++without_words;
      texts.rows.push_back(std::move(row));
    }
    const std::int64_t line = record.line;
    record = {{}, line};
  }
  refuse_moved_fields(wide, static_cast<std::int64_t>(records.rows.size()), choice, name);
  const auto note = [&](std::int64_t count, const std::string& noun, const std::string& rest) {
    if (count > 0) texts.notes.push_back(fmt::format("{}: {} {}{} {}", name, count, noun, count == 1 ? "" : "s", rest));
  };
  note(records.blank_lines, "blank line", "skipped");
  note(wide.count, "row",
       fmt::format("with more than {} columns, the first on line {}; the others are not read", choice.width,
                   wide.first_line));
  note(without_words, "row", "without a visible character (kept)");
  labels.finish(texts);
  if (choice.header_doubtful) refuse_header_among_rows(texts, name);
  return texts;
}

const std::vector<std::string>& data_file_endings() {
  static const std::vector<std::string> endings = [] {
    std::vector<std::string> all;
    for (const Format& format : kFormats) all.emplace_back(format.ending);
    return all;
  }();
  return endings;
}

}  // namespace dtrain::data
