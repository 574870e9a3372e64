#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/readers/labelled_text.h"
#include "data/readers/records.h"

namespace dtrain::data {

/// Which columns of a file hold what.
struct ColumnChoice {
  /// Of the header or of JSON; empty without a header.
  std::vector<std::string> names;
  std::optional<std::size_t> label;
  std::size_t text = 0;
  std::optional<std::size_t> pair;
  /// How many columns the header or, without one, the first row has.
  std::size_t width = 0;
  /// The first line was taken for a row because nothing says that it is a header.
  bool header_doubtful = false;
  /// Neither names nor options tell the columns: label, text, second text.
  bool assumed = false;

  /// "column 2", or of JSON, which has no order, "'label'".
  std::string place(std::size_t column) const;
  /// LabelledTexts::columns.
  std::string description() const;

  bool json = false;
};

/// Whether a header's field is one of the names that are known or asked for.
bool is_column_name(std::string_view field, const Columns& asked);

/// Whether a name is a known one of a label column, or the one asked for.
bool is_label_column(std::string_view name, const Columns& asked);

/// Chooses the columns, and takes the header out of the records. `has_header`: without known names or numbers the first
/// line is a header. Throws InputError as read_labelled_texts says; messages begin with `name`.
ColumnChoice choose_columns(Records& records, const Columns& asked, const std::string& name, bool has_header);

}  // namespace dtrain::data
