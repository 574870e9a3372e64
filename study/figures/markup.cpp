#include "study/figures/markup.h"

#include <fmt/format.h>
#include <utf8cpp/utf8.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <stdexcept>

#include "base/text_columns.h"

namespace dtrain::study::figures {
namespace {

// The mean width of a letter over the font's size; of Helvetica and DejaVu Sans alike within a tenth.
constexpr double kLetter = 0.56;

bool begins_character(std::string_view text, std::size_t at) {
  return at >= text.size() || (static_cast<unsigned char>(text[at]) & 0xC0U) != 0x80;
}

// As many characters from the front as are at most so wide.
std::string_view beginning_of(std::string_view text, std::size_t columns) {
  std::size_t end = 0;
  for (std::size_t next = 1; next <= text.size(); ++next) {
    if (!begins_character(text, next)) continue;
    if (text_columns(text.substr(0, next)) > columns) break;
    end = next;
  }
  return text.substr(0, end);
}

// As many from the back.
std::string_view end_of(std::string_view text, std::size_t columns) {
  std::size_t begin = text.size();
  for (std::size_t next = text.size(); next-- > 0;) {
    if (!begins_character(text, next)) continue;
    if (text_columns(text.substr(next)) > columns) break;
    begin = next;
  }
  return text.substr(begin);
}

}  // namespace

std::string escaped(std::string_view text) {
  std::string valid;
  utf8::replace_invalid(text.begin(), text.end(), std::back_inserter(valid));
  std::string result;
  for (const char byte : valid) {
    switch (byte) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&quot;";
        break;
      case '\'':
        result += "&#39;";
        break;
      default:
        if (static_cast<unsigned char>(byte) < 0x20 && byte != '\t' && byte != '\n' && byte != '\r') {
          result += "\xEF\xBF\xBD";
        } else {
          result += byte;
        }
    }
  }
  // Characters of more bytes that XML leaves out.
  for (const char* refused : {"\xEF\xBF\xBE", "\xEF\xBF\xBF"}) {
    for (std::size_t at = result.find(refused); at != std::string::npos; at = result.find(refused, at + 3))
      result.replace(at, 3, "\xEF\xBF\xBD");
  }
  return result;
}

std::string coordinate(double value) {
  if (!std::isfinite(value)) throw std::invalid_argument("a coordinate that is not finite");
  std::string text = fmt::format("{:.2f}", value);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text == "-0" ? "0" : text;
}

std::string shortened(const std::string& text, std::size_t columns) {
  std::string valid;
  utf8::replace_invalid(text.begin(), text.end(), std::back_inserter(valid));
  if (text_columns(valid) <= columns) return valid;
  const std::size_t behind = (columns - 1) / 3;
  return fmt::format("{}…{}", beginning_of(valid, columns - 1 - behind), end_of(valid, behind));
}

double text_width(std::string_view text, double size) {
  return kLetter * size * static_cast<double>(text_columns(text));
}

}  // namespace dtrain::study::figures
