// Every method's output, read back here, and left for check_saved.py to load with transformers and PEFT.

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <tuple>
#include <vector>

#include "base/atomic_file.h"
#include "base/error.h"
#include "peft/registry.h"
#include "peft/trained_model.h"
#include "tests/base/temporary_directory.h"
#include "tests/model/reference_case.h"

namespace dtrain::peft {
namespace {

namespace fs = std::filesystem;
using model::Pooling;

const std::vector<std::string> kLabels = {"label 0", "label 1", "label 2", "label 3"};

std::string alphanumeric(std::string text) {
  for (char& character : text) {
    if (std::isalnum(static_cast<unsigned char>(character)) == 0) character = '_';
  }
  return text;
}

// Every method there is as it comes, and settings that change the format.
std::vector<std::string> specs() {
  std::vector<std::string> all = {"layers:k=1", "lora:r=4:lora_alpha=6:target_modules=all-linear:bias=all",
                                  "lora:r=3:lora_alpha=5.5:target_modules=dense:bias=lora_only"};
  for (const MethodKind& kind : method_kinds()) all.push_back(kind.name);
  return all;
}

struct Base {
  std::string name;
  Pooling pooling;
};

std::vector<Base> bases() {
  return {{"odd_relu", Pooling::pooler}, {"odd_relu", Pooling::cls}, {"odd_relu", Pooling::mean},
          {"bare", Pooling::pooler},     {"bare", Pooling::mean},    {"bare_with_pooler", Pooling::pooler},
          {"minilm", Pooling::mean}};
}

fs::path directory_of(const std::string& base) {
  return base == "minilm" ? fs::path(DTRAIN_SHARE_DIR) / "models" / "minilm-l6-h384"
                          : model::reference_directory() / base;
}

class SavedModel : public testing::TestWithParam<std::tuple<Base, std::string>> {
 protected:
  // Nothing of an earlier run is left for check_saved.py.
  static void SetUpTestSuite() { fs::remove_all(DTRAIN_SAVED_DIR); }

  SavedModel() {
    classifier = model::load_classifier({.directory = directory_of(base.name),
                                         .pooling = base.pooling,
                                         .classes = static_cast<std::int64_t>(kLabels.size()),
                                         .head_seed = 7});
    make_method(spec)->attach(*classifier, 7);
    auto generator = at::detail::createCPUGenerator(11);
    for (const auto& [name, parameter] : trained_parameters(*classifier, false)) {
      const auto noise = at::empty_like(parameter->value()).normal_(0, 0.05, generator);
      parameter->set_value(parameter->value() + noise);
    }
  }

  fs::path save(const fs::path& output) {
    fs::remove_all(output);
    fs::create_directories(output);
    return save_trained(*classifier, spec, kLabels, directory_of(base.name), output);
  }

  static at::Tensor logits(model::Classifier& scored) {
    const at::NoGradGuard no_grad;
    model::ForwardContext context;
    return scored.forward(model::ReferenceCase("odd_relu").batch(), context);
  }

  const Base base = std::get<0>(GetParam());
  const MethodSpec spec = parse_method_spec(std::get<1>(GetParam()));
  std::unique_ptr<model::Classifier> classifier;
};

TEST_P(SavedModel, ScoresTheSameBytesWhenItIsReadBack) {
  const auto name = base.name + "_" + model::pooling_name(base.pooling) + "_" + alphanumeric(spec.text());
  const fs::path output = fs::path(DTRAIN_SAVED_DIR) / name;
  const fs::path saved = save(output);
  const auto expected = logits(*classifier);
  const auto read = load_trained(output, {}, {}, at::kCPU, Log());
  EXPECT_EQ(read.labels, kLabels);
  EXPECT_EQ(read.method.name, spec.name);
  EXPECT_EQ(read.classifier->pooling(), base.pooling);
  EXPECT_TRUE(at::equal(logits(*read.classifier), expected));
  EXPECT_TRUE(fs::equivalent(read.tokenizer, spec.name == "full" ? saved : directory_of(base.name)));

  // For check_saved.py.
  fs::copy_file(model::reference_directory() / "odd_relu" / "batch.safetensors", output / "batch.safetensors");
  model::write_safetensors(output / "logits.safetensors", {{"logits", expected}});
  if (fs::exists(saved / "vocab.txt")) write_file_atomically(output / "tokenized", "a common language");
}

TEST_P(SavedModel, IsThePlainModelOnceMerged) {
  const auto expected = logits(*classifier);
  make_method(spec)->merge(*classifier);
  for (const model::Linear* linear : classifier->linears()) EXPECT_EQ(linear->slot, nullptr);
  EXPECT_LT(model::largest_difference(logits(*classifier), expected), 2e-5);
}

TEST_P(SavedModel, HoldsWhatTrainsAndNoMore) {
  const TemporaryDirectory temporary;
  const fs::path output = temporary.path() / "run";
  const fs::path saved = save(output);
  std::int64_t trained = 0;
  for (const auto& [name, parameter] : trained_parameters(*classifier, false))
    trained += parameter->value().numel() * 4;
  if (make_method(spec)->changes_whole_model()) {
    trained = 0;
    for (const model::Parameter* parameter : classifier->stored_parameters()) trained += parameter->value().numel() * 4;
    trained += stored_bytes(saved) - static_cast<std::int64_t>(fs::file_size(saved / "model.safetensors"));
  }
  EXPECT_GT(stored_bytes(saved), trained);
  EXPECT_LT(stored_bytes(saved), trained + 20'000);
}

std::string case_name(const testing::TestParamInfo<std::tuple<Base, std::string>>& instance) {
  const Base& base = std::get<0>(instance.param);
  return alphanumeric(base.name + "_" + model::pooling_name(base.pooling) + "_" + std::get<1>(instance.param));
}

INSTANTIATE_TEST_SUITE_P(Methods, SavedModel, testing::Combine(testing::ValuesIn(bases()), testing::ValuesIn(specs())),
                         case_name);

// One adapter, damaged in one way at a time.
class DamagedAdapter : public testing::Test {
 protected:
  DamagedAdapter() {
    const auto base = directory_of("odd_relu");
    for (const char* method : {"head", "lora"}) {
      const auto classifier = model::load_classifier({.directory = base, .pooling = Pooling::mean, .classes = 4});
      make_method({method, {}})->attach(*classifier, 0);
      save_trained(*classifier, {method, {}}, kLabels, base, directory / method);
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
  EXPECT_THAT(refusal("head"), testing::HasSubstr("expected shape [classes, hidden], found []"));
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

TEST_F(DamagedAdapter, OfAnotherModelIsRefused) {
  EXPECT_THAT(refusal("lora", directory_of("new_gelu")),
              testing::AllOf(testing::HasSubstr("needs shape [8, 64], found [8, 40]"),
                             testing::HasSubstr("Is the adapter for another model?")));
  EXPECT_THAT(refusal("head", directory_of("new_gelu")), testing::HasSubstr("needs shape [4, 64], found [4, 40]"));
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
                                                                                      {"peft_type", "IA3"},
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

TEST_F(DamagedAdapter, WithAnotherNumberOfLabelsIsRefused) {
  auto description = read_json("head/adapter/dtrain.json");
  description["labels"] = {"a", "b"};
  write_json("head/adapter/dtrain.json", description);
  EXPECT_THAT(refusal("head"), testing::HasSubstr("2 labels, but the classifier has 4 classes"));
  description["labels"] = "a";
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
