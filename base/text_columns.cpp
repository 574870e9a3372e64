#include "base/text_columns.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>

#include "base/wide_characters.h"

namespace dtrain {
namespace {

constexpr std::array kNone = {CharacterRange{0x0300, 0x036F}, CharacterRange{0x1AB0, 0x1AFF},
                              CharacterRange{0x1DC0, 0x1DFF}, CharacterRange{0x200B, 0x200D},
                              CharacterRange{0x20D0, 0x20FF}, CharacterRange{0x3099, 0x309A},
                              CharacterRange{0xFE00, 0xFE0F}, CharacterRange{0xFE20, 0xFE2F}};

// Of ranges that ascend.
bool lies_in(std::span<const CharacterRange> ranges, std::uint32_t code) {
  const auto range =
      std::lower_bound(ranges.begin(), ranges.end(), code,
                       [](const CharacterRange& each, std::uint32_t value) { return each.last < value; });
  return range != ranges.end() && range->first <= code;
}

std::size_t columns_of(std::uint32_t code) { return lies_in(kNone, code) ? 0 : lies_in(kWideCharacters, code) ? 2 : 1; }

bool continues(unsigned char byte) { return (byte & 0xC0U) == 0x80; }

// The bits of a first byte that are the code point's.
std::uint32_t first_bits(unsigned char byte) {
  return byte < 0x80 ? byte : byte < 0xE0 ? byte & 0x1FU : byte < 0xF0 ? byte & 0x0FU : byte & 0x07U;
}

}  // namespace

std::size_t text_columns(std::string_view text) {
  std::size_t columns = 0;
  for (std::size_t at = 0; at < text.size();) {
    auto code = first_bits(static_cast<unsigned char>(text[at++]));
    for (; at < text.size() && continues(static_cast<unsigned char>(text[at])); ++at)
      code = (code << 6U) | (static_cast<unsigned char>(text[at]) & 0x3FU);
    columns += columns_of(code);
  }
  return columns;
}

}  // namespace dtrain
