#include "data/tokenizers/text_normalizer.h"

#include <utf8cpp/utf8/unchecked.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <iterator>
#include <span>

#include "data/tokenizers/unicode_tables.h"

namespace dtrain::data {
namespace {

using unicode::contains;

int combining_class(char32_t point) {
  const auto* range = unicode::find_range(unicode::kCombining, point);
  return range == nullptr ? 0 : range->value;
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

// Where a normalized text goes: into words, or into one text that is cut into words later.
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

class TextBuilder {
 public:
  explicit TextBuilder(std::string& text) : text_(text) {}

  void add(char32_t point) { utf8::unchecked::append(point, std::back_inserter(text_)); }
  void add_ascii(char byte) { text_ += byte; }
  void add_alone(char32_t point) { add(point); }
  void end_word() { text_ += ' '; }

 private:
  std::string& text_;
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

// One text on its way, a code point at a time.
template <typename Builder>
class Normalization {
 public:
  template <typename Output>
  Normalization(const NormalizerOptions& options, Output& output) : options_(options), words_(output) {}

  void take_ascii(unsigned char byte) {
    if (kAscii[byte] == AsciiKind::dropped) return;
    if (!marks_.empty()) end_marks();
    switch (kAscii[byte]) {
      case AsciiKind::dropped:
        break;
      case AsciiKind::space:
        words_.end_word();
        break;
      case AsciiKind::punctuation:
        words_.add_alone(byte);
        break;
      case AsciiKind::letter:
        words_.add_ascii(
            static_cast<char>(options_.lower_case && byte >= 'A' && byte <= 'Z' ? byte + ('a' - 'A') : byte));
        break;
    }
  }

  void take(char32_t point) {
    if (contains(unicode::kDropped, point)) return;
    if (contains(unicode::kSpaces, point)) {
      end_marks();
      words_.end_word();
      return;
    }
    const bool alone = options_.split_chinese && is_chinese(point);
    if (alone) {
      end_marks();
      words_.end_word();
    }
    if (options_.strip_accents) {
      take_decomposed(point);
    } else {
      fold(point);
    }
    if (alone) words_.end_word();
  }

  void finish() { end_marks(); }

 private:
  struct Mark {
    char32_t point;
    int combining_class;
  };

  // Marks that are not stripped wait until the last of their run, which NFD orders by class.
  void take_decomposed(char32_t point) {
    decomposed_.clear();
    if (!decompose_hangul(point, decomposed_)) apply(unicode::kWithoutAccents, point, decomposed_);
    if (decomposed_.empty() && combining_class(point) == 0) end_marks();
    for (const char32_t part : decomposed_) {
      const int its_class = combining_class(part);
      if (its_class > 0) {
        marks_.push_back({part, its_class});
      } else {
        end_marks();
        fold(part);
      }
    }
  }

  void end_marks() {
    std::stable_sort(marks_.begin(), marks_.end(),
                     [](const Mark& left, const Mark& right) { return left.combining_class < right.combining_class; });
    for (const Mark& mark : marks_) fold(mark.point);
    marks_.clear();
  }

  void fold(char32_t point) {
    folded_.clear();
    if (options_.lower_case) {
      apply(unicode::kLowerCase, point, folded_);
    } else {
      folded_ += point;
    }
    for (const char32_t part : folded_) {
      if (contains(unicode::kPunctuation, part)) {
        words_.add_alone(part);
      } else if (contains(unicode::kSpaces, part)) {
        words_.end_word();
      } else {
        words_.add(part);
      }
    }
  }

  const NormalizerOptions& options_;
  Builder words_;
  std::vector<Mark> marks_;
  std::u32string decomposed_;
  std::u32string folded_;
};

template <typename Builder, typename Output>
void normalize(std::string_view text, const NormalizerOptions& options, Output& output) {
  Normalization<Builder> normalization(options, output);
  const auto* position = text.data();
  const auto* end = text.data() + text.size();
  while (position < end) {
    const auto byte = static_cast<unsigned char>(*position);
    if (byte < 0x80) {
      ++position;
      normalization.take_ascii(byte);
    } else {
      normalization.take(static_cast<char32_t>(utf8::unchecked::next(position)));
    }
  }
  normalization.finish();
}

}  // namespace

void append_words(std::string_view text, const NormalizerOptions& options, std::vector<std::string>& words) {
  normalize<WordBuilder>(text, options, words);
}

std::string normalized_text(std::string_view text, const NormalizerOptions& options) {
  std::string normalized;
  normalize<TextBuilder>(text, options, normalized);
  return normalized;
}

std::size_t code_points(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(
      text.begin(), text.end(), [](char byte) { return (static_cast<unsigned char>(byte) & 0xC0) != 0x80; }));
}

}  // namespace dtrain::data
