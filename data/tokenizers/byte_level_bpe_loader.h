#pragma once

#include <memory>

#include "data/tokenizers/tokenizer.h"
#include "data/tokenizers/tokenizer_files.h"

namespace dtrain::data {

/// Hugging Face's RobertaTokenizer of a model directory with vocab.json and merges.txt, or tokenizer.json of the BPE
/// model; null where it has neither. Which file decides what is as in transformers: RobertaTokenizer takes vocabulary,
/// merges and added tokens from tokenizer.json, add_prefix_space and the special tokens from tokenizer_config.json; the
/// generic class (PreTrainedTokenizerFast) takes all from tokenizer.json. Throws InputError naming file and key (line)
/// of what is malformed or not supported.
std::unique_ptr<Tokenizer> load_byte_level_bpe_tokenizer(const TokenizerFiles& files);

}  // namespace dtrain::data
