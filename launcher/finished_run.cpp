#include "launcher/finished_run.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <optional>
#include <system_error>

#include "base/atomic_file.h"
#include "base/digest.h"
#include "base/error.h"
#include "base/json_file.h"
#include "base/listing.h"
#include "base/mapped_file.h"
#include "launcher/config_file.h"
#include "launcher/options.h"
#include "peft/method.h"

namespace dtrain::launcher {
namespace {

namespace fs = std::filesystem;

constexpr std::array kWithoutEffect = {"output",       "threads",     "backend",   "device",         "comm-timeout",
                                       "cache-memory", "token-cache", "log-steps", "save-steps",     "bucket-bytes",
                                       "overlap",      "tensorboard", "max-time",  "shard-optimizer"};
// Differences that a message names.
constexpr std::size_t kMostNamed = 20;
constexpr std::array kDataFiles = {"train", "dev", "test", "ood"};

template <typename List>
bool is_one_of(const List& list, const std::string& key) {
  return std::find(list.begin(), list.end(), key) != list.end();
}

// Of an option that is given more than once the values in one text.
std::map<std::string, std::string> options_of(const std::string& ini) {
  std::map<std::string, std::string> options;
  for (const auto& [name, entry] : config_entries(ini)) {
    std::string& value = options[name];
    value += (value.empty() ? "" : ", ") + entry;
  }
  return options;
}

bool are_equal_numbers(const std::string& left, const std::string& right) {
  char* left_end = nullptr;
  char* right_end = nullptr;
  const bool are_equal = std::strtod(left.c_str(), &left_end) == std::strtod(right.c_str(), &right_end);
  return are_equal && !left.empty() && !right.empty() && *left_end == '\0' && *right_end == '\0';
}

// With every setting in its order; nothing where a file names what is no method.
std::optional<std::string> method_text(const std::string& spec) {
  try {
    return peft::parse_method_spec(spec).text();
  } catch (const UsageError&) {
    return std::nullopt;
  }
}

bool are_equal(const std::string& key, const std::string& left, const std::string& right) {
  if (left == right || are_equal_numbers(left, right)) return true;
  if (key == "method" && !left.empty() && !right.empty()) {
    const auto method = method_text(left);
    return method && method == method_text(right);
  }
  std::error_code ignored;
  return (key == "model" || key == "run") && fs::equivalent(left, right, ignored);
}

std::string digest_of(const fs::path& path) {
  const MappedFile file(path);
  Digest digest;
  digest.add(file.bytes().data(), file.bytes().size());
  return digest.text();
}

// The files that data_digests tells apart by their content.
bool is_file_of_data(const std::string& key, const std::string& value) {
  if (key == "class-weights") return !value.empty() && value != "balanced";
  return is_one_of(kDataFiles, key);
}

// In a sentence.
std::string words_of(const std::string& digest) {
  return digest == "class-weights" ? "class weights of a file" : shown_text(digest) + " data";
}

std::string shown(const std::string& value) {
  return value.empty() ? "not given" : fmt::format("'{}'", shown_text(value, 200));
}

}  // namespace

std::map<std::string, std::string> data_digests(const data::TaskFiles& files, const std::string& class_weights) {
  std::map<std::string, std::string> digests;
  const auto add = [&](const std::string& name, const fs::path& path) {
    std::error_code ignored;
    if (fs::is_regular_file(path, ignored)) digests[name] = digest_of(path);  // a pipe is read once
  };
  for (const auto& [name, path] : {std::pair("train", files.train), {"dev", files.dev}, {"test", files.test}}) {
    if (!path.empty()) add(name, path);
  }
  for (const auto& [name, path] : files.ood) add("ood." + name, path);
  if (is_file_of_data("class-weights", class_weights)) add("class-weights", class_weights);
  return digests;
}

void check_unchanged(const std::map<std::string, std::string>& before, const std::map<std::string, std::string>& now) {
  std::vector<std::string> changed;
  for (const auto& [name, digest] : before) {
    const auto found = now.find(name);
    if (found == now.end() || found->second != digest) changed.push_back(words_of(name));
  }
  if (changed.empty()) return;
  throw InputError(
      fmt::format("changed while it was read: {}. Start again when nothing writes to these files any more.",
                  fmt::join(changed, ", ")));
}

std::vector<std::string> option_differences(const std::string& before, const std::string& now, bool with_files) {
  auto earlier = options_of(before);
  auto given = options_of(now);
  // An earlier version did what is the default of an option that it did not have.
  for (const auto& [key, value] : options_of(default_options("train"))) {
    if (given.count(key) > 0) earlier.try_emplace(key, value);
  }
  for (const auto& [key, value] : earlier) given.try_emplace(key, "");
  std::vector<std::string> differences;
  for (const auto& [key, value] : given) {
    if (is_one_of(kWithoutEffect, key)) continue;
    if (!with_files && is_file_of_data(key, earlier[key]) && is_file_of_data(key, value)) continue;
    if (are_equal(key, earlier[key], value)) continue;
    differences.push_back(fmt::format("{} was {} and is now {}", shown_text(key), shown(earlier[key]), shown(value)));
  }
  return differences;
}

void check_finished_run(const fs::path& output, const std::string& now,
                        const std::map<std::string, std::string>& digests) {
  const fs::path path = output / "results.json";
  const auto results = read_json_object(path);
  std::map<std::string, std::string> before;
  try {
    before = results.value("data", before);
  } catch (const nlohmann::json::exception&) {
    throw InputError(fmt::format("{}: 'data': expected digests by the names of sets, found {}", path.string(),
                                 shown_json(results["data"])));
  }
  auto differences = option_differences(read_file(output / "config.ini"), now, before.empty());
  if (!before.empty()) {
    auto sets = digests;
    for (const auto& [name, digest] : before) sets.try_emplace(name, "");
    for (const auto& [name, digest] : sets) {
      const auto found = before.find(name);
      if (found == before.end()) differences.push_back(fmt::format("it had no {}", words_of(name)));
      if (found != before.end() && digest.empty()) differences.push_back(fmt::format("it had {}", words_of(name)));
      if (found != before.end() && !digest.empty() && found->second != digest)
        differences.push_back(fmt::format("its {} were others", words_of(name)));
    }
  }
  if (differences.empty()) return;
  if (differences.size() > kMostNamed) {
    const std::size_t more = differences.size() - kMostNamed;
    differences.resize(kMostNamed);
    differences.push_back(fmt::format("and {} more", more));
  }
  throw UsageError(
      fmt::format("--resume: the run in {} is finished, and not the one that is asked for: {}. Give its own options, "
                  "name another --output, or start anew with --overwrite.",
                  output.string(), fmt::join(differences, "; ")));
}

}  // namespace dtrain::launcher
