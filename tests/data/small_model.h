#pragma once

#include <memory>

#include "data/tokenizers/tokenizer.h"
#include "data/tokenizers/wordpiece_tokenizer.h"

namespace dtrain::data {

/// A tokenizer of a few tokens: [PAD] 0, [UNK] 1, [CLS] 2, [SEP] 3, [MASK] 4, the letters a to z 5 to 30, and as many
/// continuations.
inline WordPieceConfig letters() {
  WordPieceConfig config;
  config.vocabulary = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
  for (std::int32_t id = 0; id < 5; ++id)
    config.added.push_back({.content = config.vocabulary[static_cast<std::size_t>(id)], .id = id});
  config.unknown = 1;
  config.layout = {.first = 2, .separator = 3, .typed = true};
  for (char letter = 'a'; letter <= 'z'; ++letter) config.vocabulary.emplace_back(1, letter);
  for (char letter = 'a'; letter <= 'z'; ++letter) config.vocabulary.push_back(std::string("##") + letter);
  return config;
}
inline std::unique_ptr<Tokenizer> letter_tokenizer() { return make_wordpiece_tokenizer(letters()); }

}  // namespace dtrain::data
