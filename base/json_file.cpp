#include "base/json_file.h"

#include <fmt/format.h>

#include "base/atomic_file.h"
#include "base/error.h"

namespace dtrain {
namespace {

using nlohmann::json;

// Brackets inside of strings do not count.
bool nests_too_deep(std::string_view text) {
  int depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char byte = text[i];
    if (in_string) {
      if (byte == '\\') ++i;
      in_string = byte != '"';
    } else if (byte == '"') {
      in_string = true;
    } else if (byte == '[' || byte == '{') {
      if (++depth > kDeepestJson) return true;
    } else if (byte == ']' || byte == '}') {
      --depth;
    }
  }
  return false;
}

}  // namespace

json parse_json(std::string_view text, const std::string& place) {
  if (nests_too_deep(text))
    throw InputError(fmt::format("{}: nests deeper than {} levels, which no such file does", place, kDeepestJson));
  try {
    return json::parse(text);
  } catch (const json::exception& error) {
    // Without its number and its name, "[json.exception.parse_error.101] ".
    const std::string_view reason = error.what();
    const std::size_t begin = reason.find("] ");
    throw InputError(
        fmt::format("{}: not valid JSON: {}", place, begin == reason.npos ? reason : reason.substr(begin + 2)));
  }
}

json read_json_object(const std::filesystem::path& path) {
  json document = parse_json(read_file(path), path.string());
  if (!document.is_object())
    throw InputError(fmt::format("{}: expected a JSON object, found {}", path.string(), document.type_name()));
  return document;
}

std::string shown_json(const json& value) {
  constexpr std::size_t kLongest = 200;
  std::string text = value.dump(-1, ' ', true, json::error_handler_t::replace);
  if (text.size() > kLongest) text = text.substr(0, kLongest) + "...";
  return text;
}

}  // namespace dtrain
