#include "base/listing.h"

#include <fmt/format.h>

#include <algorithm>

namespace dtrain {

std::string shown_text(std::string_view text, std::size_t most) {
  std::size_t end = std::min(text.size(), most);
  // Not within a code point: the bytes that go on with one are 10xxxxxx.
  while (end > 0 && end < text.size() && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) --end;
  std::string shown(text.substr(0, end));
  std::replace_if(
      shown.begin(), shown.end(), [](char byte) { return (byte >= 0 && byte < ' ') || byte == '\x7F'; }, ' ');
  return end < text.size() ? shown + "..." : shown;
}

std::string capped_list(const std::vector<std::string>& names, std::size_t most) {
  std::string list;
  const std::size_t named = std::min(names.size(), most);
  for (std::size_t i = 0; i < named; ++i) list += (i == 0 ? "" : ", ") + shown_text(names[i]);
  return named < names.size() ? fmt::format("{} and {} more", list, names.size() - named) : list;
}

}  // namespace dtrain
