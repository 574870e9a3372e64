#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/tokenizers/tokenizer.h"
#include "data/tokenizers/tokenizer_files.h"

namespace dtrain::data {

/// What decides the ids of a WordPiece tokenizer (Hugging Face's BertTokenizer).
struct WordPieceConfig {
  /// The tokens in the order of their ids.
  std::vector<std::string> vocabulary;
  bool lower_case = true;
  /// Unset: as lower_case.
  std::optional<bool> strip_accents;
  bool split_chinese = true;
  std::string unknown = "[UNK]";
  std::string first = "[CLS]";
  std::string separator = "[SEP]";
  /// Split off the raw text before anything else; those above, [PAD] and [MASK] as a rule.
  std::vector<std::string> special;
  std::vector<std::filesystem::path> files;
};

/// Throws InputError where a special token is not in the vocabulary.
std::unique_ptr<Tokenizer> make_wordpiece_tokenizer(WordPieceConfig config);

/// From a model directory with vocab.txt, or tokenizer.json of the WordPiece model; null where it has neither.
std::unique_ptr<Tokenizer> load_wordpiece_tokenizer(const TokenizerFiles& files);

}  // namespace dtrain::data
