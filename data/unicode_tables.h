#pragma once

#include <cstdint>
#include <span>

/// What Hugging Face's BERT tokenizer does to each code point, in tables that generate_unicode_tables.py reads off the
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

/// Removed by clean_text.
extern const std::span<const CodePointRange> kDropped;
/// Made a space by clean_text.
extern const std::span<const CodePointRange> kSpaces;
/// A word of its own.
extern const std::span<const CodePointRange> kPunctuation;
/// NFD without marks (Mn); without Hangul syllables, which decompose by arithmetic.
extern const std::span<const CodePointMapping> kWithoutAccents;
extern const std::span<const CodePointMapping> kLowerCase;
/// Canonical combining classes other than 0, by which NFD orders marks that follow each other.
extern const std::span<const CombiningClass> kCombining;

}  // namespace dtrain::data::unicode
