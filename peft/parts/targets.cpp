#include "peft/parts/targets.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <functional>
#include <iterator>
#include <regex>
#include <set>

#include "base/error.h"
#include "base/nearest_name.h"
#include "peft/parts/expression.h"

namespace dtrain::peft {
namespace {

using model::Linear;

bool contains(const std::vector<Linear*>& linears, const Linear* linear) {
  return std::find(linears.begin(), linears.end(), linear) != linears.end();
}

bool is_word(const TargetModules& targets, const char* word) { return targets.names == std::vector<std::string>{word}; }

// The layer a linear layer belongs to; -1 for the pooler.
std::int64_t layer_of(model::Classifier& classifier, const Linear* linear) {
  for (int layer = 0; layer < classifier.encoder().layers(); ++layer) {
    if (contains(classifier.encoder().layer(layer).linears(), linear)) return layer;
  }
  return -1;
}

[[noreturn]] void refuse_target(const std::string& target, const std::vector<Linear*>& linears,
                                const std::string& method) {
  const auto names = last_parts(paths_of(linears));
  throw UsageError(fmt::format("method '{}': no module of the model ends with target_modules '{}'{}; it has: {}",
                               method, target, did_you_mean(target, names), fmt::join(names, ", ")));
}

bool is_text(const AdapterConfig& config, const std::string& key) {
  const auto given = config.json().find(key);
  return given != config.json().end() && given->is_string();
}

std::regex expression_of(const AdapterConfig& config, const std::string& key, const std::string& text) {
  const auto expression = read_expression(text);
  if (!expression) config.refuse(key, "not a regular expression that dtrain can read (ECMAScript's)");
  return *expression;
}

// The paths that exclude_modules or modules_to_save keep from being targets.
std::set<std::string> read_excluded(const AdapterConfig& config, const std::vector<std::string>& paths) {
  std::set<std::string> excluded;
  const auto add_matches = [&](const std::string& key, const std::string& text) {
    const std::regex expression = expression_of(config, key, text);
    std::copy_if(paths.begin(), paths.end(), std::inserter(excluded, excluded.end()),
                 [&](const std::string& path) { return std::regex_match(path, expression); });
  };
  if (is_text(config, "exclude_modules")) {
    add_matches("exclude_modules", config.strings("exclude_modules").front());
  } else {
    for (const std::string& name : config.strings("exclude_modules")) {
      std::copy_if(paths.begin(), paths.end(), std::inserter(excluded, excluded.end()),
                   [&](const std::string& path) { return matches_path(path, name); });
    }
  }
  for (const std::string& name : config.strings("modules_to_save")) {
    add_matches("modules_to_save", "(|.*\\.)" + name + "(|\\..*)");
  }
  return excluded;
}

// Whether layers_to_transform lets a path be a target: by the first number in it, or, with layers_pattern, by the one
// after such a component.
std::function<bool(const std::string&)> read_layers(const AdapterConfig& config) {
  const auto given = config.value("layers_to_transform", nlohmann::json());
  const auto patterns = config.strings("layers_pattern");
  if (given.empty()) return [](const std::string&) { return true; };
  std::set<std::int64_t> layers;
  if (given.is_number_integer()) {
    layers.insert(given.get<std::int64_t>());
  } else {
    layers = config.value("layers_to_transform", layers);
  }
  std::vector<std::regex> expressions;
  for (const std::string& pattern : patterns) {
    expressions.push_back(expression_of(config, "layers_pattern", "(?:|.*?\\.)(?:" + pattern + ")\\.(\\d+)\\..*"));
  }
  if (patterns.empty()) expressions.emplace_back(".*?\\.[^.]*\\.(\\d+)\\..*");
  return [layers, expressions](const std::string& path) {
    std::smatch match;
    const bool numbered = std::any_of(expressions.begin(), expressions.end(), [&](const std::regex& expression) {
      return std::regex_match(path, match, expression);
    });
    if (!numbered) return false;
    const std::string number = match[match.size() - 1];
    std::int64_t layer = -1;  // a pattern with brackets of its own may end with another group
    std::from_chars(number.data(), number.data() + number.size(), layer);
    return layers.count(layer) > 0;
  };
}

}  // namespace

bool matches_path(const std::string& path, const std::string& target) {
  return path == target || path.ends_with("." + target);
}

std::vector<Linear*> find_targets(model::Classifier& classifier, const TargetModules& targets,
                                  const std::vector<Linear*>& defaults, const std::string& method) {
  if (targets.names.empty()) {
    throw UsageError(fmt::format(
        "method '{}': target_modules is empty; expected names of linear layers, all-linear or auto", method));
  }
  const auto linears = classifier.linears();
  const auto matched_by = [&](const Linear* linear, const std::string& target) {
    if (linear->path() == target) return true;
    if (!matches_path(linear->path(), target)) return false;
    return targets.layers.empty() || std::find(targets.layers.begin(), targets.layers.end(),
                                               layer_of(classifier, linear)) != targets.layers.end();
  };
  for (const std::int64_t layer : targets.layers) {
    if (layer < 0 || layer >= classifier.encoder().layers()) {
      throw UsageError(fmt::format("method '{}': layers_to_transform names layer {}, but the model has layers 0 to {}",
                                   method, layer, classifier.encoder().layers() - 1));
    }
  }
  const bool defaulted = is_word(targets, "auto");
  const bool all = is_word(targets, "all-linear");
  std::vector<Linear*> found;
  for (Linear* linear : linears) {
    if (std::any_of(targets.exclude.begin(), targets.exclude.end(),
                    [&](const std::string& name) { return matches_path(linear->path(), name); })) {
      continue;
    }
    const bool in_layers = targets.layers.empty() || std::find(targets.layers.begin(), targets.layers.end(),
                                                               layer_of(classifier, linear)) != targets.layers.end();
    const bool named = std::any_of(targets.names.begin(), targets.names.end(),
                                   [&](const std::string& target) { return matched_by(linear, target); });
    if (defaulted ? contains(defaults, linear) && in_layers : all ? in_layers : named) found.push_back(linear);
  }
  for (const std::string& target : targets.names) {
    if (defaulted || all) break;
    if (std::none_of(linears.begin(), linears.end(),
                     [&](const Linear* l) { return matches_path(l->path(), target); })) {
      refuse_target(target, linears, method);
    }
  }
  if (found.empty()) {
    throw UsageError(fmt::format("method '{}': exclude_modules and layers_to_transform leave none of target_modules {}",
                                 method, fmt::join(targets.names, "+")));
  }
  return found;
}

std::vector<std::string> read_names(const AdapterConfig& config, const std::string& key,
                                    const std::vector<std::string>& paths) {
  auto names = config.strings(key);
  if (!is_text(config, key)) return names;
  const std::regex expression = expression_of(config, key, names.front());
  std::vector<std::string> matched;
  std::copy_if(paths.begin(), paths.end(), std::back_inserter(matched),
               [&](const std::string& path) { return std::regex_match(path, expression); });
  if (matched.empty()) config.refuse(key, "matches no module of the base model");
  return matched;
}

std::string read_targets(const AdapterConfig& config, const std::vector<std::string>& paths) {
  const auto names = read_names(config, "target_modules", paths);
  if (names.empty()) throw InputError(fmt::format("{}: target_modules is missing", config.path().string()));
  const auto excluded = read_excluded(config, paths);
  const auto in_layers = read_layers(config);
  const auto is_target = [&](const std::string& path, const std::string& name) {
    return path == name || (matches_path(path, name) && in_layers(path));
  };
  std::vector<std::string> named;
  std::vector<std::string> left;
  for (const std::string& path : paths) {
    const auto any = [&](const auto& matches) {
      return std::any_of(names.begin(), names.end(), [&](const auto& name) { return matches(path, name); });
    };
    if (any(matches_path)) named.push_back(path);
    if (any(is_target) && excluded.count(path) == 0) left.push_back(path);
  }
  if (named != left) {
    if (left.empty()) config.refuse("target_modules", "exclude_modules and layers_to_transform leave none of them");
    return fmt::format("{}", fmt::join(left, "+"));
  }
  // PEFT takes no offence at a name that this model does not have beside one that it has.
  std::vector<std::string> known;
  std::copy_if(names.begin(), names.end(), std::back_inserter(known), [&](const std::string& name) {
    return std::any_of(paths.begin(), paths.end(), [&](const auto& path) { return matches_path(path, name); });
  });
  return fmt::format("{}", fmt::join(known.empty() ? names : known, "+"));
}

FileKeys target_keys() {
  return heeded_keys({"target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "modules_to_save"});
}

std::vector<std::string> paths_of(const std::vector<Linear*>& linears) {
  std::vector<std::string> paths;
  for (const Linear* linear : linears) paths.push_back(linear->path());
  return paths;
}

std::vector<std::string> last_parts(const std::vector<std::string>& paths) {
  std::vector<std::string> names;
  for (const std::string& path : paths) {
    const std::string name = path.substr(path.rfind('.') + 1);
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  return names;
}

std::vector<Linear*> query_and_value(model::Classifier& classifier) {
  std::vector<Linear*> found;
  for (int layer = 0; layer < classifier.encoder().layers(); ++layer) {
    found.insert(found.end(), {&classifier.encoder().layer(layer).query, &classifier.encoder().layer(layer).value});
  }
  return found;
}

std::vector<std::string> target_names(model::Classifier& classifier, const TargetModules& targets,
                                      const std::vector<Linear*>& wrapped) {
  std::vector<std::string> names;
  const auto add = [&](const std::string& name) {
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  };
  // The shortest ends of the paths that are the same in every layer: those after "layer.N.".
  const auto end_of = [&](const Linear* linear) {
    const std::int64_t layer = layer_of(classifier, linear);
    if (layer < 0) return linear->path();
    const std::string number = fmt::format(".{}.", layer);
    return linear->path().substr(linear->path().find(number) + number.size());
  };
  if (is_word(targets, "auto") && targets.exclude.empty() && targets.layers.empty()) {
    for (const Linear* linear : wrapped) add(end_of(linear));
    return names;
  }
  // PEFT would find the pooler even where nothing uses it, and knows no default for some families.
  const bool pooler_is_named = !contains(classifier.linears(), &classifier.dense) &&
                               std::any_of(targets.names.begin(), targets.names.end(), [&](const std::string& target) {
                                 return matches_path(classifier.dense.path(), target);
                               });
  if (is_word(targets, "auto") || is_word(targets, "all-linear") || pooler_is_named || !targets.exclude.empty() ||
      !targets.layers.empty()) {
    for (const Linear* linear : wrapped) add(linear->path());
    return names;
  }
  return targets.names;
}

}  // namespace dtrain::peft
