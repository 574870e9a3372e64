#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/tokenizers/tokenizer.h"
#include "data/tokenizers/truncation.h"

namespace dtrain::data {

/// What a tokenizer puts around its texts: `[CLS] A [SEP]` and `[CLS] A [SEP] B [SEP]` of BERT, `<s> A </s>` and
/// `<s> A </s></s> B </s>` of RoBERTa; and which end is cut where they are too long.
struct SequenceLayout {
  std::int32_t first = 0;
  std::int32_t separator = 0;
  /// Between the two texts of a pair.
  std::int32_t separators_between = 1;
  /// Whether the second text and its separator are of token type 1; all else is of type 0.
  bool typed = false;
  TruncationSide truncation_side = TruncationSide::right;

  /// For the digest of a tokenizer.
  std::string text() const;
};

/// The ids of a text, or of a pair (`right` is null for a single text), with the special tokens and cut to
/// `max_length`. Throws UsageError where that cannot hold the special tokens.
TokenizedText arrange(const SequenceLayout& layout, std::vector<std::int32_t> left, std::vector<std::int32_t>* right,
                      std::int32_t max_length);

}  // namespace dtrain::data
