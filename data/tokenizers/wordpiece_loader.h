#pragma once

#include <memory>

#include "data/tokenizers/tokenizer.h"
#include "data/tokenizers/tokenizer_files.h"

namespace dtrain::data {

/// Hugging Face's BertTokenizer of a model directory with vocab.txt, or tokenizer.json of the WordPiece model; null
/// where it has neither. Which file decides what is as in transformers (TokenizerClass). Throws InputError naming file
/// and key of what is malformed or not supported.
std::unique_ptr<Tokenizer> load_wordpiece_tokenizer(const TokenizerFiles& files);

}  // namespace dtrain::data
