#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "peft/adapter_config.h"
#include "peft/method.h"
#include "peft/method_settings.h"

namespace dtrain::peft {

/// PEFT's rank_pattern and alpha_pattern: expressions, and the value of the modules that they match.
using Pattern = std::vector<std::pair<std::string, double>>;

/// The value of the first expression that matches `path`, or its end from a dot on; `otherwise` where none does. Throws
/// UsageError for what is not a regular expression.
double pattern_value(const Pattern& pattern, const std::string& path, double otherwise);

/// Throws UsageError for an expression that matches none of `paths`. `key` is the setting that it comes from.
void check_pattern(const Pattern& pattern, const std::vector<std::string>& paths, const std::string& key,
                   const std::string& method);

/// The same for a pattern of whole numbers.
void check_whole_pattern(const Pattern& pattern, const std::vector<std::string>& paths, const std::string& key,
                         const std::string& method);

/// A pattern of PEFT's configuration as a setting of `spec`, worked out on `paths`: those that do not have the value
/// `otherwise`.
void read_peft_pattern(const AdapterConfig& config, const std::string& key, const std::vector<std::string>& paths,
                       double otherwise, MethodSpec& spec);

/// A pattern for PEFT's configuration. It names whole paths, since PEFT sorts the names and takes the first that
/// matches.
nlohmann::json peft_pattern(const Pattern& pattern, const std::vector<std::string>& paths, double otherwise);

/// Rank and alpha of each of a method's linear layers.
struct Ranks {
  std::int64_t r = 8;
  double alpha = 8;
  Pattern rank_pattern = {};
  Pattern alpha_pattern = {};

  std::int64_t rank_of(const std::string& path) const;
  double alpha_of(const std::string& path) const { return pattern_value(alpha_pattern, path, alpha); }
  /// Throws UsageError for an expression that matches none of `paths`, and a rank that is not whole.
  void check(const std::vector<std::string>& paths, const std::string& method) const;
};

/// `settings` and those that make Ranks; `alpha_key` is what the method calls its alpha.
std::vector<MethodSetting> with_ranks(std::vector<MethodSetting> settings, const std::string& alpha_key);
Ranks read_ranks(const MethodSettings& settings, const std::string& alpha_key, std::int64_t largest);

/// The keys of PEFT's configuration that make Ranks, as settings of `spec`: patterns worked out on `paths`.
void read_peft_ranks(const AdapterConfig& config, const std::string& alpha_key, const std::vector<std::string>& paths,
                     MethodSpec& spec);

/// The keys that read_peft_ranks reads.
FileKeys rank_keys(const char* alpha_key);

/// Those keys for linear layers of these paths.
void write_peft_ranks(nlohmann::json& config, const std::string& alpha_key, const Ranks& ranks,
                      const std::vector<std::string>& paths);

/// A number for a configuration file: whole where it is.
nlohmann::json json_number(double number);

}  // namespace dtrain::peft
