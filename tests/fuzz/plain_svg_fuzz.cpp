// A figure that is to be a part of a page. What is taken is read again, as HTML reads tags.

#include <algorithm>
#include <cctype>
#include <sstream>

#include "study/figures/plain_svg.h"
#include "tests/fuzz/fuzz_target.h"

namespace {

using namespace dtrain;

// A tag's name and those of its attributes, in small letters as HTML takes them, without the values.
std::string names_of(std::string_view tag) {
  std::string names;
  bool quoted = false;
  for (const char byte : tag) {
    if (byte == '"') {
      quoted = !quoted;
    } else if (!quoted) {
      names += byte == '/' || byte == '=' ? ' ' : static_cast<char>(std::tolower(static_cast<unsigned char>(byte)));
    }
  }
  return names;
}

void check_tag(std::string_view tag) {
  fuzz::require(tag.find('<') == tag.npos, "a tag ends before another begins");
  fuzz::require(std::count(tag.begin(), tag.end(), '"') % 2 == 0, "a tag does not end within a value");
  fuzz::require(tag.find("&#") == tag.npos, "values without character references");
  for (std::size_t at = tag.find('('); at != tag.npos; at = tag.find('(', at + 1))
    fuzz::require(tag.substr(at).starts_with("(#"), "nothing is fetched");
  std::istringstream names(names_of(tag));
  for (std::string name; names >> name;) {
    fuzz::require(!name.starts_with("on") && name != "style" && name.find("href") == name.npos, "nothing but looks");
    for (const char* element : {"script", "image", "use", "a", "animate", "set", "foreignobject", "iframe"})
      fuzz::require(name != element, "shapes and text");
  }
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view rest = fuzz::text_of(data, size);
  if (!study::figures::is_plain_svg(rest)) return 0;
  for (std::size_t at = rest.find('<'); at != rest.npos; at = rest.find('<')) {
    rest.remove_prefix(at + 1);
    const std::string_view tag = rest.substr(0, rest.find('>'));
    check_tag(tag);
    rest.remove_prefix(std::min(tag.size() + 1, rest.size()));
    const bool holds_text = (tag.starts_with("title") || tag.starts_with("desc")) && !tag.ends_with('/');
    fuzz::require(!holds_text || rest.substr(std::min(rest.find('<'), rest.size())).starts_with("</"),
                  "a title and a description without elements");
  }
  return 0;
}
