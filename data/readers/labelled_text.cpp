#include "data/readers/labelled_text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <utf8cpp/utf8.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <optional>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/nearest_name.h"
#include "data/readers/text_file.h"
#include "data/tokenizers/text_normalizer.h"

namespace dtrain::data {
namespace {

namespace fs = std::filesystem;

struct Format {
  const char* ending;
  Records (*read)(std::string_view content, const std::string& name);
};
// Every format there is. Adding one: its reader and a line here.
constexpr std::array<Format, 4> kFormats = {
    {{".tsv", read_tsv}, {".txt", read_tsv}, {".csv", read_csv}, {".jsonl", read_jsonl}}};

const std::vector<std::string> kLabelNames = {"label"};
const std::vector<std::string> kTextNames = {"text", "sentence", "sentence1"};
const std::vector<std::string> kPairNames = {"pair", "sentence2"};

// "line:column" of a byte, both from 1.
std::string place_of(std::string_view content, std::size_t offset) {
  const std::string_view before = content.substr(0, offset);
  const std::size_t line_begin = before.rfind('\n') + 1;  // 0 on the first line, where rfind gives npos
  return fmt::format("{}:{}", 1 + std::count(before.begin(), before.end(), '\n'), offset - line_begin + 1);
}

// Valid UTF-8, with what was replaced in a note.
std::string cleaned(std::string content, const std::string& name, std::vector<std::string>& notes) {
  if (content.starts_with("\xEF\xBB\xBF")) content.erase(0, 3);
  if (content.starts_with("\xFF\xFE") || content.starts_with("\xFE\xFF"))
    throw InputError(fmt::format("{}:1:1: the file is UTF-16; save it as UTF-8", name));
  const std::size_t nul = content.find('\0');
  if (nul != std::string::npos) {
    throw InputError(fmt::format("{}:{}: a NUL byte; expected a text file, this looks like a binary one", name,
                                 place_of(content, nul)));
  }
  const auto invalid = utf8::find_invalid(content.begin(), content.end());
  if (invalid == content.end()) return content;
  const auto offset = static_cast<std::size_t>(invalid - content.begin());
  std::string valid;
  utf8::replace_invalid(content.begin(), content.end(), std::back_inserter(valid));
  std::int64_t bad_lines = 0;
  for (std::size_t begin = 0; begin < content.size();) {
    const std::size_t end = std::min(content.find('\n', begin), content.size());
    if (!utf8::is_valid(content.begin() + static_cast<std::ptrdiff_t>(begin),
                        content.begin() + static_cast<std::ptrdiff_t>(end)))
      ++bad_lines;
    begin = end + 1;
  }
  notes.push_back(fmt::format("{}:{}: invalid UTF-8, replaced by U+FFFD ({} line{} in all)", name,
                              place_of(content, offset), bad_lines, bad_lines == 1 ? "" : "s"));
  return valid;
}

std::optional<std::size_t> position_of(const std::vector<std::string>& columns, const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    const auto found = std::find(columns.begin(), columns.end(), name);
    if (found != columns.end()) return static_cast<std::size_t>(found - columns.begin());
  }
  return std::nullopt;
}

struct Places {
  std::optional<std::size_t> label;
  std::optional<std::size_t> text;
  std::optional<std::size_t> pair;
  // How many columns the header or, without one, the first row has.
  std::size_t columns = 0;
};

// The column named by the option, or by Hugging Face's names where there is no option.
std::optional<std::size_t> place(const std::vector<std::string>& columns, const std::string& asked,
                                 const std::vector<std::string>& defaults, const char* option,
                                 const std::string& name) {
  if (asked.empty()) return position_of(columns, defaults);
  const auto found = position_of(columns, {asked});
  if (!found) {
    throw InputError(fmt::format("{}: there is no column '{}' ({}){}; there are: {}", name, asked, option,
                                 did_you_mean(asked, columns), fmt::join(columns, ", ")));
  }
  return found;
}

Places find_places(Records& records, const Columns& asked, const std::string& name, bool headerless_allowed) {
  if (records.columns.empty()) {
    const auto& first = records.rows.front().fields;
    const bool named_by_option = !asked.text.empty() || !asked.label.empty() || !asked.pair.empty();
    const bool is_header =
        named_by_option || position_of(first, kTextNames).has_value() || position_of(first, kLabelNames).has_value();
    if (!is_header && headerless_allowed) {
      const std::size_t width = first.size();
      if (!asked.label_required && width == 1) return {std::nullopt, 0, std::nullopt, width};
      return {0, 1, width > 2 ? std::optional<std::size_t>(2) : std::nullopt, width};
    }
    records.columns = first;
    records.rows.erase(records.rows.begin());
  }
  Places places{place(records.columns, asked.label, kLabelNames, "--label-column", name),
                place(records.columns, asked.text, kTextNames, "--text-column", name),
                place(records.columns, asked.pair, kPairNames, "--pair-column", name), records.columns.size()};
  if (!places.text) {
    throw InputError(fmt::format("{}: no column named {}; name it with --text-column. There are: {}", name,
                                 fmt::join(kTextNames, " or "), fmt::join(records.columns, ", ")));
  }
  if (!places.label && asked.label_required) {
    throw InputError(fmt::format("{}: no column named label; name it with --label-column. There are: {}", name,
                                 fmt::join(records.columns, ", ")));
  }
  return places;
}

// Whether the tokenizer finds anything in a text; one of control characters alone has no tokens.
bool has_words(const std::string& text) {
  if (std::any_of(text.begin(), text.end(), [](char byte) { return byte > ' ' && byte != '\x7F'; })) return true;
  std::vector<std::string> words;
  append_words(text, {}, words);
  return !words.empty();
}

// Texts and label of a record; throws where it has none.
LabelledText row_of(Record& record, const Places& places, const Columns& asked, const std::string& name) {
  const std::size_t needed = 1 + std::max({places.label.value_or(0), *places.text, places.pair.value_or(0)});
  if (record.fields.size() < needed) {
    throw InputError(
        fmt::format("{}:{}: expected at least {} columns, found {}", name, record.line, needed, record.fields.size()));
  }
  for (const auto& [column, found] : record.without_text) {
    const bool is_label = column == places.label;
    if (is_label ? asked.label_required : column == *places.text || column == places.pair) {
      throw InputError(fmt::format("{}:{}: expected a string in column {} ({}), found {}", name, record.line,
                                   column + 1, is_label ? "label" : "text", found));
    }
  }
  LabelledText row;
  row.line = record.line;
  row.text = std::move(record.fields[*places.text]);
  if (places.pair) row.pair = std::move(record.fields[*places.pair]);
  if (places.label) row.label = std::move(record.fields[*places.label]);
  if (asked.label_required && row.label.empty())
    throw InputError(fmt::format("{}:{}: the label (column {}) is empty", name, record.line, *places.label + 1));
  return row;
}

}  // namespace

LabelledTexts read_labelled_texts(const fs::path& path, const Columns& columns) {
  const std::string name = path.string();
  std::vector<std::string> endings;
  const Format* format = nullptr;
  for (const Format& known : kFormats) {
    endings.emplace_back(known.ending);
    if (path.extension() == known.ending) format = &known;
  }
  if (format == nullptr) {
    throw InputError(
        fmt::format("{}: unknown kind of data file; expected a name that ends in {}", name, fmt::join(endings, ", ")));
  }
  LabelledTexts texts;
  std::string content = cleaned(read_file(path), name, texts.notes);
  if (content.find_first_not_of(" \t\r\n") == std::string::npos)
    throw InputError(fmt::format("{}: the file is empty", name));
  Records records = format->read(content, name);
  std::string().swap(content);  // large files: nothing is held twice for longer than it must be
  const Places places = find_places(records, columns, name, format->read == read_tsv);
  if (records.rows.empty()) throw InputError(fmt::format("{}: there are no rows below the header", name));
  texts.has_pairs = places.pair.has_value();
  texts.has_labels = places.label.has_value();
  texts.rows.reserve(records.rows.size());
  std::int64_t without_words = 0;
  std::int64_t too_wide = 0;
  std::int64_t first_too_wide = 0;
  for (Record& record : records.rows) {
    if (record.fields.size() > places.columns && ++too_wide == 1) first_too_wide = record.line;
    texts.rows.push_back(row_of(record, places, columns, name));
    record = {};
    if (!has_words(texts.rows.back().text) && !has_words(texts.rows.back().pair)) ++without_words;
  }
  const auto note = [&](std::int64_t count, const std::string& noun, const std::string& rest) {
    if (count > 0) texts.notes.push_back(fmt::format("{}: {} {}{} {}", name, count, noun, count == 1 ? "" : "s", rest));
  };
  note(records.blank_lines, "blank line", "skipped");
  note(too_wide, "row",
       fmt::format("with more than {} columns, the first on line {}; the others are not read", places.columns,
                   first_too_wide));
  note(without_words, "row", "without a visible character (kept)");
  return texts;
}

}  // namespace dtrain::data
