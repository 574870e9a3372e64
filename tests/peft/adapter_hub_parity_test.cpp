// Adapters that adapter-hub's package has written (adapters_cases.py) are loaded here and give its logits and
// gradients.

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "base/atomic_file.h"
#include "base/error.h"
#include "peft/formats/trained_model.h"
#include "peft/registry.h"
#include "tests/base/temporary_directory.h"
#include "tests/model/reference_case.h"
#include "tests/peft/reference_adapters.h"

namespace dtrain::peft {
namespace {

namespace fs = std::filesystem;
using model::ForwardContext;
using model::Pooling;
using model::ReferenceCase;
using testing::HasSubstr;

fs::path adapter_hub_directory(const std::string& name) { return model::reference_directory() / "adapter_hub" / name; }

TrainedModel load_adapter_hub(const fs::path& directory, const std::optional<Pooling>& pooling = {}) {
  return load_trained(directory, {}, pooling, model::test_device(), Log());
}

class AdapterHubAdapter : public testing::TestWithParam<ReferenceAdapter> {
 protected:
  const std::string name = GetParam().name;
  const Pooling pooling = GetParam().pooling;
  const ReferenceCase reference{"adapter_hub/" + name};
};

TEST_P(AdapterHubAdapter, GivesItsLogits) {
  const at::NoGradGuard no_grad;
  ForwardContext context;
  const auto trained = load_adapter_hub(adapter_hub_directory(name), pooling);
  const auto logits = trained.classifier->forward(reference.batch(), context);
  EXPECT_LT(model::largest_difference(logits, reference.tensor(pooling, "logits32")), 1e-5);
  to_double(*trained.classifier);
  const auto exact = trained.classifier->forward(reference.batch(), context);
  EXPECT_LT(model::largest_difference(exact, reference.tensor(pooling, "logits")), 1e-12);
}

TEST_P(AdapterHubAdapter, GivesItsGradients) {
  for (const auto type : {at::kDouble, at::kFloat}) {
    const auto trained = load_adapter_hub(adapter_hub_directory(name), pooling);
    if (type == at::kDouble) to_double(*trained.classifier);
    model::bind_gradients(*trained.classifier);
    const double loss = model::backward_of_loss(*trained.classifier, reference.batch(), reference.labels());
    const double tolerance = type == at::kDouble ? 1e-12 : 2e-5;
    EXPECT_NEAR(loss, reference.tensor(pooling, "loss").item<double>(), tolerance);
    for (const auto& [parameter_name, parameter] : trained_parameters(*trained.classifier)) {
      const auto expected = reference.tensor(pooling, "gradient." + parameter_name);
      const double scale = std::max(1.0, expected.abs().max().item<double>());
      EXPECT_LT(model::largest_difference(parameter->gradient(), expected), tolerance * scale) << parameter_name;
    }
  }
}

TEST_P(AdapterHubAdapter, TrainsAsManyParameters) {
  const auto trained = load_adapter_hub(adapter_hub_directory(name), pooling);
  std::int64_t count = 0;
  for (const auto& [parameter_name, parameter] : trained_parameters(*trained.classifier)) {
    count += parameter->value().numel();
  }
  const auto expected =
      model::SafetensorsFile(adapter_hub_directory(name) / "reference.safetensors").tensor("trainable");
  EXPECT_EQ(count, expected.item<std::int64_t>());
}

INSTANTIATE_TEST_SUITE_P(Adapters, AdapterHubAdapter, testing::ValuesIn(reference_adapters("adapter_hub")),
                         [](const auto& instance) { return adapter_name(instance.param); });

TEST(AdapterHubAdapters, AreComparedForEveryMethodOfThatFormat) {
  std::set<std::string> compared;
  for (const ReferenceAdapter& each : reference_adapters("adapter_hub"))
    compared.insert(load_adapter_hub(adapter_hub_directory(each.name), each.pooling).method.name);
  for (const MethodKind& kind : method_kinds()) {
    if (kind.read_adapter_hub != nullptr) {
      EXPECT_EQ(compared.count(kind.name), 1U) << kind.name;
    }
  }
}

TEST(AdapterHubAdapters, HaveTheSizesOfThePapers) {
  const std::vector<std::pair<std::string, std::int64_t>> sizes = {
      {"pfeiffer", 113'040}, {"houlsby", 226'080},
      {"parallel", 888'192}, {"parallel:scaling=learned", 888'198},
      {"compacter", 14'320}, {"compacter:mh_adapter=false:original_ln_before=true", 7'192}};
  for (const auto& [method, size] : sizes) {
    const auto classifier =
        model::load_classifier({.directory = fs::path(DTRAIN_SHARE_DIR) / "models" / "minilm-l6-h384",
                                .pooling = Pooling::mean,
                                .classes = 2});
    make_method(parse_method_spec(method))->attach(*classifier, {});
    std::int64_t count = 0;
    for (const auto& [name, parameter] : trained_parameters(*classifier)) count += parameter->value().numel();
    EXPECT_EQ(count, size + 2 * (384 + 1)) << method;
  }
}

/// An adapter that the package wrote, changed in one way at a time.
class ForeignAdapter : public testing::Test {
 protected:
  ForeignAdapter() { fs::copy(adapter_hub_directory("pfeiffer"), directory); }

  std::string refusal() const {
    try {
      load_adapter_hub(directory);
    } catch (const InputError& error) {
      return error.what();
    }
    return "";
  }

  template <typename Change>
  void change(const char* file, const Change& edit) const {
    auto json = nlohmann::json::parse(read_file(directory / file));
    edit(json);
    write_file_atomically(directory / file, json.dump());
  }

  const TemporaryDirectory temporary;
  const fs::path directory = temporary.path() / "adapter";
};

TEST_F(ForeignAdapter, BringsItsLabelsAndPoolsAsTransformersDoes) {
  change("head_config.json", [](auto& json) { json["label2id"] = {{"b", 0}, {"a", 1}, {"c", 2}, {"e", 3}, {"d", 4}}; });
  const auto trained = load_adapter_hub(directory);
  EXPECT_EQ(trained.labels, (std::vector<std::string>{"b", "a", "c", "e", "d"}));
  EXPECT_EQ(trained.classifier->pooling(), Pooling::pooler);
}

TEST_F(ForeignAdapter, WithoutItsHeadIsRefused) {
  fs::remove(directory / "model_head.safetensors");
  EXPECT_THAT(refusal(), HasSubstr("without its trained classifier would score at random"));
}

TEST_F(ForeignAdapter, WithAKeyThatIsNotKnownIsRefused) {
  change("adapter_config.json", [](auto& json) { json["config"]["phase_of_the_moon"] = 0.5; });
  EXPECT_THAT(refusal(), testing::AllOf(HasSubstr("phase_of_the_moon"), HasSubstr("does not know that key")));
}

TEST_F(ForeignAdapter, WithAHeadThatIsNotTransformersIsRefused) {
  change("head_config.json", [](auto& json) { json["config"] = {{"head_type", "classification"}, {"layers", 2}}; });
  EXPECT_THAT(refusal(), testing::AllOf(HasSubstr("head_config.json: 'config'"),
                                        HasSubstr("that of AutoModelForSequenceClassification is read")));
  change("head_config.json", [](auto& json) { json.update({{"config", nullptr}, {"key_of_tomorrow", 1}}); });
  EXPECT_THAT(refusal(), HasSubstr("head_config.json: 'key_of_tomorrow': 1 is not supported"));
  std::vector<std::string> warnings;
  Log log;
  log.warning = [&](std::string_view text) { warnings.emplace_back(text); };
  change("head_config.json", [](auto& json) { json["key_of_tomorrow"] = false; });
  load_trained(directory, {}, {}, at::kCPU, log);
  EXPECT_THAT(warnings, testing::Contains(HasSubstr("'key_of_tomorrow' is not known")));
}

TEST_F(ForeignAdapter, OfAnotherArchitectureIsRefusedWithTheListOfThoseThatAre) {
  change("adapter_config.json", [](auto& json) { json["config"]["architecture"] = "reft"; });
  EXPECT_THAT(refusal(), testing::AllOf(HasSubstr("reft"), HasSubstr("bottleneck")));
}

TEST_F(ForeignAdapter, WithWhatDtrainDoesNotComputeIsRefused) {
  for (const auto& [key, value] : std::vector<std::pair<std::string, nlohmann::json>>{{"stochastic_depth", 0.1},
                                                                                      {"inv_adapter", "nice"},
                                                                                      {"non_linearity", "prelu"},
                                                                                      {"reduction_factor", "half"},
                                                                                      {"residual_before_ln", "never"},
                                                                                      {"ln_before", 3}}) {
    fs::remove_all(directory);
    fs::copy(adapter_hub_directory("pfeiffer"), directory);
    change("adapter_config.json", [&](auto& json) { json["config"][key] = value; });
    EXPECT_THAT(refusal(), HasSubstr(key)) << value;
  }
}

TEST_F(ForeignAdapter, OfATimeBeforeVersionsMeansAnotherGelu) {
  change("adapter_config.json", [](auto& json) {
    json.erase("version");
    json["config"]["non_linearity"] = "gelu";
  });
  EXPECT_EQ(load_adapter_hub(directory).method.settings.at("non_linearity"), "gelu_new");
}

TEST_F(ForeignAdapter, OfTornFilesIsRefused) {
  fs::remove_all(directory);
  fs::copy(adapter_hub_directory("houlsby_norms"), directory);
  EXPECT_EQ(refusal(), "");
  const std::string bytes = read_file(directory / "pytorch_adapter.bin");
  write_file_atomically(directory / "pytorch_adapter.bin", bytes.substr(0, bytes.size() / 2));
  EXPECT_THAT(refusal(), testing::AllOf(HasSubstr("pytorch_adapter.bin"), HasSubstr("torch.save")));
}

}  // namespace
}  // namespace dtrain::peft
