#pragma once

#include <array>

namespace dtrain {

/// The files of a model directory that belong to its tokenizer, to copy beside what was trained.
inline constexpr std::array kTokenizerFiles = {"vocab.txt",
                                               "vocab.json",
                                               "merges.txt",
                                               "tokenizer.json",
                                               "tokenizer_config.json",
                                               "special_tokens_map.json",
                                               "added_tokens.json"};

/// Of these, the ones without which there is no tokenizer.
inline constexpr std::array kVocabularyFiles = {"vocab.txt", "vocab.json", "tokenizer.json"};

}  // namespace dtrain
