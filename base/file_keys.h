#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace dtrain {

/// What a key of a model's or tokenizer's file is to dtrain.
enum class KeyUse {
  /// Read, and computed with as transformers does.
  heeded,
  /// Known to change nothing that dtrain computes.
  no_effect,
  /// It would change what is computed, and that is not supported: only its neutral values are taken.
  refused,
};

/// A line of the list of what a file may hold.
struct FileKey {
  /// "model.dropout" is the key `dropout` of the object `model`; "*_token" is every key that ends so.
  std::string_view key;
  KeyUse use;
  /// What it decides, why it has no effect, or what is not supported.
  std::string_view reason;
  /// Of a refused key: the values besides null that change nothing, as a JSON list.
  std::string_view neutral = "[]";
};

/// "heeded", "no effect", "refused".
std::string_view key_use_name(KeyUse use);

/// Throws InputError naming a refused key whose value is not neutral: what was found, what is expected. Returns notes
/// on the keys that no list has, for a person to read. `inside` ("model.") picks the keys of the object that `object`
/// is.
std::vector<std::string> check_keys(const nlohmann::json& object, std::span<const FileKey> keys,
                                    const std::filesystem::path& path, std::string_view inside = "");

}  // namespace dtrain
