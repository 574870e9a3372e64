#include "study/figures/plain_svg.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <vector>

namespace dtrain::study::figures {
namespace {

constexpr std::array<std::string_view, 12> kElements = {"svg",  "title", "desc",  "g",        "path",    "line",
                                                        "rect", "text",  "tspan", "polyline", "polygon", "circle"};
constexpr std::string_view kAttributes[] = {"class",
                                            "id",
                                            "role",
                                            "xmlns",
                                            "viewBox",
                                            "aria-label",
                                            "aria-labelledby",
                                            "x",
                                            "y",
                                            "x1",
                                            "y1",
                                            "x2",
                                            "y2",
                                            "cx",
                                            "cy",
                                            "r",
                                            "width",
                                            "height",
                                            "d",
                                            "points",
                                            "fill",
                                            "stroke",
                                            "stroke-width",
                                            "stroke-dasharray",
                                            "clip-path",
                                            "text-anchor",
                                            "font-family",
                                            "font-size"};
constexpr std::string_view kBlanks = " \t\r\n";

bool is_element(std::string_view name) {
  return name == "clipPath" || std::find(kElements.begin(), kElements.end(), name) != kElements.end();
}

// Those of dtrain's figures. Of others some are scripts (on...), lead elsewhere (href) or both (style); HTML reads them
// in capitals, too.
bool is_attribute(std::string_view name) {
  return std::find(std::begin(kAttributes), std::end(kAttributes), name) != std::end(kAttributes);
}

// No character reference, which could stand for anything, nothing that a reader who sees no attribute here takes for a
// tag, and no url(...) but of a part of the page: others are fetched.
bool is_harmless(std::string_view value) {
  if (value.find_first_of("<>&") != value.npos) return false;
  for (std::size_t at = value.find('('); at != value.npos; at = value.find('(', at + 1)) {
    if (!value.substr(0, at).ends_with("url") || !value.substr(at + 1).starts_with('#')) return false;
  }
  return true;
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
    if (close == attributes.npos || !is_attribute(attributes.substr(0, open)) ||
        !is_harmless(attributes.substr(open + 2, close - open - 2)))
      return false;
    attributes.remove_prefix(close + 1);
  }
}

// HTML reads what is in these as HTML: there a <title> would hide all up to its end, and what follows would be read
// anew.
bool holds_text_alone(std::string_view element) { return element == "title" || element == "desc"; }

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
      if (!open.empty() && holds_text_alone(open.back())) return false;
      if (!closed) open.push_back(name);
      if (closed && open.empty()) return text.find_first_not_of(kBlanks, end + 1) == text.npos;
    }
    at = end + 1;
  }
  return false;
}

}  // namespace dtrain::study::figures
