#include "base/text_columns.h"

#include <algorithm>
#include <array>
#include <cstdint>

namespace dtrain {
namespace {

struct Range {
  std::uint32_t first;
  std::uint32_t last;
};

// By blocks: what few of them hold besides is as wide in most fonts.
constexpr std::array kWide = {Range{0x1100, 0x115F},   Range{0x2E80, 0x303E},   Range{0x3041, 0xA4CF},
                              Range{0xA960, 0xA97F},   Range{0xAC00, 0xD7A3},   Range{0xF900, 0xFAFF},
                              Range{0xFE30, 0xFE6F},   Range{0xFF00, 0xFF60},   Range{0xFFE0, 0xFFE6},
                              Range{0x1F300, 0x1F64F}, Range{0x1F680, 0x1F6FF}, Range{0x1F900, 0x1F9FF},
                              Range{0x1FA70, 0x1FAFF}, Range{0x20000, 0x3FFFD}};
constexpr std::array kNone = {Range{0x0300, 0x036F}, Range{0x1AB0, 0x1AFF}, Range{0x1DC0, 0x1DFF},
                              Range{0x200B, 0x200D}, Range{0x20D0, 0x20FF}, Range{0xFE00, 0xFE0F},
                              Range{0xFE20, 0xFE2F}};

template <std::size_t Count>
bool lies_in(const std::array<Range, Count>& ranges, std::uint32_t code) {
  return std::any_of(ranges.begin(), ranges.end(),
                     [&](const Range& range) { return code >= range.first && code <= range.last; });
}

std::size_t columns_of(std::uint32_t code) { return lies_in(kNone, code) ? 0 : lies_in(kWide, code) ? 2 : 1; }

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
