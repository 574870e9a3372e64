#include "base/json_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/listing.h"

namespace dtrain {
namespace {

using nlohmann::json;

// The byte that opens one level too many. Brackets inside of strings do not count.
std::optional<std::size_t> first_too_deep(std::string_view text) {
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
      if (++depth > kDeepestJson) return i;
    } else if (byte == ']' || byte == '}') {
      --depth;
    }
  }
  return std::nullopt;
}

using PlaceOf = std::function<std::string(std::size_t byte)>;

// What the library says, from behind a mark.
std::string_view behind(std::string_view text, std::string_view mark) {
  const std::size_t begin = text.find(mark);
  return begin == text.npos ? text : text.substr(begin + mark.size());
}

json parsed(std::string_view text, const PlaceOf& place_of, bool place_has_position) {
  if (const auto byte = first_too_deep(text))
    throw InputError(
        fmt::format("{}: nests deeper than {} levels, which no such file does", place_of(*byte), kDeepestJson));
  const auto refusal = [&](const json::exception& error, std::size_t byte, const char* hint) {
    // Its number and name, "[json.exception.parse_error.101] ", and "parse error at line 1, column 2: ".
    std::string_view reason = behind(error.what(), "] ");
    if (place_has_position) reason = behind(behind(reason, "column "), ": ");
    // It has the whole of what was read last, a text as long as the file.
    return InputError(fmt::format("{}: not valid JSON: {}{}", place_of(byte), shown_text(reason, 300), hint));
  };
  try {
    return json::parse(text);
  } catch (const json::parse_error& error) {
    const std::size_t byte = std::max<std::size_t>(error.byte, 1) - 1;
    throw refusal(error, byte, byte >= text.size() ? "; is the file complete?" : "");
  } catch (const json::exception& error) {  // a number beyond all bounds
    throw refusal(error, 0, "");
  }
}

json parse_object(std::string_view text, const std::filesystem::path& path) {
  json document = parse_json(text, path.string());
  if (!document.is_object())
    throw InputError(fmt::format("{}: expected a JSON object, found {}", path.string(), document.type_name()));
  return document;
}

}  // namespace

json parse_json(std::string_view text, const std::string& place) {
  return parsed(
      text, [&](std::size_t) { return place; }, false);
}

json parse_json(std::string_view text, const PlaceOf& place_of) { return parsed(text, place_of, true); }

json read_json_object(const std::filesystem::path& path) { return parse_object(read_file(path), path); }

nlohmann::ordered_json read_ordered_json_object(const std::filesystem::path& path) {
  const std::string text = read_file(path);
  parse_object(text, path);  // refuses what the other way would take
  return nlohmann::ordered_json::parse(text);
}

json number_or_null(double value) { return std::isnan(value) ? json(nullptr) : json(value); }

std::string json_text(const json& document, int indent) {
  return document.dump(indent, ' ', false, json::error_handler_t::replace);
}

std::string shown_json(const json& value) {
  constexpr std::size_t kLongest = 200;
  std::string text = value.dump(-1, ' ', true, json::error_handler_t::replace);
  if (text.size() > kLongest) text = text.substr(0, kLongest) + "...";
  return text;
}

}  // namespace dtrain
