#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "data/tokenizers/added_tokens.h"
#include "data/tokenizers/tokenizer_files.h"

namespace dtrain::data {

/// The tokens of a vocabulary and their ids.
using TokenIds = std::unordered_map<std::string, std::int32_t>;

/// A tokenizer's special tokens and every other added token.
struct SpecialTokens {
  std::vector<AddedToken> added;
  /// Of cls_token and sep_token; 0 with the generic class, which has them from its post-processor.
  std::int32_t first = 0;
  std::int32_t separator = 0;
  /// The text of unk_token; with the generic class, which has it from its model, empty where nothing names it.
  std::string unknown;
};

/// As transformers gathers them: those with an id, from tokenizer_config.json's added_tokens_decoder or, where it has
/// none, from added_tokens.json and tokenizer.json; then those that tokenizer_config.json and special_tokens_map.json
/// name, and the class itself. One that is not in the vocabulary gets the next id. Throws InputError naming file and
/// key.
SpecialTokens read_special_tokens(const TokenizerFiles& files, const TokenIds& vocabulary);

/// The id of a token of the vocabulary or of the added ones; throws InputError naming `place` and the token.
std::int32_t special_id(const std::string& content, const TokenIds& vocabulary, const std::vector<AddedToken>& added,
                        const std::string& place);

}  // namespace dtrain::data
