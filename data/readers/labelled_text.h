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
  std::string label;
  /// Where the file gives a list of labels for each row (LabelledTexts::has_label_lists): that list, which may be
  /// empty.
  std::vector<std::string> labels = {};
  /// Where the row begins in its file, from 1.
  std::int64_t line = 0;
};

/// Which columns to read. An empty name means Hugging Face's: `label`; `text` or `sentence` or `sentence1`;
/// `pair`, `sentence2` or none. A TSV whose first line names none of them has no header: label, text, second text.
struct Columns {
  std::string text;
  std::string pair;
  std::string label;
  /// False for inputs to predict: the label column may be missing and is read where it is there.
  bool label_required = true;
};

/// The rows of a data file in order, and what a person should know about how they were read.
struct LabelledTexts {
  std::vector<LabelledText> rows;
  bool has_pairs = false;
  bool has_labels = false;
  /// The label column holds lists: multi-label.
  bool has_label_lists = false;
  /// Sentences such as "train.tsv:17: invalid UTF-8 at byte 5, replaced by U+FFFD (3 lines in all)".
  std::vector<std::string> notes;
};

/// Reads TSV, CSV (RFC 4180) or JSONL, told apart by the name's ending (.tsv, .csv, .jsonl, also .txt as TSV). Invalid
/// UTF-8 is replaced by U+FFFD, counted and noted with its first line; a leading byte-order mark is dropped. Blank
/// lines are skipped; a row may have more columns than the header, which are not read; both are counted in a note.
/// Throws InputError with file:line:column for a missing, empty, binary (NUL bytes) or truncated (open quote, broken
/// JSON) file, a row with too few columns or without its label, an unknown column (naming those there are and the
/// nearest).
LabelledTexts read_labelled_texts(const std::filesystem::path& path, const Columns& columns);

}  // namespace dtrain::data
