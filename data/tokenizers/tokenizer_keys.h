#pragma once

#include <span>

#include "base/file_keys.h"

/// What the files of a tokenizer may hold, and what each key is here (docs/model-files.md is checked against it).
namespace dtrain::data {

std::span<const FileKey> tokenizer_config_keys();
/// The keys at the top of tokenizer.json, whatever its model.
std::span<const FileKey> tokenizer_json_keys();
/// Those inside of its parts ("model.unk_token"), as the generic class reads them with a model of that kind.
std::span<const FileKey> wordpiece_pipeline_keys();
std::span<const FileKey> byte_level_pipeline_keys();
/// The flags of an added token, in `added_tokens`, `added_tokens_decoder` or as the value of `mask_token` and so on.
std::span<const FileKey> added_token_keys();
std::span<const FileKey> special_tokens_map_keys();
/// added_tokens.json: tokens and their ids.
std::span<const FileKey> added_tokens_json_keys();

}  // namespace dtrain::data
