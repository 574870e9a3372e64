#include "study/figures/markup.h"

#include <fmt/format.h>
#include <utf8cpp/utf8.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <stdexcept>

namespace dtrain::study::figures {
namespace {

// The mean width of a letter over the font's size; of Helvetica and DejaVu Sans alike within a tenth.
constexpr double kLetter = 0.56;

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

std::string shortened(const std::string& text, std::size_t characters) {
  std::string valid;
  utf8::replace_invalid(text.begin(), text.end(), std::back_inserter(valid));
  if (static_cast<std::size_t>(utf8::distance(valid.begin(), valid.end())) <= characters) return valid;
  auto end = valid.begin();
  utf8::advance(end, static_cast<std::ptrdiff_t>(characters) - 1, valid.end());
  return std::string(valid.begin(), end) + "…";
}

double text_width(std::string_view text, double size) {
  const auto letters = std::count_if(text.begin(), text.end(),
                                     [](char byte) { return (static_cast<unsigned char>(byte) & 0xC0) != 0x80; });
  return kLetter * size * static_cast<double>(letters);
}

}  // namespace dtrain::study::figures
