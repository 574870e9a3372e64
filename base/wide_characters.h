#pragma once

#include <cstdint>
#include <span>

namespace dtrain {

struct CharacterRange {
  std::uint32_t first;
  std::uint32_t last;
};

/// The characters that take two columns of a terminal, ascending: a table of
/// data/tokenizers/generate_unicode_tables.py.
extern const std::span<const CharacterRange> kWideCharacters;

}  // namespace dtrain
