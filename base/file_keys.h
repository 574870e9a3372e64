#pragma once

#include <filesystem>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace dtrain {

/// What a key of somebody else's file (a model's, a tokenizer's, an adapter's) is to dtrain.
enum class KeyUse {
  /// Read, and computed with as the package that writes it does.
  heeded,
  /// Known to change nothing that dtrain computes.
  no_effect,
  /// Likewise; where it is switched on, a note says why it has no effect.
  noted,
  /// It would change what is computed, and that is not supported: only its neutral values are taken.
  refused,
};

/// What says nothing, or that something is off, whatever the key.
inline constexpr std::string_view kSwitchedOff = R"([false, 0, "", [], {}])";

/// A line of the list of what a file may hold. The lists are of literals: it owns no text.
struct FileKey {
  /// "model.dropout" is the key `dropout` of the object `model`; "*_token" is every key that ends so.
  std::string_view key;
  KeyUse use;
  /// What it decides, why it has no effect, or what is not supported.
  std::string_view reason = "";
  /// Of a refused key: the values besides null that change nothing, as a JSON list.
  std::string_view neutral = "[]";
};
using FileKeys = std::vector<FileKey>;

/// Lines of one use, for one reason. The neutral values of refused ones are kSwitchedOff.
FileKeys keys_of(KeyUse use, std::string_view reason, std::initializer_list<const char*> names);
/// Those whose names say enough.
FileKeys heeded_keys(std::initializer_list<const char*> names);
/// One after the other.
FileKeys joined(std::initializer_list<FileKeys> lists);
/// The line of a key; null where the list has none.
const FileKey* find_key(std::span<const FileKey> keys, std::string_view key);

/// "heeded", "no effect", "no effect, said", "refused".
std::string_view key_use_name(KeyUse use);

/// What becomes of keys that no list has.
enum class UnknownKeys {
  /// A note names them: many programs write into such a file, and most of it is read by nobody.
  noted,
  /// Refused unless the value is null or one of kSwitchedOff: a later release may mean by it what would not be
  /// computed here. False and 0 are noted.
  refused,
};

/// Throws InputError naming a refused key whose value is not neutral: what was found, what is expected. Returns notes
/// on the keys that a person should know of. `inside` ("model.") picks the keys of the object that `object` is.
std::vector<std::string> check_keys(const nlohmann::json& object, std::span<const FileKey> keys,
                                    const std::filesystem::path& path, std::string_view inside = "",
                                    UnknownKeys unknown = UnknownKeys::noted);

}  // namespace dtrain
