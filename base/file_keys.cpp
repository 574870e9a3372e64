#include "base/file_keys.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/json_file.h"

namespace dtrain {
namespace {

using nlohmann::json;

bool matches(std::string_view pattern, std::string_view key) {
  return pattern.starts_with('*') ? key.ends_with(pattern.substr(1)) : pattern == key;
}

bool is_one_of(const json& value, std::string_view list) {
  const json values = json::parse(list);
  return std::find(values.begin(), values.end(), value) != values.end();
}

bool is_off(const json& value) { return value == false || value == 0; }

[[noreturn]] void refuse(const std::filesystem::path& path, std::string_view key, const json& value,
                         std::string_view reason, std::string_view neutral) {
  std::string expected = "no such key";
  for (const json& fine : json::parse(neutral)) expected += fmt::format(" or {}", fine.dump());
  throw InputError(fmt::format("{}: '{}': {} is not supported ({}); expected {}", path.string(), key, shown_json(value),
                               reason, expected));
}

std::string unknown_note(const std::filesystem::path& path, const std::vector<std::string>& unknown) {
  constexpr std::size_t kMostNamed = 8;
  std::string named;
  for (std::size_t i = 0; i < std::min(unknown.size(), kMostNamed); ++i)
    named += fmt::format("{}'{}'", i == 0 ? "" : ", ", unknown[i].substr(0, 80));
  if (unknown.size() > kMostNamed) named += fmt::format(" and {} more", unknown.size() - kMostNamed);
  return fmt::format("{}: {} not known and not heeded: {}", path.string(),
                     unknown.size() == 1 ? "a key that is" : "keys that are", named);
}

}  // namespace

FileKeys keys_of(KeyUse use, std::string_view reason, std::initializer_list<const char*> names) {
  FileKeys keys;
  for (const char* name : names) keys.push_back({name, use, reason, use == KeyUse::refused ? kSwitchedOff : "[]"});
  return keys;
}

FileKeys heeded_keys(std::initializer_list<const char*> names) { return keys_of(KeyUse::heeded, "", names); }

FileKeys joined(std::initializer_list<FileKeys> lists) {
  FileKeys all;
  for (const FileKeys& keys : lists) all.insert(all.end(), keys.begin(), keys.end());
  return all;
}

const FileKey* find_key(std::span<const FileKey> keys, std::string_view key) {
  const auto found =
      std::find_if(keys.begin(), keys.end(), [&](const FileKey& line) { return matches(line.key, key); });
  return found == keys.end() ? nullptr : &*found;
}

std::string_view key_use_name(KeyUse use) {
  switch (use) {
    case KeyUse::heeded:
      return "heeded";
    case KeyUse::no_effect:
      return "no effect";
    case KeyUse::noted:
      return "no effect, said";
    case KeyUse::refused:
      break;
  }
  return "refused";
}

std::vector<std::string> check_keys(const json& object, std::span<const FileKey> keys,
                                    const std::filesystem::path& path, std::string_view inside, UnknownKeys unknown) {
  std::vector<std::string> notes;
  std::vector<std::string> not_heeded;
  for (const auto& [key, value] : object.items()) {
    const std::string whole = std::string(inside) + key;
    const FileKey* known = find_key(keys, whole);
    if (known != nullptr) {
      if (known->use == KeyUse::refused && !value.is_null() && !is_one_of(value, known->neutral))
        refuse(path, whole, value, known->reason, known->neutral);
      if (known->use == KeyUse::noted && !value.is_null() && !is_one_of(value, kSwitchedOff))
        notes.push_back(
            fmt::format("{}: '{}': {} is ignored: {}", path.string(), whole, shown_json(value), known->reason));
    } else if (unknown == UnknownKeys::noted) {
      not_heeded.push_back(whole);
    } else if (!value.is_null() && !is_one_of(value, kSwitchedOff)) {
      refuse(path, whole, value, "this version of dtrain does not know that key", kSwitchedOff);
    } else if (is_off(value)) {
      notes.push_back(fmt::format("{}: '{}' is not known to this version of dtrain, and {} is taken for switched off",
                                  path.string(), whole, shown_json(value)));
    }
  }
  if (!not_heeded.empty()) notes.push_back(unknown_note(path, not_heeded));
  return notes;
}

}  // namespace dtrain
