#include "data/readers/label_column.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/listing.h"
#include "base/log.h"
#include "data/readers/number_text.h"
#include "data/readers/text_content.h"
#include "data/tokenizers/text_normalizer.h"

namespace dtrain::data {
namespace {

using Counts = std::unordered_map<std::string, std::int64_t>;

// Fewer rows tell nothing.
constexpr std::int64_t kFewRows = 10;
constexpr std::int64_t kFewRowsBelowHeader = 4;

Counts counts_of(const LabelledTexts& texts) {
  Counts counts;
  for (const LabelledText& row : texts.rows) {
    if (!row.label.empty() || !texts.has_label_lists) ++counts[row.label];
    for (const std::string& label : row.labels) ++counts[label];
  }
  return counts;
}

bool all_numbers(const Counts& counts) {
  return std::all_of(counts.begin(), counts.end(), [](const auto& entry) {
    return entry.first.empty() || canonical_number(entry.first).has_value();
  });
}

// What pandas, R, SQL and the makers of data sets write where there is nothing.
bool stands_for_none(const std::string& label) {
  constexpr std::array<std::string_view, 15> kNone = {"",     "-",    "--",  "nan", "NaN",  "NAN", "None", "none",
                                                      "null", "NULL", "N/A", "n/a", "#N/A", "NA",  "<NA>"};
  return std::find(kNone.begin(), kNone.end(), label) != kNone.end();
}

bool is_fraction(const std::string& label) {
  const auto number = canonical_number(label);
  return number && number->find('.') != std::string::npos;
}

std::string rows_text(std::int64_t count) { return fmt::format("{} row{}", count_text(count), count == 1 ? "" : "s"); }

void note_none(const Counts& counts, const std::string& name, std::vector<std::string>& notes) {
  if (counts.size() < 2) return;  // inputs whose answers are not given away
  // Scores may be below 0.
  const bool scores =
      std::any_of(counts.begin(), counts.end(), [](const auto& entry) { return is_fraction(entry.first); });
  std::map<std::string, std::int64_t> found;
  for (const auto& [label, count] : counts) {
    if (label.empty()) continue;  // inputs without one; where it is needed that is refused
    if (stands_for_none(label) || (!scores && canonical_number(label) == "-1")) found.emplace(label, count);
  }
  for (const auto& [label, count] : found) {
    notes.push_back(
        fmt::format("{}: {} with the label '{}'; --ignore-label {} leaves such rows out, if it stands for no "
                    "label",
                    name, rows_text(count), label, label));
  }
}

// One for all that differ by case alone.
std::string without_case(const std::string& label) {
  std::string lowered = label;
  const bool ascii = std::all_of(label.begin(), label.end(), [](char byte) { return byte >= 0; });
  for (char& byte : lowered) byte = byte >= 'A' && byte <= 'Z' ? static_cast<char>(byte - 'A' + 'a') : byte;
  if (ascii) return lowered;
  std::vector<std::string> words;
  append_words(label, {.lower_case = true, .strip_accents = false, .split_chinese = false}, words);
  std::string joined;
  for (const std::string& word : words) joined += word + " ";
  // Blanks and punctuation stay what they are.
  for (const char byte : label) joined += byte >= 0 && byte < 'A' ? std::string(1, byte) : "";
  return joined;
}

void note_case(const Counts& counts, const std::string& name, std::vector<std::string>& notes) {
  std::map<std::string, std::vector<std::string>> groups;
  for (const auto& [label, count] : counts) groups[without_case(label)].push_back(label);
  std::vector<std::string> shown;
  for (auto& [key, labels] : groups) {
    if (labels.size() < 2) continue;
    std::sort(labels.begin(), labels.end());
    std::string group;
    for (const std::string& label : labels)
      group +=
          fmt::format("{}'{}' ({})", group.empty() ? "" : " and ", shown_text(label, 30), rows_text(counts.at(label)));
    shown.push_back(group);
  }
  if (shown.empty()) return;
  std::string list;
  constexpr std::size_t kShown = 5;
  for (std::size_t i = 0; i < std::min(kShown, shown.size()); ++i) list += (i == 0 ? "" : ", ") + shown[i];
  if (shown.size() > kShown) list += fmt::format(" and {} more", shown.size() - kShown);
  notes.push_back(fmt::format("{}: labels that differ by case only are kept apart: {}", name, list));
}

bool looks_like_list(const std::string& label) { return label.starts_with('[') && label.ends_with(']'); }

std::vector<std::string> split(std::string_view text, std::string_view separator) {
  std::vector<std::string> parts;
  while (true) {
    const std::size_t end = text.find(separator);
    std::string part = trimmed(text.substr(0, end));
    if (!part.empty()) parts.push_back(std::move(part));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + separator.size());
  }
}

std::int64_t words_in(std::string_view text) {
  std::int64_t words = 0;
  for (std::size_t at = text.find_first_not_of(' '); at != std::string_view::npos; ++words)
    at = text.find_first_not_of(' ', std::min(text.find(' ', at), text.size()));
  return words;
}

std::string rows_as_read(const LabelledTexts& texts) {
  constexpr std::size_t kRows = 3;
  std::string text = fmt::format("\nThe first rows as read ({}):", texts.columns);
  for (std::size_t i = 0; i < std::min(kRows, texts.rows.size()); ++i) {
    const LabelledText& row = texts.rows[i];
    text += fmt::format("\n  line {}: label '{}', text '{}'", row.line, shown_text(row.label), shown_text(row.text));
    if (texts.has_pairs) text += fmt::format(", pair '{}'", shown_text(row.pair));
  }
  return text;
}

// What may stand in a header: a few words of letters, digits and what joins them.
bool is_name(std::string_view text) {
  constexpr std::int64_t kWords = 3;
  return !text.empty() && words_in(text) <= kWords && std::all_of(text.begin(), text.end(), [](char byte) {
    return byte < 0 || (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z') ||
           byte == ' ' || byte == '_' || byte == '-' || byte == '.' || byte == '#';
  });
}

}  // namespace

void LabelColumn::check_form(Form form, const std::string& place) {
  if (form_ == Form::unknown) {
    form_ = form;
    form_place_ = place;
  } else if (form_ != form) {
    const auto words = [](Form which) { return which == Form::list ? "a list of labels" : "a single label"; };
    throw InputError(
        fmt::format("{}: expected {}, as {} has, found {}", place, words(form_), form_place_, words(form)));
  }
}

bool LabelColumn::is_ignored(const std::string& label) const {
  if (asked_.ignored_labels.empty()) return false;
  const auto number = canonical_number(label);
  return std::any_of(asked_.ignored_labels.begin(), asked_.ignored_labels.end(), [&](const std::string& ignored) {
    return label == trimmed(ignored) || (number && number == canonical_number(ignored));
  });
}

bool LabelColumn::read(Record& record, const std::string& place, LabelledText& row) {
  if (!choice_.label) return true;
  const std::size_t column = *choice_.label;
  const auto list =
      std::find_if(record.lists.begin(), record.lists.end(), [&](const auto& entry) { return entry.first == column; });
  if (list != record.lists.end()) {
    check_form(Form::list, place);
    for (const std::string& label : list->second) row.labels.push_back(trimmed(label));
  } else {
    for (const auto& [other, found] : record.without_text) {
      if (other != column || (found == std::string_view("missing") && !asked_.label_required)) continue;
      if (found == std::string_view("missing") && is_ignored("")) break;
      throw InputError(fmt::format("{}: expected a string, a number or a list of them in {} (label), found {}", place,
                                   choice_.place(column), found));
    }
    row.label = trimmed(record.fields[column]);
    if (!asked_.label_separator.empty()) {
      check_form(Form::list, place);
      row.labels = split(row.label, asked_.label_separator);
      row.label.clear();
    } else if (!row.label.empty()) {
      check_form(Form::single, place);
    } else if (asked_.label_required && !is_ignored("")) {
      throw InputError(fmt::format("{}: the label ({}) is empty; --ignore-label \"\" leaves such rows out", place,
                                   choice_.place(column)));
    }
  }
  const bool ignored = form_ == Form::list ? std::any_of(row.labels.begin(), row.labels.end(),
                                                         [&](const std::string& label) { return is_ignored(label); })
                                           : is_ignored(row.label);
  left_out_ += ignored ? 1 : 0;
  return !ignored;
}

void LabelColumn::finish(LabelledTexts& texts) const {
  texts.has_labels = choice_.label.has_value();
  texts.has_label_lists = form_ == Form::list;
  if (!texts.has_labels) return;
  if (left_out_ > 0) {
    if (texts.rows.empty()) throw InputError(fmt::format("{}: every row has an ignored label (--ignore-label)", name_));
    texts.notes.push_back(fmt::format("{}: {} left out for their label (--ignore-label {})", name_,
                                      rows_text(left_out_), capped_list(asked_.ignored_labels)));
  }
  const Counts counts = counts_of(texts);
  note_none(counts, name_, texts.notes);
  note_case(counts, name_, texts.notes);
  const bool lists_as_text =
      std::any_of(counts.begin(), counts.end(), [](const auto& entry) { return !entry.first.empty(); }) &&
      std::all_of(counts.begin(), counts.end(),
                  [](const auto& entry) { return entry.first.empty() || looks_like_list(entry.first); });
  if (!lists_as_text) return;
  const std::string what = fmt::format(
      "{}: the labels are lists written as text, such as {}; to have several labels a row, write the file as JSON "
      "(pandas: "
      "to_json(FILE, orient='records', lines=True)), or join them with a character that --label-separator names",
      name_, shown_text(std::max_element(counts.begin(), counts.end())->first));
  if (asked_.label_required) throw InputError(what);
  texts.notes.push_back(what);
}

void check_label_column(const LabelledTexts& texts, const std::string& name,
                        const std::function<bool(const std::string&)>& is_known) {
  if (!texts.has_labels || texts.has_label_lists) return;
  const Counts counts = counts_of(texts);
  const auto rows = static_cast<std::int64_t>(texts.rows.size());
  if (rows < kFewRows || all_numbers(counts)) return;
  std::int64_t words = 0;
  std::int64_t unknown = 0;
  for (const auto& [label, count] : counts) {
    words += words_in(label);
    if (is_known && !label.empty() && !is_known(label)) unknown += count;
  }
  const auto distinct = static_cast<std::int64_t>(counts.size());
  std::int64_t text_words = 0;
  for (const LabelledText& row : texts.rows) text_words += words_in(row.text);
  // Class names may have several words, but hardly half as many as the texts.
  const bool are_texts = words >= 3 * distinct && 2 * words * rows >= text_words * distinct;
  const bool doubtful = is_known ? 2 * unknown > rows : 2 * distinct > rows;
  if (!doubtful || (!texts.columns_assumed && (is_known || !are_texts))) return;
  throw InputError(fmt::format(
      "{}: {} different labels in {} rows{}: is that the label column? --label-column and --text-column choose others, "
      "by name or number{}.{}",
      name, count_text(distinct), count_text(rows),
      is_known ? fmt::format(", of which {} have one that is none of the classes", count_text(unknown)) : "",
      texts.columns_assumed ? "; where the first line is a header, by its names; --label-column 1, if it is" : "",
      rows_as_read(texts)));
}

void refuse_header_among_rows(const LabelledTexts& texts, const std::string& name) {
  const auto rows = static_cast<std::int64_t>(texts.rows.size());
  if (!texts.has_labels || texts.has_label_lists || rows <= kFewRowsBelowHeader) return;
  Counts counts = counts_of(texts);
  const LabelledText& first = texts.rows.front();
  if (first.label.empty() || counts.at(first.label) != 1 || stands_for_none(first.label)) return;
  counts.erase(first.label);
  const bool below_are_numbers = all_numbers(counts) && !canonical_number(first.label);
  const bool alone = std::all_of(counts.begin(), counts.end(), [](const auto& entry) { return entry.second > 1; });
  std::int64_t words = -words_in(first.text);
  for (const LabelledText& row : texts.rows) words += words_in(row.text);
  const bool shorter = words > words_in(first.text) * (rows - 1);
  const bool of_names = is_name(first.label) && is_name(first.text) && (!texts.has_pairs || is_name(first.pair));
  if (!below_are_numbers && !(of_names && alone && shorter)) return;
  throw InputError(
      fmt::format("{}:{}: this line looks like a header, since its label occurs nowhere else. Name the columns "
                  "(--label-column '{}' "
                  "--text-column '{}'), or say with --header no that it is a row.{}",
                  name, first.line, shown_text(first.label), shown_text(first.text), rows_as_read(texts)));
}

}  // namespace dtrain::data
