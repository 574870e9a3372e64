// Adapters that lack something, hold something odd, or are for another model.

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ctime>
#include <filesystem>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/atomic_file.h"
#include "base/error.h"
#include "model/formats/classifier_files.h"
#include "model/formats/safetensors.h"
#include "peft/formats/trained_model.h"
#include "peft/registry.h"
#include "tests/base/temporary_directory.h"
#include "tests/model/reference_case.h"

namespace dtrain::peft {
namespace {

namespace fs = std::filesystem;
using model::Pooling;

// One adapter, damaged in one way at a time.
class DamagedAdapter : public testing::Test {
 protected:
  DamagedAdapter() {
    const auto base = model::reference_directory() / "odd_relu";
    for (const char* method : {"head", "lora", "pfeiffer", "prompt"}) {
      const auto classifier = model::load_classifier({.directory = base, .pooling = Pooling::mean, .classes = 4});
      make_method({method, {}})->attach(*classifier, {});
      save_trained(*classifier, {method, {}}, {"a", "b", "c", "d"}, base, directory / method);
    }
  }

  std::string refusal(const std::string& method, const std::optional<fs::path>& base = {}) const {
    try {
      load_trained(directory / method, base, {}, at::kCPU, Log());
    } catch (const InputError& error) {
      return error.what();
    }
    return "";
  }

  nlohmann::json read_json(const std::string& file) const { return nlohmann::json::parse(read_file(directory / file)); }
  void write_json(const std::string& file, const nlohmann::json& json) const {
    write_file_atomically(directory / file, json.dump());
  }

  // The tensors of an adapter, changed by `change`.
  template <typename Change>
  void rewrite(const std::string& file, const Change& change) const {
    std::map<std::string, at::Tensor> tensors;
    {
      const model::SafetensorsFile read(directory / file);
      for (const auto& name : read.names()) tensors[name] = read.tensor(name);
    }
    change(tensors);
    model::write_safetensors(directory / file, {tensors.begin(), tensors.end()});
  }

  const TemporaryDirectory temporary;
  const fs::path directory = temporary.path();
  const std::string lora_tensors = "lora/adapter/adapter_model.safetensors";
  const std::string query = "base_model.model.bert.encoder.layer.0.attention.self.query.";
};

TEST_F(DamagedAdapter, IsReadWhileItIsWhole) {
  EXPECT_EQ(refusal("head"), "");
  EXPECT_EQ(refusal("lora"), "");
}

TEST_F(DamagedAdapter, InHalfPrecisionIsReadAsTheNumbersThatItHolds) {
  const auto logits = [&](const std::string& method) {
    const at::NoGradGuard no_grad;
    model::ForwardContext context;
    return load_trained(directory / method, {}, {}, at::kCPU, Log())
        .classifier->forward(model::ReferenceCase("odd_relu").batch(), context);
  };
  at::manual_seed(12);
  for (const auto& [method, file] :
       std::vector<std::pair<std::string, std::string>>{{"head", "head/adapter/weights.safetensors"},
                                                        {"lora", lora_tensors},
                                                        {"pfeiffer", "pfeiffer/adapter/adapter.safetensors"}}) {
    const auto rewrite_each = [&, &path = file](const auto& change) {
      rewrite(path, [&](auto& tensors) {
        for (auto& [name, tensor] : tensors) tensor = change(tensor);
      });
    };
    rewrite_each([](const at::Tensor& tensor) { return 0.3 * at::randn_like(tensor); });
    const std::string whole = read_file(directory / file);
    const auto in_float = logits(method);
    for (const auto type : {at::kHalf, at::kBFloat16}) {
      write_file_atomically(directory / file, whole);
      rewrite_each([&](const at::Tensor& tensor) { return tensor.to(type); });
      const auto in_half = logits(method);
      EXPECT_EQ(in_half.scalar_type(), at::kFloat);
      EXPECT_LT(model::largest_difference(in_half, in_float), type == at::kHalf ? 0.01 : 0.08) << method << type;
      rewrite_each([](const at::Tensor& tensor) { return tensor.to(at::kFloat); });
      EXPECT_TRUE(at::equal(in_half, logits(method))) << method << type;
    }
  }
}

TEST_F(DamagedAdapter, WithoutItsHeadIsRefused) {
  rewrite("head/adapter/weights.safetensors", [](auto& tensors) { tensors.erase("classifier.weight"); });
  EXPECT_THAT(refusal("head"), testing::AllOf(testing::HasSubstr("tensor 'classifier.weight' is missing"),
                                              testing::HasSubstr("would score at random")));
  rewrite(lora_tensors, [](auto& tensors) { tensors.erase("base_model.model.classifier.bias"); });
  EXPECT_THAT(refusal("lora"), testing::HasSubstr("tensor 'base_model.model.classifier.bias' of shape [4] is missing"));
}

TEST_F(DamagedAdapter, WithAHeadOfAnotherKindIsRefused) {
  rewrite("head/adapter/weights.safetensors",
          [](auto& tensors) { tensors["classifier.weight"] = at::scalar_tensor(1); });
  EXPECT_THAT(refusal("head"), testing::HasSubstr("expected shape [classes, hidden], here [classes, 40], found []"));
}

TEST_F(DamagedAdapter, WithoutOneTensorIsRefused) {
  rewrite(lora_tensors, [&](auto& tensors) { tensors.erase(query + "lora_B.weight"); });
  EXPECT_THAT(refusal("lora"), testing::HasSubstr("'" + query + "lora_B.weight' of shape [40, 8] is missing"));
}

TEST_F(DamagedAdapter, WithATensorTooManyIsRefused) {
  rewrite(lora_tensors, [&](auto& tensors) { tensors[query + "lora_C.weight"] = at::zeros({1}); });
  EXPECT_THAT(refusal("lora"), testing::AllOf(testing::HasSubstr(query + "lora_C.weight' has no place"),
                                              testing::HasSubstr("did you mean")));
}

TEST_F(DamagedAdapter, WithATensorOfAnotherTypeIsRefused) {
  rewrite(lora_tensors, [&](auto& tensors) { tensors[query + "lora_B.weight"] = at::zeros({40, 8}, at::kInt); });
  EXPECT_THAT(refusal("lora"), testing::HasSubstr("expected a floating-point type, found I32"));
}

TEST_F(DamagedAdapter, WithNumbersThatAreNotFiniteIsRefusedNamingFileAndTensor) {
  const auto spoil = [&](const std::string& file, const std::string& name, double number) {
    rewrite(file, [&](auto& tensors) { tensors.at(name)[1][2] = number; });
  };
  const auto names = [](const std::string& file, const std::string& name) {
    return testing::AllOf(testing::HasSubstr(file), testing::HasSubstr("'" + name + "' holds numbers that are not"));
  };
  spoil(lora_tensors, query + "lora_B.weight", std::numeric_limits<double>::quiet_NaN());
  EXPECT_THAT(refusal("lora"), names(lora_tensors, query + "lora_B.weight"));
  spoil("head/adapter/weights.safetensors", "classifier.weight", -std::numeric_limits<double>::infinity());
  EXPECT_THAT(refusal("head"), names("head/adapter/weights.safetensors", "classifier.weight"));
}

TEST_F(DamagedAdapter, OfAnotherTaskIsRefused) {
  auto config = read_json("lora/adapter/adapter_config.json");
  for (const char* task : {"TOKEN_CLS", "CAUSAL_LM", "FEATURE_EXTRACTION"}) {
    config["task_type"] = task;
    write_json("lora/adapter/adapter_config.json", config);
    EXPECT_THAT(refusal("lora"), testing::HasSubstr("task_type = \"" + std::string(task) + "\": expected SEQ_CLS"))
        << task;
  }
  config["task_type"] = nullptr;
  write_json("lora/adapter/adapter_config.json", config);
  EXPECT_EQ(refusal("lora"), "");
  config.erase("task_type");
  write_json("lora/adapter/adapter_config.json", config);
  EXPECT_EQ(refusal("lora"), "");
}

TEST_F(DamagedAdapter, WithoutTheNameOfItsBaseModelNeedsIt) {
  auto config = read_json("lora/adapter/adapter_config.json");
  config["base_model_name_or_path"] = nullptr;
  write_json("lora/adapter/adapter_config.json", config);
  fs::remove(directory / "lora/adapter/dtrain.json");
  EXPECT_THAT(refusal("lora"), testing::HasSubstr("does not say what its base model is; name that with --model"));
  EXPECT_EQ(refusal("lora", model::reference_directory() / "odd_relu"), "");
}

TEST_F(DamagedAdapter, WithAValueOutOfRangeIsNotTakenForAnotherModels) {
  const auto config = read_json("lora/adapter/adapter_config.json");
  for (const auto& [key, value] :
       std::vector<std::pair<std::string, nlohmann::json>>{{"lora_alpha", -4}, {"lora_dropout", 1.0}, {"r", 0}}) {
    auto changed = config;
    changed[key] = value;
    write_json("lora/adapter/adapter_config.json", changed);
    EXPECT_THAT(refusal("lora"),
                testing::AllOf(testing::HasSubstr(key + " must be"), testing::Not(testing::HasSubstr("another model"))))
        << key;
  }
}

TEST_F(DamagedAdapter, OfAnotherModelIsRefused) {
  EXPECT_THAT(refusal("lora", model::reference_directory() / "new_gelu"),
              testing::AllOf(testing::HasSubstr("needs shape [8, 64], found [8, 40]"),
                             testing::HasSubstr("Is the adapter for another model?")));
  EXPECT_THAT(refusal("head", model::reference_directory() / "new_gelu"),
              testing::HasSubstr("needs shape [4, 64], found [4, 40]"));
  EXPECT_THAT(refusal("head", directory / "nowhere"),
              testing::HasSubstr("is not a directory here; name it with --model"));
}

TEST_F(DamagedAdapter, WithMoreLayersThanTheModelIsRefused) {
  auto description = read_json("head/adapter/dtrain.json");
  description["method"] = "layers:k=5";
  write_json("head/adapter/dtrain.json", description);
  EXPECT_THAT(refusal("head"), testing::AllOf(testing::HasSubstr("the model has 3 layers"),
                                              testing::HasSubstr("Is the adapter for another model?")));
}

TEST_F(DamagedAdapter, WithAConfigurationOfTheWrongTypesIsRefused) {
  const auto config = read_json("lora/adapter/adapter_config.json");
  for (const auto& [key, value] : std::vector<std::pair<std::string, nlohmann::json>>{{"r", "eight"},
                                                                                      {"target_modules", {1, 2}},
                                                                                      {"target_modules", nullptr},
                                                                                      {"peft_type", "XLORA"},
                                                                                      {"r", 0},
                                                                                      {"bias", "some"}}) {
    auto changed = config;
    changed[key] = value;
    write_json("lora/adapter/adapter_config.json", changed);
    EXPECT_THAT(refusal("lora"), testing::HasSubstr(key)) << value;
  }
  write_file_atomically(directory / "lora/adapter/adapter_config.json", "[]");
  EXPECT_THAT(refusal("lora"), testing::HasSubstr("expected a JSON object"));
}

TEST_F(DamagedAdapter, WithSettingsThatDtrainDoesNotHaveIsRefusedNamingThem) {
  const auto config = read_json("lora/adapter/adapter_config.json");
  for (const auto& [key, value] :
       std::vector<std::pair<std::string, nlohmann::json>>{{"init_lora_weights", "pissa_niter_4"},
                                                           {"init_lora_weights", "loftq"},
                                                           {"layer_replication", {{0, 2}}},
                                                           {"use_qalora", true},
                                                           {"a_key_of_tomorrow", 1},
                                                           {"rank_pattern", {{"query", "4"}}},
                                                           {"target_modules", "(?P<layer>query)"},
                                                           {"exclude_modules", {"query", "value"}}}) {
    auto changed = config;
    changed[key] = value;
    write_json("lora/adapter/adapter_config.json", changed);
    EXPECT_THAT(refusal("lora"), testing::HasSubstr(key)) << value;
  }
}

// Each of them would take gigabytes before its tensors are seen not to fit.
TEST_F(DamagedAdapter, ThatSaysToAddMoreThanTheModelHoldsIsRefusedAtOnce) {
  const auto config = read_json("lora/adapter/adapter_config.json");
  for (const auto& [key, value] :
       std::vector<std::pair<std::string, nlohmann::json>>{{"r", 2'000'000'000}, {"rank_pattern", {{"query", 1e12}}}}) {
    auto changed = config;
    changed[key] = value;
    write_json("lora/adapter/adapter_config.json", changed);
    EXPECT_THAT(refusal("lora"), testing::AllOf(testing::HasSubstr(key + " must be"), testing::HasSubstr("to 1024")));
  }
  auto bottleneck = read_json("pfeiffer/adapter/adapter_config.json");
  bottleneck["config"]["reduction_factor"] = 1e-6;
  write_json("pfeiffer/adapter/adapter_config.json", bottleneck);
  EXPECT_THAT(refusal("pfeiffer"), testing::HasSubstr("a bottleneck of at most 8 times the hidden size"));
  rewrite("head/adapter/weights.safetensors", [](auto& tensors) {
    tensors["classifier.weight"] = at::zeros({10'000'000, 1});
  });
  EXPECT_THAT(refusal("head"), testing::HasSubstr("expected shape [classes, hidden], here [classes, 40]"));
  rewrite("head/adapter/weights.safetensors", [](auto& tensors) {
    tensors["classifier.weight"] = at::zeros({1LL << 60, 0});
  });
  EXPECT_THAT(refusal("head"), testing::HasSubstr("expected shape [classes, hidden], here [classes, 40]"));
}

TEST_F(DamagedAdapter, WithAnExpressionThatTakesForEverIsRefusedOrReadAtOnce) {
  const auto config = read_json("lora/adapter/adapter_config.json");
  const std::string deep(100'000, '(');
  for (const auto& [key, value] :
       std::vector<std::pair<std::string, nlohmann::json>>{{"target_modules", "((((.*)*)*)*)*nothing"},
                                                           {"target_modules", "(a?){90000}"},
                                                           {"target_modules", "((.{99}){99}){9}"},
                                                           {"target_modules", deep},
                                                           {"rank_pattern", {{"(((([a-z.0-9]*)*)*)*)*nothing", 4}}},
                                                           {"rank_pattern", {{deep, 4}}}}) {
    auto changed = config;
    changed[key] = value;
    write_json("lora/adapter/adapter_config.json", changed);
    const std::clock_t start = std::clock();
    const std::string message = refusal("lora");
    EXPECT_LT((std::clock() - start) / CLOCKS_PER_SEC, 10) << value;
    if (key == "target_modules") {
      EXPECT_THAT(message, testing::HasSubstr(key)) << value;
    }
  }
  auto changed = config;
  changed["layers_to_transform"] = {0};
  changed["layers_pattern"] = "query)|(?:other";  // matches, and not by the part with the number
  write_json("lora/adapter/adapter_config.json", changed);
  EXPECT_THAT(refusal("lora"), testing::HasSubstr("layers_to_transform leave none"));
}

TEST_F(DamagedAdapter, OfAPromptAndMoreModulesThanTheHeadIsRefused) {
  EXPECT_EQ(refusal("prompt"), "");
  auto config = read_json("prompt/adapter/adapter_config.json");
  config["modules_to_save"].push_back("pooler");
  write_json("prompt/adapter/adapter_config.json", config);
  EXPECT_THAT(refusal("prompt"), testing::HasSubstr("beside a prompt the head alone can train"));
}

TEST_F(DamagedAdapter, WithSettingsThatHaveNoEffectIsReadAndSaysSo) {
  auto config = read_json("lora/adapter/adapter_config.json");
  config["fan_in_fan_out"] = true;
  config["modules_to_save"] = {"classifier", "score", "classifier", "score"};
  config["a_key_of_tomorrow"] = false;
  config["another_key"] = 0;
  config["a_third_key"] = nlohmann::json::object();
  config["lora_alpha"] = 8.0;
  config["revision"] = "main";
  write_json("lora/adapter/adapter_config.json", config);
  std::vector<std::string> warnings;
  Log log;
  log.warning = [&](std::string_view text) { warnings.emplace_back(text); };
  load_trained(directory / "lora", {}, {}, at::kCPU, log);
  EXPECT_THAT(warnings, testing::UnorderedElementsAre(
                            testing::HasSubstr("'fan_in_fan_out': true is ignored"),
                            testing::HasSubstr("'a_key_of_tomorrow' is not known to this version of dtrain, "
                                               "and false is taken for switched off"),
                            testing::HasSubstr("'another_key' is not known to this version of dtrain, and 0")));
}

TEST_F(DamagedAdapter, WithAnotherNumberOfLabelsIsRefused) {
  auto description = read_json("head/adapter/dtrain.json");
  description["labels"] = {"a", "b"};
  write_json("head/adapter/dtrain.json", description);
  EXPECT_THAT(refusal("head"), testing::HasSubstr("2 labels, but the classifier has 4 classes"));
  description["labels"] = {1, 2};
  write_json("head/adapter/dtrain.json", description);
  EXPECT_THAT(refusal("head"), testing::HasSubstr("'labels' has an unexpected type"));
  description["pooling"] = "median";
  write_json("head/adapter/dtrain.json", description);
  EXPECT_THAT(refusal("head"), testing::HasSubstr("'pooling' must be pooler, cls or mean, found 'median'"));
}

TEST(LoadTrained, SaysWhatItLooksFor) {
  const TemporaryDirectory empty;
  EXPECT_THAT([&] { load_trained(empty.path(), {}, {}, at::kCPU, Log()); },
              testing::ThrowsMessage<InputError>(testing::HasSubstr("found none of them")));
}

}  // namespace
}  // namespace dtrain::peft
