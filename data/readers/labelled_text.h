#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace dtrain::data {

/// One row of a data file: a text or a pair of texts, and its label (empty in a file of unlabelled inputs).
struct LabelledText {
  std::string text;
  std::string pair;
  /// Without white space around it.
  std::string label;
  /// Where the file gives a list of labels for each row (LabelledTexts::has_label_lists): that list, which may be
  /// empty; `label` is empty then.
  std::vector<std::string> labels = {};
  /// Where the row begins in its file, from 1.
  std::int64_t line = 0;
};

/// Whether the first line of a TSV or CSV names the columns.
enum class Header {
  /// It does in a CSV whose columns are not chosen by number, and where one of the names is asked for or known.
  automatic,
  yes,
  no,
};

/// How to read a data file. A column is given by its name or, in TSV and CSV, by its number from 1; a name wins over a
/// number. Empty: by a known name (`label`, `labels` or `gold_label`; a pair such as `sentence1` and `sentence2`, or
/// `question` and `sentence`; else `text` or `sentence`), and in a file without a header label, text, second text.
struct Columns {
  std::string text;
  /// "none": a single text, whatever columns there are.
  std::string pair;
  std::string label;
  /// False for inputs to predict: the label column may be missing and is read where it is there.
  bool label_required = true;
  Header header = Header::automatic;
  /// What separates fields; 0: a tab in .tsv and .txt, in .csv what is found (sniffed_separator). Of no effect on JSON.
  char separator = '\0';
  /// What separates the labels of a row that has several, as text; empty: a row has one.
  std::string label_separator = {};
  /// Rows with one of these labels are left out and counted.
  std::vector<std::string> ignored_labels = {};
};

/// The rows of a data file in order, and what a person should know about how they were read.
struct LabelledTexts {
  std::vector<LabelledText> rows;
  bool has_pairs = false;
  bool has_labels = false;
  /// The label column holds lists: multi-label.
  bool has_label_lists = false;
  /// Nobody has said which columns are read, neither a header nor the options: check_label_column doubts it.
  bool columns_assumed = false;
  /// The columns taken and those left out: "text: question, pair: sentence, label: label; not read: index".
  std::string columns = {};
  /// "tab-separated", "JSON lines", ...
  std::string format = {};
  /// Sentences such as "train.tsv:17: invalid UTF-8 at byte 5, replaced by U+FFFD (3 lines in all)".
  std::vector<std::string> notes = {};
};

/// Reads TSV (.tsv, .txt), CSV (.csv; RFC 4180, also with other separators) or JSON (.jsonl, .json; lines or arrays),
/// as docs/data.md says. Invalid UTF-8 is replaced by U+FFFD, counted and noted with its first line; a leading
/// byte-order mark is dropped; lines end with LF, CR LF or CR. Blank lines are skipped; a row may have more columns
/// than the header behind a text that is the last, which are not read; both are counted in a note. Noted are also
/// labels that stand for none ("-", "nan", -1) and such as differ by case only. Throws InputError with file:line:column
/// for a missing, empty, binary (NUL bytes) or truncated (open quote, broken JSON) file, a row with too few columns or
/// without its label, other rows with too many, lists of labels beside single ones, an unknown column (naming those
/// there are and the nearest), a file without a header whose columns nobody can know, and a header that would be read
/// as a row.
LabelledTexts read_labelled_texts(const std::filesystem::path& path, const Columns& columns);

/// What the names of the files end in that it reads: ".tsv", ".txt", ...
const std::vector<std::string>& data_file_endings();

}  // namespace dtrain::data
