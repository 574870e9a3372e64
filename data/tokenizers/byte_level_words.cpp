#include "data/tokenizers/byte_level_words.h"

#include <utf8cpp/utf8/unchecked.h>

#include <array>
#include <cstdint>

#include "data/tokenizers/unicode_tables.h"

namespace dtrain::data {
namespace {

enum class Kind : std::uint8_t { letter, number, space, other };

Kind kind_of(char32_t point) {
  if (unicode::contains(unicode::kLetters, point)) return Kind::letter;
  if (unicode::contains(unicode::kNumbers, point)) return Kind::number;
  return unicode::contains(unicode::kWhiteSpace, point) ? Kind::space : Kind::other;
}

constexpr std::array<Kind, 128> kAscii = [] {
  std::array<Kind, 128> kinds{};
  for (std::size_t c = 0; c < kinds.size(); ++c) {
    const bool letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
    const bool space = c == ' ' || (c >= '\t' && c <= '\r');
    kinds[c] = letter ? Kind::letter : c >= '0' && c <= '9' ? Kind::number : space ? Kind::space : Kind::other;
  }
  return kinds;
}();

struct Character {
  Kind kind;
  std::size_t end;
};

Character character_at(std::string_view text, std::size_t begin) {
  const auto byte = static_cast<unsigned char>(text[begin]);
  if (byte < 0x80) return {kAscii[byte], begin + 1};
  const char* position = text.data() + begin;
  const auto point = static_cast<char32_t>(utf8::unchecked::next(position));
  return {kind_of(point), static_cast<std::size_t>(position - text.data())};
}

// The end of a contraction's second part that begins at `begin`, or `begin`.
std::size_t contraction_end(std::string_view text, std::size_t begin) {
  for (const std::string_view ending : {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"}) {
    if (text.substr(begin).starts_with(ending)) return begin + ending.size();
  }
  return begin;
}

}  // namespace

std::size_t byte_level_word_end(std::string_view text, std::size_t begin) {
  if (text[begin] == '\'') {
    const std::size_t end = contraction_end(text, begin);
    if (end > begin) return end;
  }
  const std::size_t first = text[begin] == ' ' && begin + 1 < text.size() ? begin + 1 : begin;
  Character last = character_at(text, first);
  if (last.kind != Kind::space) {
    const Kind kind = last.kind;
    while (last.end < text.size()) {
      const Character next = character_at(text, last.end);
      if (next.kind != kind) break;
      last.end = next.end;
    }
    return last.end;
  }
  // White space: all of it at the end of the text, else without its last character, which may belong to the word after
  // it (" ?"), unless it is the only one.
  last = character_at(text, begin);
  std::size_t last_begin = begin;
  while (last.end < text.size()) {
    const Character next = character_at(text, last.end);
    if (next.kind != Kind::space) return last_begin > begin ? last_begin : last.end;
    last_begin = last.end;
    last.end = next.end;
  }
  return last.end;
}

}  // namespace dtrain::data
