#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace dtrain::data {

/// "line:column" of a byte, both from 1. Lines end with LF, CR LF or CR, here and in every reader.
std::string place_of(std::string_view content, std::size_t offset);

/// The code point that begins at a byte: what a message shows of it.
std::string_view code_point_at(std::string_view content, std::size_t at);

/// The lines of a text.
class Lines {
 public:
  explicit Lines(std::string_view content) : content_(content) {}
  /// The next line without its end; false where there is none.
  bool next(std::string_view& line);
  /// Of the line that next() gave, from 1.
  std::int64_t number() const { return number_; }

 private:
  std::size_t find(char end, std::size_t& known) const;

  std::string_view content_;
  std::size_t position_ = 0;
  std::int64_t number_ = 0;
  // Where the next LF and CR are, as far as they have been looked for: a file of one kind alone is not searched for the
  // other again at every line.
  std::size_t line_feed_ = 0;
  std::size_t carriage_return_ = 0;
};

/// Nothing but spaces. Tabs are not blank: in a TSV they make empty fields.
bool is_blank(std::string_view line);

/// A name or label without the white space around it (ASCII's, the no-break and the ideographic space).
std::string trimmed(std::string_view text);

/// The content of a text file as valid UTF-8 without a byte-order mark. What is invalid is replaced by U+FFFD and said
/// in a note. Throws InputError, `name` first, for what is no UTF-8 text: Parquet, Arrow, spreadsheets, compressed
/// files and other binary ones (with how to convert them), UTF-16, an empty file, a file that cannot be read.
std::string read_text(const std::filesystem::path& path, std::vector<std::string>& notes);

/// What a file's name ends in, in small letters: ".csv" of DATA.CSV.
std::string small_extension(const std::filesystem::path& path);

/// Throws InputError where the ending is that of a kind of file which is known and not read, saying how to convert it.
void refuse_foreign_ending(const std::filesystem::path& path);

}  // namespace dtrain::data
