#include "data/readers/text_content.h"

#include <fmt/format.h>
#include <utf8cpp/utf8.h>

#include <algorithm>
#include <array>
#include <iterator>

#include "base/atomic_file.h"
#include "base/error.h"

namespace dtrain::data {
namespace {

namespace fs = std::filesystem;
using namespace std::string_view_literals;

// A kind of file that is not read: how it begins, how its name ends (several in one text), what it is called and how to
// make it one that is. {0} stands for its path, {1} for the new one's.
struct ForeignKind {
  std::string_view magic;
  std::string_view endings;
  const char* name;
  const char* remedy;
};
constexpr std::array kForeignKinds = {
    ForeignKind{"PAR1"sv, " .parquet .pq "sv, "a Parquet file",
                "convert it: python -c \"import pandas; pandas.read_parquet('{0}').to_json('{1}', orient='records', "
                "lines=True)\""},
    ForeignKind{
        "ARROW1"sv, " .arrow .feather "sv, "an Arrow file",
        "convert it: python -c \"import datasets; datasets.Dataset.from_file('{0}').to_json('{1}')\" (a Feather "
        "file: pandas.read_feather and to_json(orient='records', lines=True))"},
    ForeignKind{"PK\x03\x04"sv, " .xlsx .ods .zip "sv, "a spreadsheet or ZIP archive",
                "save the sheet as CSV in UTF-8, or unpack the archive"},
    ForeignKind{"\xD0\xCF\x11\xE0"sv, " .xls "sv, "a spreadsheet", "save the sheet as CSV in UTF-8"},
    ForeignKind{"\x1F\x8B"sv, " .gz .tgz "sv, "a gzip-compressed file", "unpack it: gzip -dk '{0}'"},
    ForeignKind{"\x28\xB5\x2F\xFD"sv, " .zst "sv, "a Zstandard-compressed file", "unpack it: zstd -d '{0}'"},
    ForeignKind{"\xFD"
                "7zXZ"sv,
                " .xz "sv, "an xz-compressed file", "unpack it: xz -dk '{0}'"},
    ForeignKind{"BZh"sv, " .bz2 "sv, "a bzip2-compressed file", "unpack it: bzip2 -dk '{0}'"},
    ForeignKind{"\x80\x04\x95"sv, " .pkl .pickle "sv, "a Python pickle",
                "convert it: python -c \"import pandas; pandas.read_pickle('{0}').to_json('{1}', orient='records', "
                "lines=True)\""}};

[[noreturn]] void refuse(const ForeignKind& kind, const fs::path& path) {
  fs::path converted = path;
  converted.replace_extension(".jsonl");
  throw InputError(fmt::format("{}: {}, which dtrain does not read; {}", path.string(), kind.name,
                               fmt::format(fmt::runtime(kind.remedy), path.string(), converted.string())));
}

bool is_line_end(std::string_view content, std::size_t at) {
  return content[at] == '\n' || (content[at] == '\r' && (at + 1 == content.size() || content[at + 1] != '\n'));
}

std::string with_replacements(const std::string& content, const std::string& name, std::vector<std::string>& notes) {
  const auto invalid = utf8::find_invalid(content.begin(), content.end());
  std::string valid;
  utf8::replace_invalid(content.begin(), content.end(), std::back_inserter(valid));
  std::int64_t bad_lines = 0;
  Lines lines(content);
  for (std::string_view line; lines.next(line);) {
    if (!utf8::is_valid(line.begin(), line.end())) ++bad_lines;
  }
  notes.push_back(fmt::format("{}:{}: invalid UTF-8, replaced by U+FFFD ({} line{} in all)", name,
                              place_of(content, static_cast<std::size_t>(invalid - content.begin())), bad_lines,
                              bad_lines == 1 ? "" : "s"));
  return valid;
}

}  // namespace

std::string place_of(std::string_view content, std::size_t offset) {
  std::int64_t line = 1;
  std::size_t line_begin = 0;
  for (std::size_t at = 0; at < offset; ++at) {
    if (!is_line_end(content, at)) continue;
    ++line;
    line_begin = at + 1;
  }
  return fmt::format("{}:{}", line, offset - line_begin + 1);
}

std::string_view code_point_at(std::string_view content, std::size_t at) {
  std::size_t end = at + 1;
  while (end < content.size() && (static_cast<unsigned char>(content[end]) & 0xC0U) == 0x80U) ++end;
  return content.substr(at, end - at);
}

std::size_t Lines::find(char end, std::size_t& known) const {
  if (known < position_ || (known == 0 && position_ == 0)) known = content_.find(end, position_);
  return std::min(known, content_.size());
}

bool Lines::next(std::string_view& line) {
  if (position_ >= content_.size()) return false;
  ++number_;
  const std::size_t end = std::min(find('\n', line_feed_), find('\r', carriage_return_));
  line = content_.substr(position_, end - position_);
  position_ = end + (content_.substr(end, 2) == "\r\n" ? 2 : 1);
  return true;
}

bool is_blank(std::string_view line) { return line.find_first_not_of(' ') == std::string_view::npos; }

std::string trimmed(std::string_view text) {
  constexpr std::array kSpaces = {" "sv, "\t"sv, "\n"sv, "\v"sv, "\f"sv, "\r"sv, "\xC2\xA0"sv, "\xE3\x80\x80"sv};
  const auto cut = [&](std::string_view space) {
    const bool begins = text.starts_with(space);
    const bool ends = !begins && text.ends_with(space);
    if (begins) text.remove_prefix(space.size());
    if (ends) text.remove_suffix(space.size());
    return begins || ends;
  };
  while (std::any_of(kSpaces.begin(), kSpaces.end(), cut)) {
  }
  return std::string(text);
}

std::string read_text(const fs::path& path, std::vector<std::string>& notes) {
  const std::string name = path.string();
  std::string content = read_file(path, Readable::stream);
  for (const ForeignKind& kind : kForeignKinds) {
    // A text may begin with "PK" or "BZh" too: what is binary has a byte that no UTF-8 text has.
    if (content.starts_with(kind.magic) &&
        (kind.magic == "PAR1" || kind.magic == "ARROW1" || content.find('\0') != std::string::npos ||
         !utf8::is_valid(content.begin(), content.end())))
      refuse(kind, path);
  }
  if (content.starts_with("\xEF\xBB\xBF")) content.erase(0, 3);
  if (content.starts_with("\xFF\xFE") || content.starts_with("\xFE\xFF"))
    throw InputError(fmt::format("{}:1:1: the file is UTF-16; save it as UTF-8", name));
  const std::size_t nul = content.find('\0');
  if (nul != std::string::npos) {
    throw InputError(fmt::format("{}:{}: a NUL byte; expected a text file, this looks like a binary one", name,
                                 place_of(content, nul)));
  }
  if (content.find_first_not_of(" \t\r\n") == std::string::npos)
    throw InputError(fmt::format("{}: the file is empty", name));
  return utf8::is_valid(content.begin(), content.end()) ? content : with_replacements(content, name, notes);
}

std::string small_extension(const fs::path& path) {
  std::string ending = path.extension().string();
  for (char& byte : ending) byte = byte >= 'A' && byte <= 'Z' ? static_cast<char>(byte - 'A' + 'a') : byte;
  return ending;
}

void refuse_foreign_ending(const fs::path& path) {
  const std::string ending = " " + small_extension(path) + " ";
  for (const ForeignKind& kind : kForeignKinds) {
    if (ending.size() > 2 && kind.endings.find(ending) != std::string_view::npos) refuse(kind, path);
  }
}

}  // namespace dtrain::data
