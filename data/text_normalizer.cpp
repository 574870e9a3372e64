#include "data/text_normalizer.h"

#include <utf8cpp/utf8/unchecked.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <iterator>
#include <span>

#include "data/unicode_tables.h"

namespace dtrain::data {
namespace {

bool contains(std::span<const unicode::CodePointRange> ranges, char32_t point) {
  const auto after = std::upper_bound(ranges.begin(), ranges.end(), point,
                                      [](char32_t value, const auto& range) { return value < range.first; });
  return after != ranges.begin() && point <= std::prev(after)->last;
}

const unicode::CodePointMapping* find(std::span<const unicode::CodePointMapping> mappings, char32_t point) {
  const auto found = std::lower_bound(mappings.begin(), mappings.end(), point,
                                      [](const auto& mapping, char32_t value) { return mapping.from < value; });
  return found != mappings.end() && found->from == point ? &*found : nullptr;
}

bool is_chinese(char32_t point) {
  constexpr std::array<unicode::CodePointRange, 8> kBlocks = {{{0x3400, 0x4DBF},
                                                               {0x4E00, 0x9FFF},
                                                               {0xF900, 0xFAFF},
                                                               {0x20000, 0x2A6DF},
                                                               {0x2A700, 0x2B73F},
                                                               {0x2B740, 0x2B81F},
                                                               {0x2B920, 0x2CEAF},
                                                               {0x2F800, 0x2FA1F}}};
  return contains(kBlocks, point);
}

// The Hangul syllables decompose by arithmetic (The Unicode Standard, section 3.12).
bool decompose_hangul(char32_t point, std::u32string& out) {
  constexpr char32_t kSyllables = 0xAC00;
  if (point < kSyllables || point > 0xD7A3) return false;
  const char32_t index = point - kSyllables;
  out += static_cast<char32_t>(0x1100 + index / (21 * 28));
  out += static_cast<char32_t>(0x1161 + index % (21 * 28) / 28);
  if (index % 28 != 0) out += static_cast<char32_t>(0x11A7 + index % 28);
  return true;
}

void apply(std::span<const unicode::CodePointMapping> mappings, char32_t point, std::u32string& out) {
  if (const auto* mapping = find(mappings, point)) {
    out.append(mapping->to, mapping->count);
  } else {
    out += point;
  }
}

class WordBuilder {
 public:
  explicit WordBuilder(std::vector<std::string>& words) : words_(words) {}
  ~WordBuilder() { end_word(); }

  void add(char32_t point) { utf8::unchecked::append(point, std::back_inserter(word_)); }
  void add_ascii(char byte) { word_ += byte; }
  void add_alone(char32_t point) {
    end_word();
    add(point);
    end_word();
  }
  void end_word() {
    if (word_.empty()) return;
    words_.push_back(word_);
    word_.clear();
  }

 private:
  std::vector<std::string>& words_;
  std::string word_;
};

enum class AsciiKind : std::uint8_t { dropped, space, punctuation, letter };

constexpr std::array<AsciiKind, 128> kAscii = [] {
  std::array<AsciiKind, 128> kinds{};
  for (std::size_t c = 0; c < kinds.size(); ++c) {
    const bool space = c == ' ' || c == '\t' || c == '\n' || c == '\r';
    const bool word = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
    kinds[c] = space                ? AsciiKind::space
               : c < 32 || c == 127 ? AsciiKind::dropped
               : word               ? AsciiKind::letter
                                    : AsciiKind::punctuation;
  }
  return kinds;
}();

}  // namespace

void append_words(std::string_view text, const NormalizerOptions& options, std::vector<std::string>& words) {
  WordBuilder builder(words);
  std::u32string stripped;
  std::u32string folded;
  const auto* position = text.data();
  const auto* end = text.data() + text.size();
  while (position < end) {
    const auto byte = static_cast<unsigned char>(*position);
    if (byte < 0x80) {
      ++position;
      switch (kAscii[byte]) {
        case AsciiKind::dropped:
          break;
        case AsciiKind::space:
          builder.end_word();
          break;
        case AsciiKind::punctuation:
          builder.add_alone(byte);
          break;
        case AsciiKind::letter:
          builder.add_ascii(options.lower_case && byte >= 'A' && byte <= 'Z' ? static_cast<char>(byte + 32)
                                                                             : static_cast<char>(byte));
          break;
      }
      continue;
    }
    const auto point = static_cast<char32_t>(utf8::unchecked::next(position));
    if (contains(unicode::kDropped, point)) continue;
    if (contains(unicode::kSpaces, point)) {
      builder.end_word();
      continue;
    }
    const bool alone = options.split_chinese && is_chinese(point);
    if (alone) builder.end_word();
    stripped.clear();
    if (!options.strip_accents) {
      stripped += point;
    } else if (!decompose_hangul(point, stripped)) {
      apply(unicode::kWithoutAccents, point, stripped);
    }
    folded.clear();
    for (const char32_t part : stripped) {
      if (options.lower_case) {
        apply(unicode::kLowerCase, part, folded);
      } else {
        folded += part;
      }
    }
    for (const char32_t part : folded) {
      if (contains(unicode::kPunctuation, part)) {
        builder.add_alone(part);
      } else if (contains(unicode::kSpaces, part)) {
        builder.end_word();
      } else {
        builder.add(part);
      }
    }
    if (alone) builder.end_word();
  }
}

std::size_t code_points(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(
      text.begin(), text.end(), [](char byte) { return (static_cast<unsigned char>(byte) & 0xC0) != 0x80; }));
}

}  // namespace dtrain::data
