#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace dtrain {

/// Deeper than anything nests that describes a model, a tokenizer, an adapter or a run.
inline constexpr int kDeepestJson = 100;

/// The value of a JSON text. `place` begins the message: a file, or a file and a line. Throws InputError where the text
/// is no JSON, or nests deeper than kDeepestJson (the parser would take it; what walks over the value would not).
nlohmann::json parse_json(std::string_view text, const std::string& place);

/// Likewise of a part of a file: `place_of` is the place of a byte of the text, the one where it goes wrong.
nlohmann::json parse_json(std::string_view text, const std::function<std::string(std::size_t byte)>& place_of);

/// The object that a JSON file holds. Throws InputError naming a file that cannot be read or holds something else.
nlohmann::json read_json_object(const std::filesystem::path& path);

/// Likewise with every object's keys in the order of the file.
nlohmann::ordered_json read_ordered_json_object(const std::filesystem::path& path);

/// A number as a file holds it: null where it is NaN, for which JSON has no number.
nlohmann::json number_or_null(double value);

/// A document as a file holds it, on one line or indented. Names of files may be no UTF-8, which JSON is: such bytes
/// become U+FFFD.
std::string json_text(const nlohmann::json& document, int indent = -1);

/// A value as a message shows it: its first characters, in ASCII.
std::string shown_json(const nlohmann::json& value);

}  // namespace dtrain
