#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <vector>

#include "data/tokenizers/sequence_layout.h"
#include "data/tokenizers/special_tokens.h"

namespace dtrain::data {

/// What the generic class puts around the texts: `post_processor` of tokenizer.json (BertProcessing, RobertaProcessing,
/// or TemplateProcessing that says the same as one of them). Throws InputError naming the key of what is not one.
SequenceLayout read_post_processor(const nlohmann::json& processor, const std::filesystem::path& path,
                                   const TokenIds& vocabulary, const std::vector<AddedToken>& added);

}  // namespace dtrain::data
