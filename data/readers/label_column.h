#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "data/readers/column_choice.h"
#include "data/readers/labelled_text.h"
#include "data/readers/records.h"

namespace dtrain::data {

/// Reads the labels of a file, one after the other, and then what there is to say about all of them.
class LabelColumn {
 public:
  /// All three outlive it. `name` is the file's, for messages.
  LabelColumn(const ColumnChoice& choice, const Columns& asked, const std::string& name)
      : choice_(choice), asked_(asked), name_(name) {}

  /// Fills in the label or the labels of a row from its record. False where the row is to be left out. Throws
  /// InputError for no label where one is required, and for a list beside single labels. `place` says where the record
  /// is.
  bool read(Record& record, const std::string& place, LabelledText& row);

  /// Says how many rows were left out, which labels seem to stand for none, and which differ by case only. Throws
  /// InputError where every row was left out, or the labels are texts that look like lists.
  void finish(LabelledTexts& texts) const;

 private:
  enum class Form { unknown, single, list };
  void check_form(Form form, const std::string& place);
  bool is_ignored(const std::string& label) const;

  const ColumnChoice& choice_;
  const Columns& asked_;
  const std::string& name_;
  Form form_ = Form::unknown;
  std::string form_place_;
  std::int64_t left_out_ = 0;
};

/// Throws InputError, with the first rows as they were read, where the label column is hardly one: most labels occur
/// once and nobody has said which column it is, or they are whole texts too. Numbers are never doubted. With the
/// classes of a trained model, `is_known` tells them: then most labels must be unknown.
void check_label_column(const LabelledTexts& texts, const std::string& name,
                        const std::function<bool(const std::string&)>& is_known = nullptr);

/// Throws InputError where the first row, whose file may have a header or not, looks like one: its label is no number
/// and all others are, or it alone occurs once and the row is made of names.
void refuse_header_among_rows(const LabelledTexts& texts, const std::string& name);

}  // namespace dtrain::data
