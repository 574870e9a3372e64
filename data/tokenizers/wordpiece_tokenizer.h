#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/tokenizers/added_tokens.h"
#include "data/tokenizers/sequence_layout.h"
#include "data/tokenizers/tokenizer.h"

namespace dtrain::data {

/// What decides the ids of a WordPiece tokenizer (Hugging Face's BertTokenizer).
struct WordPieceConfig {
  /// The tokens in the order of their ids.
  std::vector<std::string> vocabulary;
  bool lower_case = true;
  /// Unset: as lower_case.
  std::optional<bool> strip_accents;
  bool split_chinese = true;
  /// In code points; a longer word is unknown.
  std::size_t longest_word = 100;
  /// Of what the vocabulary cannot spell.
  std::int32_t unknown = 0;
  /// Split off the text, before it is normalized or (AddedToken::normalized) after.
  std::vector<AddedToken> added;
  SequenceLayout layout;
};

std::unique_ptr<Tokenizer> make_wordpiece_tokenizer(WordPieceConfig config);

}  // namespace dtrain::data
