#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"

namespace dtrain::data {

/// The token ids of one text or pair with its special tokens, as a Hugging Face tokenizer returns them.
struct TokenizedText {
  std::vector<std::int32_t> ids;
  /// Where the second segment (token type 1) begins; ids.size() for a single text, and where all types are 0.
  std::int32_t second_segment = 0;
  /// Whether tokens were cut to fit.
  bool truncated = false;
};

/// Text to token ids, thread-safe.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  /// `pair` may be null. At most `max_length` tokens with the special ones (longest first, as Hugging Face's
  /// `truncation=True`); throws UsageError where that cannot hold the special tokens.
  virtual TokenizedText tokenize(std::string_view text, const std::string_view* pair,
                                 std::int32_t max_length) const = 0;
  virtual std::int64_t vocabulary_size() const = 0;
  /// A digest of all that decides the ids (vocabulary, options), for the key of the token cache.
  virtual std::string digest() const = 0;
};

/// The tokenizer of a model directory, of the kind that its files are: BERT's WordPiece (wordpiece_loader.h) or
/// RoBERTa's byte-level BPE (byte_level_bpe_loader.h); docs/model-files.md lists what its files may hold. Throws
/// InputError naming what is missing or not supported, with the kinds that are. Keys of the files that nothing is known
/// of are said to `log`.
std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& model_directory, const Log& log = {});

}  // namespace dtrain::data
