#pragma once

#include <memory>

#include "data/tokenizers/tokenizer.h"
#include "data/tokenizers/wordpiece_tokenizer.h"

namespace dtrain::data {

/// A tokenizer of a few tokens: [PAD] 0, [UNK] 1, [CLS] 2, [SEP] 3, [MASK] 4, the letters a to z 5 to 30, and as many
/// continuations.
inline WordPieceConfig letters() {
  WordPieceConfig config;
  config.special = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
  config.vocabulary = config.special;
  for (char letter = 'a'; letter <= 'z'; ++letter) config.vocabulary.emplace_back(1, letter);
  for (char letter = 'a'; letter <= 'z'; ++letter) config.vocabulary.push_back(std::string("##") + letter);
  return config;
}
inline std::unique_ptr<Tokenizer> letter_tokenizer() { return make_wordpiece_tokenizer(letters()); }

}  // namespace dtrain::data
