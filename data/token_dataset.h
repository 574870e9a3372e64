#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/image.h"
#include "base/log.h"
#include "data/readers/labelled_text.h"
#include "data/targets.h"
#include "data/tokenizers/tokenizer.h"

namespace dtrain::data {

/// How tokens of the cache go to another process: as the name of their file, or as they are, where it cannot open that.
enum class CachedTokens { by_name, by_value };

/// Tokenized examples, in memory or mapped from the cache, and their targets. Cheap to copy; immutable.
class TokenDataset {
 public:
  /// One example: a view that lives as long as any copy of the data set.
  struct Example {
    std::span<const std::int32_t> ids;
    std::int32_t second_segment;
  };

  TokenDataset() = default;
  std::int64_t size() const;
  Example example(std::int64_t index) const;
  std::int32_t length(std::int64_t index) const { return static_cast<std::int32_t>(example(index).ids.size()); }
  const Targets& targets() const { return *targets_; }
  /// How many examples lost tokens to `max_length`.
  std::int64_t truncated() const;
  /// XXH3-128 of the content (ids, segments, targets), in hexadecimal: what a checkpoint compares.
  std::string digest() const;

  /// The examples with these indices, in this order (a view: nothing is copied).
  TokenDataset subset(std::vector<std::int64_t> indices) const;

  /// For another process of this machine: as part of an image, while this lives, and out of one. Of tokens of the cache
  /// that are named there `from` maps the file, and throws InputError where it has none there, or another.
  void add_to(ImageWriter& image, CachedTokens cached = CachedTokens::by_name) const;
  static TokenDataset from(ImageReader& image);

  struct Storage;
  TokenDataset(std::shared_ptr<const Storage> storage, Targets targets);

 private:
  std::shared_ptr<const Storage> storage_;
  std::shared_ptr<const Targets> targets_ = std::make_shared<const Targets>();
  std::shared_ptr<const std::vector<std::int64_t>> indices_;  // null: all of storage
};

/// The model that is to take the tokens.
struct ModelVocabulary {
  std::filesystem::path model;
  std::filesystem::path tokenizer;
  /// Of words, the ids from 0.
  std::int64_t embeddings = 0;
};

/// Throws InputError for an example with a token that the model has no embedding of: a tokenizer may have such tokens
/// as long as no text does. `place_of` begins the message: the file and the line of an example.
void require_embeddings(const TokenDataset& examples, const ModelVocabulary& vocabulary,
                        const std::function<std::string(std::int64_t example)>& place_of);

/// How texts become examples.
struct TokenizeOptions {
  std::int32_t max_length = 128;
  int threads = 1;
  /// Folder of the token cache; empty: none. A file of it is named by the digest of tokenizer, options and texts, and
  /// is written atomically, so that the ranks of a node share one mapping. A cache that cannot be written or is
  /// damaged, or that holds what these texts and this tokenizer cannot give, is a warning, never an error, and the data
  /// is tokenized anew.
  std::filesystem::path cache_directory;
};

/// Tokenizes the texts of `rows`, of which `targets` has as many.
TokenDataset tokenize(const LabelledTexts& rows, Targets targets, const Tokenizer& tokenizer,
                      const TokenizeOptions& options, const Log& log);

}  // namespace dtrain::data
