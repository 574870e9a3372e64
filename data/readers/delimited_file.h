#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "data/readers/records.h"

namespace dtrain::data {

/// Readers over valid UTF-8 without a byte-order mark. `name` is for messages; all throw InputError with
/// name:line:column.

/// Tab-separated texts. Quotes are part of a text, unless the file is quoted as CSV is, told by one of: its first line
/// has several fields and all are quoted; every field is but numbers; every field that has to be (it holds a tab, a
/// quote or a line end; Excel: or a comma) and no other, as pandas and Excel write it; or a line has a quoted field
/// that has to be. A file of the first or the last kind in which other quotes are at fault is refused there.
Records read_tsv(std::string_view content, const std::string& name);

/// RFC 4180 with any separator; a quoted field may hold line ends. Own code: the message needs the exact line and
/// column of an open quote, which the kept CSV libraries do not give.
Records read_csv(std::string_view content, const std::string& name, char separator = ',');

/// Which of , ; tab | separates the fields of a CSV: the one under which the first line has most fields that
/// `is_column_name` knows, else the one under which the first hundred records have the same number of fields, two or
/// more; else the comma.
char sniffed_separator(std::string_view content, const std::function<bool(std::string_view)>& is_column_name);

/// "comma", "semicolon", "tab", "'^'".
std::string separator_name(char separator);

}  // namespace dtrain::data
