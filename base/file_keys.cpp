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

void refuse_unless_neutral(const FileKey& known, const json& value, const std::filesystem::path& path) {
  const json neutral = json::parse(known.neutral);
  if (value.is_null() || std::find(neutral.begin(), neutral.end(), value) != neutral.end()) return;
  std::string expected = "no such key";
  for (const json& fine : neutral) expected += fmt::format(" or {}", fine.dump());
  throw InputError(fmt::format("{}: '{}': {} is not supported ({}); expected {}", path.string(), known.key,
                               shown_json(value), known.reason, expected));
}

}  // namespace

std::string_view key_use_name(KeyUse use) {
  switch (use) {
    case KeyUse::heeded:
      return "heeded";
    case KeyUse::no_effect:
      return "no effect";
    case KeyUse::refused:
      break;
  }
  return "refused";
}

std::vector<std::string> check_keys(const json& object, std::span<const FileKey> keys,
                                    const std::filesystem::path& path, std::string_view inside) {
  constexpr std::size_t kMostNamed = 8;
  std::vector<std::string> unknown;
  for (const auto& [key, value] : object.items()) {
    const std::string whole = std::string(inside) + key;
    const auto known =
        std::find_if(keys.begin(), keys.end(), [&](const FileKey& line) { return matches(line.key, whole); });
    if (known == keys.end()) {
      unknown.push_back(whole);
    } else if (known->use == KeyUse::refused) {
      refuse_unless_neutral(*known, value, path);
    }
  }
  if (unknown.empty()) return {};
  std::string named;
  for (std::size_t i = 0; i < std::min(unknown.size(), kMostNamed); ++i)
    named += fmt::format("{}'{}'", i == 0 ? "" : ", ", unknown[i].substr(0, 80));
  if (unknown.size() > kMostNamed) named += fmt::format(" and {} more", unknown.size() - kMostNamed);
  return {fmt::format("{}: {} not known and not heeded: {}", path.string(),
                      unknown.size() == 1 ? "a key that is" : "keys that are", named)};
}

}  // namespace dtrain
