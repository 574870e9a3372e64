#include "data/readers/delimited_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "base/error.h"
#include "data/readers/number_text.h"
#include "data/readers/text_content.h"

namespace dtrain::data {
namespace {

struct Field {
  std::string text;
  bool quoted = false;
  std::size_t begin = 0;
};

struct Fault {
  std::size_t offset;
  std::string what;
  std::size_t field;  // where it begins
};

// Cuts a text into records, one after the other, with or without a meaning of quotes.
class RecordReader {
 public:
  RecordReader(std::string_view content, char separator, bool quoting)
      : content_(content), separator_(separator), quoting_(quoting), ends_{separator, '\r', '\n'} {}

  // False at the end, and where the quotes are at fault.
  bool next(std::vector<Field>& fields) {
    fields.clear();
    if (position_ >= content_.size()) return false;
    line_ = next_line_;
    while (true) {
      Field& field = fields.emplace_back();
      field.begin = position_;
      if (quoting_ && at('"')) {
        if (!read_quoted(field)) return false;
      } else {
        const std::size_t end = std::min(content_.find_first_of(ends_, position_), content_.size());
        field.text = content_.substr(position_, end - position_);
        position_ = end;
      }
      if (!at(separator_)) break;
      ++position_;
    }
    if (at('\r')) ++position_;
    if (at('\n')) ++position_;
    ++next_line_;
    return true;
  }

  // On which the record begins.
  std::int64_t line() const { return line_; }
  const std::optional<Fault>& fault() const { return fault_; }

 private:
  bool at(char byte) const { return position_ < content_.size() && content_[position_] == byte; }

  bool read_quoted(Field& field) {
    field.quoted = true;
    const std::size_t open = position_++;
    while (true) {
      const std::size_t quote = content_.find('"', position_);
      if (quote == std::string_view::npos) {
        fault_ = {open, "this quote is never closed; is the file complete?", open};
        return false;
      }
      field.text += content_.substr(position_, quote - position_);
      position_ = quote + 1;
      if (!at('"')) break;
      field.text += '"';
      ++position_;
    }
    if (position_ < content_.size() && ends_.find(content_[position_]) == std::string::npos) {
      fault_ = {position_,
                fmt::format("expected a {} or a line end after the closing quote, found '{}'",
                            separator_name(separator_), code_point_at(content_, position_)),
                open};
      return false;
    }
    for (std::size_t i = 0; i < field.text.size(); ++i) {
      const char byte = field.text[i];
      if (byte == '\n' || (byte == '\r' && (i + 1 == field.text.size() || field.text[i + 1] != '\n'))) ++next_line_;
    }
    return true;
  }

  std::string_view content_;
  char separator_;
  bool quoting_;
  std::string ends_;
  std::size_t position_ = 0;
  std::int64_t line_ = 0;
  std::int64_t next_line_ = 1;
  std::optional<Fault> fault_;
};

bool is_blank_record(const std::vector<Field>& fields) {
  return fields.size() == 1 && !fields[0].quoted && is_blank(fields[0].text);
}

// Counts the blank lines that a row follows.
class BlankLines {
 public:
  void blank() { ++waiting_; }
  void row(Records& records) { records.blank_lines += std::exchange(waiting_, 0); }

 private:
  std::int64_t waiting_ = 0;
};

Records read_all(std::string_view content, const std::string& name, char separator, bool quoting) {
  Records records;
  BlankLines blank_lines;
  RecordReader reader(content, separator, quoting);
  for (std::vector<Field> fields; reader.next(fields);) {
    if (is_blank_record(fields)) {
      blank_lines.blank();
      continue;
    }
    blank_lines.row(records);
    Record record{{}, reader.line()};
    record.fields.reserve(fields.size());
    for (Field& field : fields) record.fields.push_back(std::move(field.text));
    records.rows.push_back(std::move(record));
  }
  if (const auto& fault = reader.fault())
    throw InputError(fmt::format("{}:{}: {}", name, place_of(content, fault->offset), fault->what));
  return records;
}

bool any_field_begins_with_a_quote(std::string_view content) {
  for (std::size_t at = content.find('"'); at != std::string_view::npos; at = content.find('"', at + 1)) {
    if (at == 0 || content[at - 1] == '\t' || content[at - 1] == '\n' || content[at - 1] == '\r') return true;
  }
  return false;
}

// What is seen in a TSV when it is read as if it were quoted.
struct QuotesSeen {
  std::optional<Fault> fault;
  bool first_is_all_quoted = false;         // of two fields or more
  std::optional<std::size_t> joined_lines;  // where the first field begins that has a line end
  bool plain_words = false;                 // a field without quotes that is no number
  // Whether the fields with quotes are just those that hold one of these: as pandas and as Excel quote.
  bool by_pandas = true;
  bool by_excel = true;
};

QuotesSeen quotes_seen(std::string_view content) {
  QuotesSeen seen;
  RecordReader reader(content, '\t', true);
  bool first = true;
  for (std::vector<Field> fields; reader.next(fields);) {
    if (is_blank_record(fields)) continue;
    const bool all_quoted = std::all_of(fields.begin(), fields.end(), [](const Field& field) { return field.quoted; });
    if (first) seen.first_is_all_quoted = all_quoted && fields.size() > 1;
    first = false;
    for (const Field& field : fields) {
      seen.by_pandas &= field.quoted == (field.text.find_first_of("\t\"\r\n") != std::string::npos);
      seen.by_excel &= field.quoted == (field.text.find_first_of("\t\"\r\n,") != std::string::npos);
      if (!seen.joined_lines && field.text.find_first_of("\r\n") != std::string::npos) seen.joined_lines = field.begin;
      seen.plain_words |= !field.quoted && !field.text.empty() && !canonical_number(field.text);
    }
  }
  seen.fault = reader.fault();
  return seen;
}

// Whether every line has the same number of fields, two or more: then no line end is within quotes.
bool lines_have_equal_fields(std::string_view content) {
  RecordReader reader(content, '\t', false);
  std::size_t width = 0;
  for (std::vector<Field> fields; reader.next(fields);) {
    if (is_blank_record(fields)) continue;
    if (width != 0 && fields.size() != width) return false;
    width = fields.size();
  }
  return width > 1;
}

// The first line that only makes sense as a quoted one: cut by its quotes it has the first line's number of fields, and
// one of them holds a tab or a quote. 0: there is none.
std::int64_t line_that_is_quoted(std::string_view content) {
  std::size_t width = 0;
  Lines lines(content);
  std::vector<Field> fields;
  for (std::string_view line; lines.next(line);) {
    if (width > 0 && !any_field_begins_with_a_quote(line)) continue;
    RecordReader reader(line, '\t', true);
    if (!reader.next(fields) || is_blank_record(fields)) continue;
    if (width == 0) width = fields.size();
    const bool needs_quotes = std::any_of(fields.begin(), fields.end(), [](const Field& field) {
      return field.quoted && field.text.find_first_of("\t\"") != std::string::npos;
    });
    if (needs_quotes && fields.size() == width) return lines.number();
  }
  return 0;
}

// Whether a TSV is quoted as CSV is. Throws where some lines must be and others cannot be.
bool is_quoted(std::string_view content, const std::string& name) {
  if (!any_field_begins_with_a_quote(content)) return false;
  const QuotesSeen seen = quotes_seen(content);
  if (seen.first_is_all_quoted) return true;  // where it is at fault later, reading says so
  const bool split = seen.joined_lines && lines_have_equal_fields(content);
  if (!seen.fault && !split && (!seen.plain_words || seen.by_pandas || seen.by_excel)) return true;
  const std::int64_t quoted_line = line_that_is_quoted(content);
  if (quoted_line == 0) return false;
  if (!seen.fault && !split) return true;
  throw InputError(
      fmt::format("{}:{}: this field begins with a quote and is not quoted as CSV is, which line {} is; expected all "
                  "fields of a file "
                  "to be written in one way",
                  name, place_of(content, seen.fault ? seen.fault->field : *seen.joined_lines), quoted_line));
}

// How well a separator explains the beginning of a file: known names in its first line, then two or more fields in
// every record, and as many.
std::tuple<std::int64_t, bool> fit(std::string_view content, char separator,
                                   const std::function<bool(std::string_view)>& is_column_name) {
  constexpr int kRecords = 100;
  RecordReader reader(content, separator, true);
  std::int64_t names = 0;
  std::size_t width = 0;
  int records = 0;
  for (std::vector<Field> fields; records < kRecords && reader.next(fields);) {
    if (is_blank_record(fields)) continue;
    if (records++ == 0) {
      width = fields.size();
      names =
          std::count_if(fields.begin(), fields.end(), [&](const Field& field) { return is_column_name(field.text); });
    } else if (fields.size() != width) {
      return {names, false};
    }
  }
  return {names, width > 1 && !reader.fault()};
}

}  // namespace

Records read_tsv(std::string_view content, const std::string& name) {
  const bool quoted = is_quoted(content, name);
  Records records = read_all(content, name, '\t', quoted);
  records.format = quoted ? "tab-separated, quoted as CSV is" : "tab-separated";
  return records;
}

Records read_csv(std::string_view content, const std::string& name, char separator) {
  Records records = read_all(content, name, separator, true);
  records.format = separator_name(separator) + "-separated";
  return records;
}

char sniffed_separator(std::string_view content, const std::function<bool(std::string_view)>& is_column_name) {
  char best = ',';
  auto best_fit = fit(content, best, is_column_name);
  for (const char separator : {';', '\t', '|'}) {
    const auto found = fit(content, separator, is_column_name);
    if (found <= best_fit) continue;
    best = separator;
    best_fit = found;
  }
  return best;
}

std::string separator_name(char separator) {
  constexpr std::array<std::pair<char, const char*>, 5> kNames = {
      {{',', "comma"}, {';', "semicolon"}, {'\t', "tab"}, {'|', "bar"}, {' ', "space"}}};
  for (const auto& [known, name] : kNames) {
    if (known == separator) return name;
  }
  return fmt::format("'{}'", separator);
}

}  // namespace dtrain::data
