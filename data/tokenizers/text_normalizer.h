#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace dtrain::data {

/// What happens to a text before WordPiece: Hugging Face's BertNormalizer and BertPreTokenizer.
struct NormalizerOptions {
  bool lower_case = true;
  bool strip_accents = true;
  bool split_chinese = true;
};

/// The words of a text, normalized: split at white space, with punctuation (and Chinese characters) apart. Appends to
/// `words`.
void append_words(std::string_view text, const NormalizerOptions& options, std::vector<std::string>& words);

/// The normalized text as a whole: BertNormalizer alone.
std::string normalized_text(std::string_view text, const NormalizerOptions& options);

/// The number of code points of a UTF-8 text.
std::size_t code_points(std::string_view text);

}  // namespace dtrain::data
