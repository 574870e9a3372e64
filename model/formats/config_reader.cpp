#include "model/formats/config_reader.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/error.h"

namespace dtrain::model {

std::int64_t ConfigReader::positive(const char* key) const {
  const auto found = document_.find(key);
  if (found == document_.end() || !found->is_number_integer() || found->get<std::int64_t>() <= 0) {
    throw InputError(fmt::format("{}: '{}' must be a positive integer, found {}", path_.string(), key,
                                 found == document_.end() ? "nothing" : found->dump()));
  }
  return found->get<std::int64_t>();
}

double ConfigReader::number(const char* key, double fallback, double lowest, double below) const {
  const auto found = document_.find(key);
  if (found == document_.end() || found->is_null()) return fallback;
  if (!found->is_number() || found->get<double>() < lowest || found->get<double>() >= below) {
    throw InputError(fmt::format("{}: '{}' must be a number from {} to below {}, found {}", path_.string(), key, lowest,
                                 below, found->dump()));
  }
  return found->get<double>();
}

std::int64_t ConfigReader::index(const char* key, std::int64_t fallback, std::int64_t below) const {
  const auto found = document_.find(key);
  if (found == document_.end() || found->is_null()) return fallback;
  if (!found->is_number_integer() || found->get<std::int64_t>() < 0 || found->get<std::int64_t>() >= below) {
    throw InputError(fmt::format("{}: '{}' must be a whole number from 0 to below {}, found {}", path_.string(), key,
                                 below, found->dump()));
  }
  return found->get<std::int64_t>();
}

bool ConfigReader::boolean(const char* key, bool fallback) const {
  const auto found = document_.find(key);
  if (found == document_.end() || found->is_null()) return fallback;
  if (!found->is_boolean()) {
    throw InputError(fmt::format("{}: '{}' must be true or false, found {}", path_.string(), key, found->dump()));
  }
  return found->get<bool>();
}

std::string ConfigReader::text(const char* key, const std::string& fallback) const {
  const auto found = document_.find(key);
  return found != document_.end() && found->is_string() ? found->get<std::string>() : fallback;
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

void ConfigReader::require_multiple(const char* key, const char* of_key) const {
  if (positive(key) % positive(of_key) == 0) return;
  throw InputError(fmt::format("{}: {} {} is not a multiple of {} {}", path_.string(), key, positive(key), of_key,
                               positive(of_key)));
}

}  // namespace dtrain::model
