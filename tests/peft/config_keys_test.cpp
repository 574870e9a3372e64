// What becomes of each key of somebody else's configuration: docs/adapter-files.md against the lists of the methods,
// and the lists against what loading does.

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/atomic_file.h"
#include "base/error.h"
#include "model/formats/classifier_files.h"
#include "peft/adapter_config.h"
#include "peft/formats/peft_files.h"
#include "peft/formats/trained_model.h"
#include "peft/parts/adapter_hub_config.h"
#include "peft/parts/composition.h"
#include "peft/registry.h"
#include "tests/base/temporary_directory.h"
#include "tests/model/reference_case.h"
#include "tests/peft/small_specs.h"

namespace dtrain::peft {
namespace {

TEST(AdapterConfig, HasTheNamesWithinAnObjectInTheOrderOfTheFileThatWasRead) {
  const TemporaryDirectory directory;
  const AdapterConfig config(directory.file("adapter_config.json", R"({"rank_pattern": {"b": 1, "c": 3, "a": 2}})"));
  directory.file("adapter_config.json", "{}");
  EXPECT_THAT(config.names_in_order("rank_pattern"), testing::ElementsAre("b", "c", "a"));
}

using testing::HasSubstr;

std::string use_of(const FileKey& key) {
  std::string use(key_use_name(key.use));
  if (key.use != KeyUse::refused || key.neutral == kSwitchedOff) return use;
  std::vector<std::string> neutral;
  for (const auto& value : nlohmann::json::parse(key.neutral)) neutral.push_back("`" + value.dump() + "`");
  return neutral.empty() ? "refused unless `null`" : fmt::format("{} unless {}", use, fmt::join(neutral, ", "));
}

std::string section(const std::string& title, const FileKeys& keys) {
  std::string text = fmt::format("### {}\n\n| key | here | why |\n|---|---|---|\n", title);
  for (const FileKey& key : keys) text += fmt::format("| `{}` | {} | {} |\n", key.key, use_of(key), key.reason);
  return text + "\n";
}

// Everything from the first section on.
std::string expected_tables() {
  std::string text = "## PEFT\n\n" + section("every method", common_peft_keys());
  for (const MethodKind& kind : method_kinds()) {
    if (!kind.peft_type.empty()) text += section(kind.peft_type, kind.peft_keys);
  }
  text += "## adapter-hub\n\n" + section("adapter_config.json", adapter_hub_file_keys());
  text += section("head_config.json", adapter_hub_head_keys());
  text += section(kUnionArchitecture, composition_keys());
  for (const PartKind& kind : part_kinds()) text += section(kind.architecture, kind.keys);
  return text;
}

TEST(FileKeys, AreDocumentedAsTheMethodsListThem) {
  const std::string document = read_file(DTRAIN_SOURCE_DIR "/docs/adapter-files.md");
  const std::string expected = expected_tables();
  EXPECT_EQ(document.substr(std::min(document.find("## PEFT\n"), document.size())) + "\n", expected)
      << "docs/adapter-files.md does not end with the tables as they are expected here";
}

TEST(FileKeys, AreListedOnce) {
  std::vector<FileKeys> all = {adapter_hub_file_keys(), adapter_hub_head_keys(), composition_keys()};
  for (const MethodKind& kind : method_kinds()) {
    all.push_back(joined({common_peft_keys(), kind.peft_keys}));
    EXPECT_EQ(kind.peft_type.empty(), kind.peft_keys.empty()) << kind.name;
    EXPECT_EQ(kind.adapter_hub_architecture.empty(), kind.adapter_hub_keys.empty()) << kind.name;
  }
  for (const PartKind& kind : part_kinds()) all.push_back(kind.keys);
  for (const FileKeys& keys : all) {
    std::set<std::string> names;
    for (const FileKey& key : keys) EXPECT_TRUE(names.insert(std::string(key.key)).second) << key.key;
  }
}

// Adapters of every method that PEFT has, with one key of their configuration at a time set to something.
class ConfigKeyUse : public testing::TestWithParam<std::string> {
 protected:
  ConfigKeyUse() {
    const auto classifier = model::load_classifier({.directory = base, .pooling = model::Pooling::mean, .classes = 3});
    const MethodSpec spec = parse_method_spec(small_spec(GetParam()));
    make_method(spec)->attach(*classifier, {});
    save_trained(*classifier, spec, {"a", "b", "c"}, base, directory.path());
    config = nlohmann::json::parse(read_file(file));
  }

  // What loading says: the refusal, and the warnings.
  std::pair<std::string, std::string> load_with(const std::string& key, const nlohmann::json& value) const {
    auto changed = config;
    changed[key] = value;
    write_file_atomically(file, changed.dump());
    std::string warnings;
    Log log;
    log.warning = [&](std::string_view text) { warnings += text; };
    try {
      load_trained(directory.path(), {}, {}, at::kCPU, log);
    } catch (const InputError& error) {
      return {error.what(), warnings};
    }
    return {"", warnings};
  }

  TemporaryDirectory directory;
  std::filesystem::path base = model::reference_directory() / "odd_relu";
  std::filesystem::path file = directory.path() / "adapter" / "adapter_config.json";
  nlohmann::json config;
};

TEST_P(ConfigKeyUse, IsAsItIsListed) {
  for (const FileKey& key : joined({common_peft_keys(), method_kind(GetParam()).peft_keys})) {
    if (key.use == KeyUse::heeded) continue;  // loading checks that it is read
    const std::string name(key.key);
    for (const nlohmann::json& value : {nlohmann::json(true), nlohmann::json("on"), nlohmann::json({{"a", 1}})}) {
      const auto [refusal, warnings] = load_with(name, value);
      if (key.use == KeyUse::refused) {
        EXPECT_THAT(refusal, HasSubstr(fmt::format("'{}': {} is not supported", name, value.dump())));
        EXPECT_THAT(refusal, HasSubstr(std::string(key.reason))) << name;
      } else {
        EXPECT_EQ(refusal, "") << name;
        EXPECT_EQ(warnings.find(key.use == KeyUse::noted ? key.reason : key.key) != std::string::npos,
                  key.use == KeyUse::noted)
            << name << ": " << warnings;
      }
    }
    for (const nlohmann::json& off :
         {nlohmann::json(), nlohmann::json(false), nlohmann::json(nlohmann::json::object())}) {
      const auto [refusal, warnings] = load_with(name, off);
      EXPECT_EQ(refusal + warnings, "") << name << " = " << off;
    }
  }
  EXPECT_THAT(load_with("a_key_of_tomorrow", 1).first, HasSubstr("a_key_of_tomorrow"));
  EXPECT_THAT(load_with("a_key_of_tomorrow", false).second, HasSubstr("taken for switched off"));
}

std::vector<std::string> methods_of_peft() {
  std::vector<std::string> names;
  for (const MethodKind& kind : method_kinds()) {
    if (!kind.peft_type.empty()) names.push_back(kind.name);
  }
  return names;
}

INSTANTIATE_TEST_SUITE_P(Methods, ConfigKeyUse, testing::ValuesIn(methods_of_peft()), [](const auto& tested) {
  std::string name = tested.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

}  // namespace
}  // namespace dtrain::peft
