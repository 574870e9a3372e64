#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/tokenizers/added_tokens.h"
#include "data/tokenizers/byte_pair_merges.h"
#include "data/tokenizers/sequence_layout.h"
#include "data/tokenizers/tokenizer.h"

namespace dtrain::data {

/// What decides the ids of a byte-level BPE tokenizer with RoBERTa's special tokens (Hugging Face's RobertaTokenizer).
struct ByteLevelBpeConfig {
  /// The tokens in the order of their ids, each byte of a token as GPT-2 writes it (`byte_level_character`).
  std::vector<std::string> vocabulary;
  /// By rank, in ids of the vocabulary.
  std::vector<BytePairMerge> merges;
  /// Whether a text, and what follows an added token, begins as if after a space.
  bool add_prefix_space = false;
  /// What becomes of a byte that has no token (with `fuse_unknown`: of several in a row). Unset: it is left out.
  std::optional<std::int32_t> unknown;
  bool fuse_unknown = false;
  std::vector<AddedToken> added;
  SequenceLayout layout = {.separators_between = 2};
};

std::unique_ptr<Tokenizer> make_byte_level_bpe_tokenizer(ByteLevelBpeConfig config);

/// The printable character, in UTF-8, by which GPT-2's vocabulary writes a byte (its bytes_to_unicode).
std::string byte_level_character(std::uint8_t byte);

}  // namespace dtrain::data
