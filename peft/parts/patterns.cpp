#include "peft/parts/patterns.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/listing.h"
#include "peft/parts/expression.h"

namespace dtrain::peft {
namespace {

// Every path is tried with every one of them.
constexpr std::size_t kMostExpressions = 2'000;

bool matches(const std::string& expression, const std::string& path) {
  const auto whole = read_expression("(.*\\.)?(" + expression + ")");
  if (!whole) {
    throw UsageError(fmt::format("'{}' is not a regular expression that dtrain can read (ECMAScript's)",
                                 shown_text(expression, 200)));
  }
  return std::regex_match(path, *whole);
}

}  // namespace

double pattern_value(const Pattern& pattern, const std::string& path, double otherwise) {
  for (const auto& [expression, value] : pattern) {
    if (matches(expression, path)) return value;
  }
  return otherwise;
}

void check_pattern(const Pattern& pattern, const std::vector<std::string>& paths, const std::string& key,
                   const std::string& method) {
  for (const auto& [expression, value] : pattern) {
    const auto& text = expression;
    if (std::none_of(paths.begin(), paths.end(), [&](const auto& path) { return matches(text, path); })) {
      throw UsageError(
          fmt::format("method '{}': {} '{}' matches none of the linear layers that are wrapped, such as {}", method,
                      key, expression, paths.front()));
    }
  }
}

void check_whole_pattern(const Pattern& pattern, const std::vector<std::string>& paths, const std::string& key,
                         const std::string& method) {
  check_pattern(pattern, paths, key, method);
  for (const auto& [expression, value] : pattern) {
    if (value == std::floor(value)) continue;
    throw UsageError(
        fmt::format("method '{}': {} gives '{}' the value {}, which is not whole", method, key, expression, value));
  }
}

void read_peft_pattern(const AdapterConfig& config, const std::string& key, const std::vector<std::string>& paths,
                       double otherwise, MethodSpec& spec) {
  const auto given = config.value(key, nlohmann::json::object());
  if (given.empty()) return;
  if (!given.is_object()) config.refuse(key, "expected expressions and numbers");
  if (given.size() > kMostExpressions)
    config.refuse(key, fmt::format("expected at most {} expressions, found {}", kMostExpressions, given.size()));
  Pattern pattern;
  // As in PEFT the first one that matches decides.
  for (const std::string& expression : config.names_in_order(key)) {
    const auto& value = given.at(expression);
    if (!value.is_number()) config.refuse(key, "expected numbers");
    pattern.emplace_back(expression, value.get<double>());
  }
  std::string text;
  for (const std::string& path : paths) {
    const double value = pattern_value(pattern, path, otherwise);
    if (value != otherwise) text += fmt::format("{}{}~{}", text.empty() ? "" : "+", path, value);
  }
  if (!text.empty()) spec.settings[key] = text;
}

nlohmann::json peft_pattern(const Pattern& pattern, const std::vector<std::string>& paths, double otherwise) {
  auto written = nlohmann::json::object();
  for (const std::string& path : paths) {
    const double value = pattern_value(pattern, path, otherwise);
    if (value != otherwise) written[path] = json_number(value);
  }
  return written;
}

std::int64_t Ranks::rank_of(const std::string& path) const {
  return static_cast<std::int64_t>(pattern_value(rank_pattern, path, static_cast<double>(r)));
}

void Ranks::check(const std::vector<std::string>& paths, const std::string& method) const {
  check_whole_pattern(rank_pattern, paths, "rank_pattern", method);
  check_pattern(alpha_pattern, paths, "alpha_pattern", method);
}

std::vector<MethodSetting> with_ranks(std::vector<MethodSetting> settings, const std::string& alpha_key) {
  settings.insert(settings.begin(), {{"r", "8", "rank of the update"},
                                     {alpha_key, "8", fmt::format("the update is scaled by {} / r", alpha_key)}});
  settings.push_back(
      {"rank_pattern", "", "other ranks: NAME~RANK joined by +, such as query~16+layer.0.output.dense~4"});
  settings.push_back({"alpha_pattern", "", fmt::format("other values of {}, alike", alpha_key)});
  return settings;
}

Ranks read_ranks(const MethodSettings& settings, const std::string& alpha_key, std::int64_t largest) {
  return {.r = settings.size("r", 1, largest),
          .alpha = settings.number(alpha_key, 0, 1e6),
          .rank_pattern = settings.pattern("rank_pattern", 1, static_cast<double>(largest)),
          .alpha_pattern = settings.pattern("alpha_pattern", 0, 1e6)};
}

void read_peft_ranks(const AdapterConfig& config, const std::string& alpha_key, const std::vector<std::string>& paths,
                     MethodSpec& spec) {
  const Ranks common{.r = config.value<std::int64_t>("r", 8), .alpha = config.value(alpha_key, 8.0)};
  spec.settings["r"] = std::to_string(common.r);
  spec.settings[alpha_key] = fmt::format("{}", common.alpha);
  read_peft_pattern(config, "rank_pattern", paths, static_cast<double>(common.r), spec);
  read_peft_pattern(config, "alpha_pattern", paths, common.alpha, spec);
}

FileKeys rank_keys(const char* alpha_key) { return heeded_keys({"r", alpha_key, "rank_pattern", "alpha_pattern"}); }

void write_peft_ranks(nlohmann::json& config, const std::string& alpha_key, const Ranks& ranks,
                      const std::vector<std::string>& paths) {
  config["r"] = ranks.r;
  config[alpha_key] = json_number(ranks.alpha);
  config["rank_pattern"] = peft_pattern(ranks.rank_pattern, paths, static_cast<double>(ranks.r));
  config["alpha_pattern"] = peft_pattern(ranks.alpha_pattern, paths, ranks.alpha);
}

nlohmann::json json_number(double number) {
  return number == std::floor(number) ? nlohmann::json(static_cast<std::int64_t>(number)) : nlohmann::json(number);
}

}  // namespace dtrain::peft
