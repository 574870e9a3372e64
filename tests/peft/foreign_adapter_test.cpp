// Adapters that were saved otherwise than by save_pretrained: under other names, without a head, with embeddings.

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/atomic_file.h"
#include "base/error.h"
#include "model/formats/classifier_files.h"
#include "model/formats/safetensors.h"
#include "peft/formats/combination.h"
#include "peft/formats/peft_names.h"
#include "peft/formats/trained_model.h"
#include "peft/registry.h"
#include "tests/base/temporary_directory.h"
#include "tests/model/reference_case.h"
#include "tests/peft/small_specs.h"

namespace dtrain::peft {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Tensors = std::map<std::string, at::Tensor>;
using Rename = std::function<std::string(const std::string&)>;

TEST(PeftName, IsThatOfSavePretrained) {
  const std::string layer = "base_model.model.bert.encoder.layer.0.";
  for (const auto& [saved, expected] : std::vector<std::pair<std::string, std::string>>{
           {"module." + layer + "output.dense.lora_A.weight", layer + "output.dense.lora_A.weight"},
           {"_orig_mod.module." + layer + "output.dense.lora_A.weight", layer + "output.dense.lora_A.weight"},
           {"base_model.model._orig_mod.classifier.weight", "base_model.model.classifier.weight"},
           {"_fsdp_wrapped_module.base_model.model.classifier.weight", "base_model.model.classifier.weight"},
           {"base_model.model.base_model.model.classifier.weight", "base_model.model.classifier.weight"},
           {"base_model.model.classifier.modules_to_save.default.weight", "base_model.model.classifier.weight"},
           {"base_model.model.classifier.modules_to_save.my_task.bias", "base_model.model.classifier.bias"},
           {"base_model.model.classifier.dense.modules_to_save.default.weight",
            "base_model.model.classifier.dense.weight"},
           {"base_model.model.classifier.modules_to_save.default.dense.weight",
            "base_model.model.classifier.dense.weight"},
           {layer + "attention.self.query.lora_B.default.weight", layer + "attention.self.query.lora_B.weight"},
           {layer + "attention.self.query.lora_B.my_task.bias", layer + "attention.self.query.lora_B.bias"},
           {layer + "attention.self.query.lora_E.default", layer + "attention.self.query.lora_E"},
           {layer + "attention.self.key.ia3_l.default", layer + "attention.self.key.ia3_l"},
           {layer + "attention.self.query.lora_magnitude_vector.default.weight",
            layer + "attention.self.query.lora_magnitude_vector"},
           {layer + "output.LayerNorm.ln_tuning_layers.default.weight",
            layer + "output.LayerNorm.ln_tuning_layers.weight"},
           {"base_model.vera_A.default", "base_model.vera_A"}}) {
    EXPECT_EQ(peft_name(saved), expected) << saved;
    EXPECT_EQ(peft_name(expected), expected) << "PEFT's own";
  }
}

TEST(PeftName, OfTwoTensorsThatDifferIsRefused) {
  const Tensors same = {{"module.a.weight", at::ones({2})}, {"a.weight", at::ones({2})}};
  std::vector<std::string> notices;
  EXPECT_EQ(under_peft_names(same, "file", notices).size(), 1U);
  const Tensors other = {{"module.a.weight", at::zeros({2})}, {"a.weight", at::ones({2})}};
  EXPECT_THAT([&] { under_peft_names(other, "file", notices); },
              testing::ThrowsMessage<InputError>(
                  testing::AllOf(HasSubstr("file: tensors 'a.weight' and 'module.a.weight'"), HasSubstr("differ"))));
}

// Adapters whose tensors are rewritten.
class PeftAdapterOfOthers : public testing::Test {
 protected:
  void save(const std::string& method, const std::string& base = "odd_relu") {
    const auto classifier =
        model::load_classifier({.directory = model::reference_directory() / base,
                                .pooling = base == "odd_relu" ? model::Pooling::pooler : model::Pooling::cls,
                                .classes = 3,
                                .head_seed = 5});
    const MethodSpec spec = parse_method_spec(method);
    make_method(spec)->attach(*classifier, {.seed = 4});
    save_trained(*classifier, spec, {"a", "b", "c"}, model::reference_directory() / base, folder.path());
  }
  Tensors read() const {
    const model::SafetensorsFile file(tensors);
    Tensors all;
    for (const auto& name : file.names()) all[name] = file.tensor(name);
    return all;
  }
  void write(const Tensors& all) const { model::write_safetensors(tensors, {all.begin(), all.end()}); }
  void change_config(const std::string& key, const nlohmann::json& value) const {
    auto config = nlohmann::json::parse(read_file(adapter / "adapter_config.json"));
    config[key] = value;
    write_file_atomically(adapter / "adapter_config.json", config.dump());
  }
  TrainedModel load(const std::vector<std::string>& labels = {}) {
    warnings.clear();
    Log log;
    log.warning = [&](std::string_view text) { warnings.emplace_back(text); };
    return load_trained(adapter, {}, {}, at::kCPU, log, labels);
  }
  std::string refusal(const std::vector<std::string>& labels = {}) {
    try {
      load(labels);
    } catch (const std::exception& error) {
      return error.what();
    }
    return "";
  }
  static Tensors values(model::Classifier& classifier) {
    Tensors all;
    for (const model::Parameter* parameter : classifier.parameters()) all[parameter->name()] = parameter->value();
    return all;
  }
  static void expect_equal(const Tensors& left, const Tensors& right) {
    ASSERT_EQ(left.size(), right.size());
    for (const auto& [name, tensor] : left) EXPECT_TRUE(at::equal(tensor, right.at(name))) << name;
  }

  TemporaryDirectory folder;
  fs::path adapter = folder.path() / "adapter";
  fs::path tensors = adapter / "adapter_model.safetensors";
  std::vector<std::string> warnings;
};

TEST_F(PeftAdapterOfOthers, OfEveryMethodOfPeftIsFoundBehindADistributedWrapper) {
  for (const MethodKind& kind : method_kinds()) {
    if (kind.peft_type.empty()) continue;
    save(small_spec(kind.name));
    const auto plain = values(*load().classifier);
    EXPECT_THAT(warnings, IsEmpty()) << kind.name;
    Tensors wrapped;
    for (const auto& [name, tensor] : read()) wrapped["module._orig_mod." + name] = tensor;
    write(wrapped);
    expect_equal(values(*load().classifier), plain);
    EXPECT_THAT(warnings, ElementsAre(testing::AllOf(HasSubstr("is read as"), HasSubstr("module._orig_mod."))))
        << kind.name;
  }
}

TEST_F(PeftAdapterOfOthers, WithTheAdaptersNameInItsKeysIsFoundWithoutIt) {
  for (const char* name : {"default", "my_task"}) {
    save("lora:use_dora=true:modules_to_save=pooler");
    const auto plain = values(*load().classifier);
    Tensors named;
    for (const auto& [saved, tensor] : read()) {
      std::string key = saved;
      const bool whole = key.find("lora_") == std::string::npos;
      if (key.ends_with("lora_magnitude_vector")) key += ".weight";
      key.insert(key.rfind('.'), std::string(whole ? ".modules_to_save." : ".") + name);
      named[key] = tensor;
    }
    write(named);
    expect_equal(values(*load().classifier), plain);
    EXPECT_EQ(warnings.size(), 1U);
  }
}

TEST_F(PeftAdapterOfOthers, UnderNamesThatNobodyKnowsIsRefusedNamingOne) {
  save("lora");
  Tensors renamed;
  for (const auto& [name, tensor] : read()) renamed["my_wrapper." + name] = tensor;
  write(renamed);
  EXPECT_THAT(refusal(),
              testing::AllOf(HasSubstr("tensor 'classifier.weight' is missing"), HasSubstr("my_wrapper.base_model")));
}

TEST_F(PeftAdapterOfOthers, WithoutATaskHasTheHeadOfItsBaseModel) {
  TemporaryDirectory home;
  const auto base = model::load_classifier({.directory = model::reference_directory() / "odd_relu",
                                            .pooling = model::Pooling::pooler,
                                            .classes = 3,
                                            .head_seed = 9});
  model::save_classifier(*base, {"x", "y", "z"}, home.path());
  save("lora");
  fs::remove(adapter / "dtrain.json");
  change_config("base_model_name_or_path", home.path().string());
  auto all = read();
  std::erase_if(all, [](const auto& each) { return each.first.find("classifier") != std::string::npos; });
  write(all);
  EXPECT_THAT(refusal(), HasSubstr("would score at random")) << "a task's head is the adapter's";
  change_config("task_type", nullptr);
  change_config("modules_to_save", nullptr);
  const auto loaded = load();
  EXPECT_TRUE(at::equal(loaded.classifier->classifier.weight.value(), base->classifier.weight.value()));
  EXPECT_THAT(loaded.labels, ElementsAre("x", "y", "z"));
  EXPECT_THAT(warnings, ElementsAre(HasSubstr("as in its base model, in this order: x, y, z")));
  change_config("base_model_name_or_path", (model::reference_directory() / "bare").string());
  EXPECT_THAT(refusal(), HasSubstr("the adapter has no classifier of its own, and its base model's cannot be taken"));
}

TEST_F(PeftAdapterOfOthers, TakesTheNamesOfItsClassesFromTheCaller) {
  save("lora");
  fs::remove(adapter / "dtrain.json");
  EXPECT_THAT(load({"x", "y", "z"}).labels, ElementsAre("x", "y", "z"));
  EXPECT_THAT(warnings, IsEmpty());
  EXPECT_THAT(refusal({"x", "y"}), HasSubstr("--labels: 2 names, but the classifier"));
}

TEST_F(PeftAdapterOfOthers, WithItsOwnWordEmbeddingsGivesThemToTheModel) {
  for (const char* method : {"lora", "prompt:num_virtual_tokens=3", "lora:modules_to_save=word_embeddings"}) {
    save(method);
    const auto before = load();
    const model::Parameter& words = *before.classifier->encoder().embedding_parameters().front();
    const std::int64_t tokens = words.value().size(0) + 2;
    const auto larger = at::randn({tokens, words.value().size(1)});
    auto all = read();
    const auto head = std::find_if(all.begin(), all.end(),
                                   [](const auto& each) { return each.first.ends_with("classifier.weight"); });
    const std::string prefix = head->first.substr(0, head->first.size() - std::string("classifier.weight").size());
    all[prefix + words.name()] = larger;
    write(all);
    const auto after = load();
    EXPECT_TRUE(at::equal(after.classifier->encoder().embedding_parameters().front()->value(), larger)) << method;
    EXPECT_EQ(after.classifier->config().vocabulary_size, tokens);
    // What it becomes keeps them.
    const TemporaryDirectory again;
    save_trained(*after.classifier, after.method, after.labels, after.base_model, again.path());
    const auto reloaded = load_trained(again.path(), {}, {}, at::kCPU, Log());
    expect_equal(values(*reloaded.classifier), values(*after.classifier));
    const TemporaryDirectory whole;
    model::save_classifier(*after.classifier, after.labels, whole.path());
    const auto config = nlohmann::json::parse(read_file(whole.path() / "config.json"));
    EXPECT_EQ(config["vocab_size"], tokens);

    all[prefix + words.name()] = at::zeros({tokens, 3});
    write(all);
    EXPECT_THAT(refusal(), HasSubstr("expected shape [tokens, 40], found")) << method;
  }
}

TEST_F(PeftAdapterOfOthers, WithItsOwnWordEmbeddingsIsNotCombinedWithOneOfOthers) {
  save("lora");
  auto plain = load();
  auto all = read();
  all["base_model.model.bert.embeddings.word_embeddings.weight"] =
      plain.classifier->encoder().embedding_parameters().front()->value() + 1;
  write(all);
  std::vector<TrainedModel> both;
  both.push_back(load());
  both.push_back(std::move(plain));
  EXPECT_THAT(
      [&] {
        combine_adapters(std::move(both), {.weights = {0.5, 0.5}});
      },
      testing::ThrowsMessage<UsageError>(HasSubstr("their word embeddings differ")));
}

}  // namespace
}  // namespace dtrain::peft
