#include "data/readers/column_choice.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "base/error.h"
#include "base/listing.h"
#include "base/nearest_name.h"
#include "data/readers/text_content.h"

namespace dtrain::data {
namespace {

using Place = std::optional<std::size_t>;
using Names = std::vector<std::string>;

const Names kLabelNames = {"label", "labels", "gold_label"};
const Names kTextNames = {"text", "sentence", "sentence1"};
const Names kPairNames = {"pair", "text_pair"};
// The two texts of tasks of pairs, as GLUE, XNLI, ANLI, BoolQ, PAWS, SICK, MS MARCO and Sentence Transformers call
// them. The text alone is known under the first names too, where its partner is not there.
const std::vector<std::pair<std::string, std::string>> kPairs = {
    {"sentence1", "sentence2"}, {"question1", "question2"}, {"premise", "hypothesis"},   {"question", "sentence"},
    {"text", "text_pair"},      {"text", "pair"},           {"text1", "text2"},          {"sentence", "pair"},
    {"sentence1", "pair"},      {"query", "passage"},       {"query", "document"},       {"question", "passage"},
    {"question", "context"},    {"question", "answer"},     {"sentence_a", "sentence_b"}};

std::string lower(std::string_view text) {
  std::string lowered(text);
  for (char& byte : lowered) byte = byte >= 'A' && byte <= 'Z' ? static_cast<char>(byte - 'A' + 'a') : byte;
  return lowered;
}

// The column of a name; where none has just this one, one that differs by the case of ASCII letters.
Place position_of(const Names& columns, const std::string& name) {
  auto found = std::find(columns.begin(), columns.end(), name);
  if (found == columns.end()) {
    found = std::find_if(columns.begin(), columns.end(),
                         [&](const std::string& column) { return lower(column) == lower(name); });
  }
  return found == columns.end() ? std::nullopt : Place(static_cast<std::size_t>(found - columns.begin()));
}

Place position_of_any(const Names& columns, const Names& names) {
  for (const std::string& name : names) {
    if (const Place found = position_of(columns, name)) return found;
  }
  return std::nullopt;
}

// A column's number, from 1; 0 where the text is no such number.
std::size_t number_of(const std::string& text) {
  std::size_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() ? number : 0;
}

bool wants_no_pair(const Columns& asked) { return asked.pair == "none"; }

// A name or number that an option asks for.
struct Asked {
  const std::string& text;
  const char* option;

  bool is_name() const { return !text.empty() && number_of(text) == 0; }
  bool is_number() const { return number_of(text) > 0; }
};

std::array<Asked, 3> asked_columns(const Columns& asked) {
  static const std::string kNothing;
  return {{{asked.text, "--text-column"},
           {wants_no_pair(asked) ? kNothing : asked.pair, "--pair-column"},
           {asked.label, "--label-column"}}};
}

std::size_t position_of_number(std::size_t number, std::size_t width, const Asked& asked, const std::string& name) {
  if (number > width)
    throw InputError(fmt::format("{}: there is no column {} ({}); there are {}", name, number, asked.option, width));
  return number - 1;
}

// What an option asks for in a file with names.
std::size_t place_asked(const ColumnChoice& choice, const Asked& asked, const std::string& name) {
  const auto found = std::find(choice.names.begin(), choice.names.end(), asked.text);
  if (found != choice.names.end()) {
    if (std::count(choice.names.begin(), choice.names.end(), asked.text) > 1) {
      throw InputError(fmt::format("{}: several columns are called '{}' ({}); choose one by its number", name,
                                   asked.text, asked.option));
    }
    return static_cast<std::size_t>(found - choice.names.begin());
  }
  if (asked.is_number() && !choice.json) return position_of_number(number_of(asked.text), choice.width, asked, name);
  throw InputError(fmt::format("{}: there is no column '{}' ({}){}; there are: {}", name, shown_text(asked.text),
                               asked.option, did_you_mean(asked.text, choice.names), capped_list(choice.names)));
}

// The first records as a message shows them.
std::string first_rows(const Records& records) {
  constexpr std::size_t kRows = 3;
  constexpr std::size_t kFields = 8;
  std::string text = "\nThe first rows:";
  for (std::size_t row = 0; row < std::min(kRows, records.rows.size()); ++row) {
    const auto& fields = records.rows[row].fields;
    text += fmt::format("\n  line {}:", records.rows[row].line);
    for (std::size_t i = 0; i < std::min(kFields, fields.size()); ++i)
      text += fmt::format("{}[{}] {}", i == 0 ? " " : "  ", i + 1, shown_text(fields[i], 40));
    if (fields.size() > kFields) text += fmt::format("   and {} more", fields.size() - kFields);
  }
  return text;
}

bool is_header(const Names& first, const Columns& asked, bool has_header) {
  if (asked.header != Header::automatic) return asked.header == Header::yes;
  const auto wanted = asked_columns(asked);
  if (std::any_of(wanted.begin(), wanted.end(), [](const Asked& column) { return column.is_name(); })) return true;
  // One of Hugging Face's names, or two that other tasks have: a class may be called "question".
  const auto known =
      std::count_if(first.begin(), first.end(), [](const std::string& field) { return is_column_name(field, {}); });
  if (position_of_any(first, kTextNames) || position_of_any(first, kLabelNames) || known >= 2) return true;
  return has_header &&
         std::none_of(wanted.begin(), wanted.end(), [](const Asked& column) { return column.is_number(); });
}

// The second text that belongs to a first, or the first that belongs to a second.
Place partner_of(const Names& columns, const std::string& name, bool of_first) {
  for (const auto& [first, second] : kPairs) {
    if (lower(name) != (of_first ? first : second)) continue;
    if (const Place found = position_of(columns, of_first ? second : first)) return found;
  }
  return of_first ? position_of_any(columns, kPairNames) : std::nullopt;
}

void choose_known_texts(ColumnChoice& choice, Place& text, bool with_pair) {
  for (const auto& [first, second] : kPairs) {
    const Place one = position_of(choice.names, first);
    const Place other = position_of(choice.names, second);
    if (!with_pair || !one || !other) continue;
    text = one;
    choice.pair = other;
    return;
  }
  text = position_of_any(choice.names, kTextNames);
  for (const auto& [first, second] : kPairs) {
    if (!text) text = position_of(choice.names, first);
  }
}

void choose_by_name(ColumnChoice& choice, const Columns& asked, const std::string& name) {
  const auto [text_asked, pair_asked, label_asked] = asked_columns(asked);
  Place text;
  if (!text_asked.text.empty()) text = place_asked(choice, text_asked, name);
  if (!pair_asked.text.empty()) choice.pair = place_asked(choice, pair_asked, name);
  choice.label =
      label_asked.text.empty() ? position_of_any(choice.names, kLabelNames) : place_asked(choice, label_asked, name);
  if (!text && !choice.pair) {
    choose_known_texts(choice, text, !wants_no_pair(asked));
  } else if (!text) {
    text = partner_of(choice.names, choice.names[*choice.pair], false);
    if (!text) text = position_of_any(choice.names, kTextNames);
  } else if (!choice.pair && !wants_no_pair(asked)) {
    choice.pair = partner_of(choice.names, choice.names[*text], true);
  }
  // What an option calls the label is no text.
  if (choice.pair == choice.label && pair_asked.text.empty()) choice.pair.reset();
  const std::string how = choice.json ? "name" : "name or number";
  const std::string without = choice.json ? "" : "; --header no, where the first line is a row";
  if (!text) {
    throw InputError(
        fmt::format("{}: no column named text, sentence or sentence1; --text-column takes its {}{}. There "
                    "are: {}",
                    name, how, without, capped_list(choice.names)));
  }
  if (!choice.label && asked.label_required) {
    throw InputError(fmt::format("{}: no column named label; --label-column takes its {}{}. There are: {}", name, how,
                                 without, capped_list(choice.names)));
  }
  choice.text = *text;
}

void choose_by_number(ColumnChoice& choice, const Records& records, const Columns& asked, const std::string& name) {
  const auto columns = asked_columns(asked);
  std::array<Place, 3> places;
  for (std::size_t i = 0; i < columns.size(); ++i) {
    if (columns[i].is_number()) {
      places[i] = position_of_number(number_of(columns[i].text), choice.width, columns[i], name);
    } else if (!columns[i].text.empty()) {
      throw InputError(fmt::format("{}: {} {}: expected a column's number, since the file has no header", name,
                                   columns[i].option, shown_text(columns[i].text)));
    }
  }
  auto& [text, pair, label] = places;
  // Of two columns the other one.
  const bool two = choice.width == 2 && !pair;
  if (two && label && !text) text = 1 - *label;
  if (two && text && !label && asked.label_required) label = 1 - *text;
  if (!text || (!label && asked.label_required)) {
    throw InputError(fmt::format("{}: {} columns without a header: which one is the {}? {} takes its number.{}", name,
                                 choice.width, text ? "label" : "text", text ? "--label-column" : "--text-column",
                                 first_rows(records)));
  }
  choice.text = *text;
  choice.pair = pair;
  choice.label = label;
}

void assume_order(ColumnChoice& choice, const Records& records, const Columns& asked, const std::string& name) {
  choice.assumed = true;
  if (choice.width > 3) {
    throw InputError(fmt::format(
        "{}: {} columns and no header that names them: which are the label and the text? Choose them by number, such "
        "as --label-column 2 --text-column {} (a pair: --pair-column), or, where the first line is a header, by its "
        "names.{}",
        name, choice.width, choice.width, first_rows(records)));
  }
  if (choice.width == 1) {
    if (asked.label_required) {
      throw InputError(fmt::format(
          "{}:{}: one column, found by {} fields; expected a label and a text (--separator names what stands between "
          "them).{}",
          name, records.rows.front().line, records.format, first_rows(records)));
    }
    choice.text = 0;
    return;
  }
  choice.label = 0;
  choice.text = 1;
  if (choice.width == 3 && !wants_no_pair(asked)) choice.pair = 2;
}

void refuse_one_column_twice(const ColumnChoice& choice, const std::string& name) {
  const auto refuse = [&](const char* one, const char* other, std::size_t column) {
    const std::string called = choice.names.empty() ? "" : fmt::format(" ({})", shown_text(choice.names[column]));
    throw InputError(fmt::format("{}: {} and {} are the same column, {}{}; --{}-column and --{}-column choose them",
                                 name, one, other, column + 1, called, one, other));
  };
  if (choice.label == choice.text) refuse("label", "text", choice.text);
  if (choice.pair == choice.text) refuse("pair", "text", choice.text);
  if (choice.pair && choice.label == choice.pair) refuse("label", "pair", *choice.pair);
}

}  // namespace

bool is_label_column(std::string_view name, const Columns& asked) {
  return name == asked.label || position_of_any({std::string(name)}, kLabelNames).has_value();
}

bool is_column_name(std::string_view field, const Columns& asked) {
  const Names name = {trimmed(field)};
  const auto wanted = asked_columns(asked);
  return is_label_column(name[0], {}) || position_of_any(name, kTextNames) || position_of_any(name, kPairNames) ||
         std::any_of(
             kPairs.begin(), kPairs.end(),
             [&](const auto& pair) { return position_of(name, pair.first) || position_of(name, pair.second); }) ||
         std::any_of(wanted.begin(), wanted.end(),
                     [&](const Asked& column) { return column.is_name() && column.text == name[0]; });
}

std::string ColumnChoice::place(std::size_t column) const {
  return json ? fmt::format("'{}'", shown_text(names[column])) : fmt::format("column {}", column + 1);
}

std::string ColumnChoice::description() const {
  const auto called = [&](std::size_t column) {
    return names.empty() ? fmt::format("column {}", column + 1) : shown_text(names[column]);
  };
  std::string text_of = "text: " + called(text);
  if (pair) text_of += ", pair: " + called(*pair);
  text_of += label ? ", label: " + called(*label) : ", no label";
  Names others;
  for (std::size_t column = 0; column < width; ++column) {
    if (column != text && column != pair && column != label) others.push_back(called(column));
  }
  return others.empty() ? text_of : fmt::format("{}; not read: {}", text_of, capped_list(others));
}

ColumnChoice choose_columns(Records& records, const Columns& asked, const std::string& name, bool has_header) {
  ColumnChoice choice;
  for (const Asked& column : asked_columns(asked)) {
    if (column.text.find_first_not_of('0') == std::string::npos && !column.text.empty())
      throw InputError(fmt::format("{}: {} {}: columns are counted from 1", name, column.option, column.text));
  }
  choice.json = !records.columns.empty();
  choice.names = records.columns;
  if (!choice.json) {
    Names first;
    for (const std::string& field : records.rows.front().fields) first.push_back(trimmed(field));
    if (is_header(first, asked, has_header)) {
      choice.names = std::move(first);
      records.rows.erase(records.rows.begin());
    }
  }
  choice.width = choice.names.empty() ? records.rows.front().fields.size() : choice.names.size();
  const auto wanted = asked_columns(asked);
  if (!choice.names.empty()) {
    choose_by_name(choice, asked, name);
  } else if (std::all_of(wanted.begin(), wanted.end(), [](const Asked& column) { return column.text.empty(); })) {
    assume_order(choice, records, asked, name);
  } else {
    choose_by_number(choice, records, asked, name);
  }
  choice.header_doubtful = choice.names.empty() && asked.header == Header::automatic;
  refuse_one_column_twice(choice, name);
  return choice;
}

}  // namespace dtrain::data
