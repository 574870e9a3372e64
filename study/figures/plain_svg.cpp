#include "study/figures/plain_svg.h"

#include <algorithm>
#include <array>
#include <vector>

namespace dtrain::study::figures {
namespace {

constexpr std::array<std::string_view, 12> kElements = {"svg",  "title", "desc",  "g",        "path",    "line",
                                                        "rect", "text",  "tspan", "polyline", "polygon", "circle"};
constexpr std::string_view kBlanks = " \t\r\n";

bool is_element(std::string_view name) {
  return name == "clipPath" || std::find(kElements.begin(), kElements.end(), name) != kElements.end();
}

bool is_name(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char byte) {
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
           byte == '-' || byte == ':';
  });
}

// on... are scripts, ...href leads elsewhere, and a style can do either.
bool is_harmless(std::string_view attribute) {
  return is_name(attribute) && !attribute.starts_with("on") && !attribute.ends_with("href") && attribute != "style";
}

// The attributes of a tag, ' a="b" c="d"'.
bool are_harmless(std::string_view attributes) {
  while (true) {
    const std::size_t begin = attributes.find_first_not_of(kBlanks);
    if (begin == attributes.npos) return true;
    if (begin == 0) return false;
    attributes.remove_prefix(begin);
    const std::size_t open = attributes.find("=\"");
    const std::size_t close = open == attributes.npos ? open : attributes.find('"', open + 2);
    if (close == attributes.npos || !is_harmless(attributes.substr(0, open))) return false;
    attributes.remove_prefix(close + 1);
  }
}

// Where a tag ends that begins before `at`, outside of quotes.
std::size_t end_of_tag(std::string_view text, std::size_t at) {
  bool quoted = false;
  for (; at < text.size() && (quoted || text[at] != '>'); ++at) quoted = quoted != (text[at] == '"');
  return at < text.size() ? at : text.npos;
}

}  // namespace

bool is_plain_svg(std::string_view text) {
  std::vector<std::string_view> open;
  for (std::size_t at = 0; at < text.size();) {
    if (text[at] != '<') {
      const std::size_t next = std::min(text.find('<', at), text.size());
      if (open.empty() && text.substr(at, next - at).find_first_not_of(kBlanks) != text.npos) return false;
      at = next;
      continue;
    }
    const std::size_t end = end_of_tag(text, at);
    if (end == text.npos) return false;
    std::string_view tag = text.substr(at + 1, end - at - 1);
    if (tag.starts_with('/')) {
      if (open.empty() || open.back() != tag.substr(1)) return false;
      open.pop_back();
      if (open.empty()) return text.find_first_not_of(kBlanks, end + 1) == text.npos;
    } else {
      const bool closed = tag.ends_with('/');
      if (closed) tag.remove_suffix(1);
      const std::string_view name = tag.substr(0, std::min(tag.find_first_of(kBlanks), tag.size()));
      if (!is_element(name) || (open.empty() && name != "svg") || !are_harmless(tag.substr(name.size()))) return false;
      if (!closed) open.push_back(name);
      if (closed && open.empty()) return text.find_first_not_of(kBlanks, end + 1) == text.npos;
    }
    at = end + 1;
  }
  return false;
}

}  // namespace dtrain::study::figures
