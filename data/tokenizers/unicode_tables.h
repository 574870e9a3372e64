#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <span>

/// What Hugging Face's tokenizers do to each code point, in tables that generate_unicode_tables.py reads off the
/// `tokenizers` package. Each is sorted by code point.
namespace dtrain::data::unicode {

struct CodePointRange {
  char32_t first;
  char32_t last;
};

struct CodePointMapping {
  char32_t from;
  std::uint8_t count;
  char32_t to[4];
};

struct CombiningClass {
  char32_t first;
  char32_t last;
  std::uint8_t value;
};

/// The range that holds a code point, or null.
template <typename Range>
const Range* find_range(std::span<const Range> ranges, char32_t point) {
  const auto after = std::upper_bound(ranges.begin(), ranges.end(), point,
                                      [](char32_t value, const Range& range) { return value < range.first; });
  return after != ranges.begin() && point <= std::prev(after)->last ? &*std::prev(after) : nullptr;
}

inline bool contains(std::span<const CodePointRange> ranges, char32_t point) {
  return find_range(ranges, point) != nullptr;
}

/// Removed by BertNormalizer's clean_text.
extern const std::span<const CodePointRange> kDropped;
/// Made a space by it.
extern const std::span<const CodePointRange> kSpaces;
/// A word of its own to BertPreTokenizer.
extern const std::span<const CodePointRange> kPunctuation;
/// NFD without marks (Mn); without Hangul syllables, which decompose by arithmetic.
extern const std::span<const CodePointMapping> kWithoutAccents;
extern const std::span<const CodePointMapping> kLowerCase;
/// Canonical combining classes other than 0, by which NFD orders marks that follow each other.
extern const std::span<const CombiningClass> kCombining;
/// The classes \p{L}, \p{N} and \s of GPT-2's regular expression in ByteLevel.
extern const std::span<const CodePointRange> kLetters;
extern const std::span<const CodePointRange> kNumbers;
extern const std::span<const CodePointRange> kWhiteSpace;

}  // namespace dtrain::data::unicode
