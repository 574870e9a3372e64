#include "data/readers/number_text.h"

#include <algorithm>
#include <charconv>

namespace dtrain::data {
namespace {

// Digits at the beginning of a text, which they leave.
std::string take_digits(std::string_view& text) {
  const std::size_t end = std::min(text.find_first_not_of("0123456789"), text.size());
  std::string digits(text.substr(0, end));
  text.remove_prefix(end);
  return digits;
}

// Of "e-3"; nothing where it is none, or one that no label has.
std::optional<int> exponent_of(std::string_view text) {
  constexpr int kLargest = 400;
  text.remove_prefix(1);
  if (text.starts_with('+')) text.remove_prefix(1);
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value > kLargest || value < -kLargest)
    return std::nullopt;
  return value;
}

}  // namespace

std::optional<std::string> canonical_number(std::string_view text) {
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  std::string digits = take_digits(text);
  if (digits.size() > 1 && digits[0] == '0') return std::nullopt;
  auto point = static_cast<int>(digits.size());
  if (text.starts_with('.')) {
    text.remove_prefix(1);
    digits += take_digits(text);
  }
  if (digits.empty()) return std::nullopt;
  if (!text.empty()) {
    const auto exponent = text[0] == 'e' || text[0] == 'E' ? exponent_of(text) : std::nullopt;
    if (!exponent) return std::nullopt;
    point += *exponent;
  }
  // As many zeros as the point needs, and none else.
  if (point < 0) digits.insert(0, static_cast<std::size_t>(-point), '0');
  point = std::max(point, 0);
  if (static_cast<std::size_t>(point) > digits.size()) digits.resize(static_cast<std::size_t>(point), '0');
  std::string whole = digits.substr(0, static_cast<std::size_t>(point));
  std::string fraction = digits.substr(static_cast<std::size_t>(point));
  whole.erase(0, std::min(whole.find_first_not_of('0'), whole.size()));
  fraction.erase(fraction.find_last_not_of('0') + 1);
  if (whole.empty()) whole = "0";
  std::string number = fraction.empty() ? whole : whole + "." + fraction;
  return negative && number != "0" ? "-" + number : number;
}

}  // namespace dtrain::data
