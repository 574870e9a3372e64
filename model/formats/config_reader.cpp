#include "model/formats/config_reader.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/error.h"
#include "base/json_file.h"

namespace dtrain::model {

std::int64_t ConfigReader::size(const char* key, std::int64_t fallback, std::int64_t most) const {
  const auto found = document_.find(key);
  if (found == document_.end()) return fallback;
  if (!found->is_number_integer() || found->get<std::int64_t>() <= 0) {
    throw InputError(
        fmt::format("{}: '{}' must be a positive integer, found {}", path_.string(), key, shown_json(*found)));
  }
  if (found->get<std::int64_t>() > most) {
    throw InputError(
        fmt::format("{}: '{}' must be at most {}, found {}", path_.string(), key, most, shown_json(*found)));
  }
  return found->get<std::int64_t>();
}

double ConfigReader::number(const char* key, double fallback, double lowest, double below) const {
  const auto found = document_.find(key);
  if (found == document_.end() || found->is_null()) return fallback;
  if (!found->is_number() || found->get<double>() < lowest || found->get<double>() >= below) {
    throw InputError(fmt::format("{}: '{}' must be a number from {} to below {}, found {}", path_.string(), key, lowest,
                                 below, shown_json(*found)));
  }
  return found->get<double>();
}

std::int64_t ConfigReader::index(const char* key, std::int64_t fallback, std::int64_t below,
                                 std::optional<std::int64_t> none) const {
  const auto found = document_.find(key);
  if (found == document_.end()) return fallback;
  if (found->is_null()) return none.value_or(fallback);
  if (!found->is_number_integer() || found->get<std::int64_t>() < 0 || found->get<std::int64_t>() >= below) {
    throw InputError(fmt::format("{}: '{}' must be a whole number from 0 to below {}, found {}", path_.string(), key,
                                 below, shown_json(*found)));
  }
  return found->get<std::int64_t>();
}

std::string ConfigReader::text(const char* key, const std::string& fallback) const {
  const auto found = document_.find(key);
  if (found == document_.end() || found->is_null()) return fallback;
  if (!found->is_string())
    throw InputError(fmt::format("{}: '{}' must be a text, found {}", path_.string(), key, shown_json(*found)));
  return found->get<std::string>();
}

std::string ConfigReader::choice(const char* key, const std::string& fallback,
                                 const std::vector<std::string>& choices) const {
  std::string found = text(key, fallback);
  if (std::find(choices.begin(), choices.end(), found) == choices.end()) {
    throw InputError(fmt::format("{}: {} '{}' is not supported; supported are: {}", path_.string(), key, found,
                                 fmt::join(choices, ", ")));
  }
  return found;
}

}  // namespace dtrain::model
