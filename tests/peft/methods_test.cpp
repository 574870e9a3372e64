#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/atomic_file.h"
#include "base/error.h"
#include "peft/parts/targets.h"
#include "peft/registry.h"
#include "tests/model/reference_case.h"
#include "tests/peft/small_specs.h"

namespace dtrain::peft {
namespace {

using model::Pooling;
using model::ReferenceCase;
using testing::AllOf;
using testing::HasSubstr;

std::vector<std::string> trained_names(const std::string& method, Pooling pooling,
                                       const std::string& model = "odd_relu") {
  const auto classifier =
      model::load_classifier({.directory = model::reference_directory() / model, .pooling = pooling, .classes = 3});
  make_method(parse_method_spec(method))->attach(*classifier, {});
  std::vector<std::string> names;
  for (const auto& [name, parameter] : trained_parameters(*classifier)) names.push_back(name);
  return names;
}

std::vector<std::string> names_of(const std::string& model, Pooling pooling, const std::vector<std::string>& prefixes) {
  const auto classifier =
      model::load_classifier({.directory = model::reference_directory() / model, .pooling = pooling, .classes = 3});
  std::vector<std::string> names;
  for (const model::Parameter* parameter : classifier->parameters()) {
    for (const auto& prefix : prefixes) {
      if (parameter->name().starts_with(prefix)) names.push_back(parameter->name());
    }
  }
  return names;
}

TEST(Methods, TrainTheStatedParts) {
  EXPECT_EQ(trained_names("full", Pooling::pooler), names_of("odd_relu", Pooling::pooler, {"bert.", "classifier."}));
  EXPECT_EQ(trained_names("head", Pooling::pooler), (std::vector<std::string>{"classifier.weight", "classifier.bias"}));
  EXPECT_EQ(trained_names("layers:k=2", Pooling::pooler),
            names_of("odd_relu", Pooling::pooler,
                     {"bert.encoder.layer.1.", "bert.encoder.layer.2.", "bert.pooler.", "classifier."}));
  EXPECT_EQ(trained_names("layers:k=1", Pooling::mean),
            names_of("odd_relu", Pooling::mean, {"bert.encoder.layer.2.", "classifier."}));
}

TEST(Methods, TrainAPoolerThatTheCheckpointDoesNotHave) {
  const std::vector<std::string> head = {"bert.pooler.dense.weight", "bert.pooler.dense.bias", "classifier.weight",
                                         "classifier.bias"};
  EXPECT_EQ(trained_names("head", Pooling::pooler, "bare"), head);
  EXPECT_EQ(trained_names("head", Pooling::mean, "bare").size(), 2U);
  EXPECT_EQ(trained_names("head", Pooling::pooler, "bare_with_pooler").size(), 2U);
}

TEST(Methods, GiveWhatTrainsTheGradientItHasInTheWholeModel) {
  const ReferenceCase reference("odd_relu");
  for (const char* method : {"head", "layers:k=1", "layers:k=2", "layers:k=3"}) {
    for (const Pooling pooling : {Pooling::pooler, Pooling::mean}) {
      const auto classifier = reference.load(pooling, at::kDouble);
      make_method(parse_method_spec(method))->attach(*classifier, {});
      model::bind_gradients(*classifier);
      model::backward_of_loss(*classifier, reference.batch(), reference.labels());
      for (const auto& [name, parameter] : trained_parameters(*classifier)) {
        EXPECT_LT(model::largest_difference(parameter->gradient(), reference.tensor(pooling, "gradient." + name)),
                  1e-12)
            << method << ": " << name;
      }
    }
  }
}

// Whose reference starts with a prompt, a prefix, coefficients or linear layers that are drawn at random and are not
// zero.
const std::set<std::string> kChangedAtOnce = {"fourierft", "houlsby",  "pfeiffer", "compacter", "prefix",
                                              "prompt",    "p-tuning", "mam",      "unipelt"};

TEST(Methods, ChangeNothingBeforeTheyAreTrainedWhereTheirReferenceDoesNot) {
  const ReferenceCase reference("new_gelu");
  // Without the first example, which leaves no position to virtual tokens.
  auto batch = reference.batch();
  const auto begin = batch.offsets[1].item<std::int64_t>();
  for (at::Tensor* tensor : {&batch.ids, &batch.types, &batch.positions}) *tensor = tensor->slice(0, begin);
  batch.offsets = batch.offsets.slice(0, 1) - begin;
  batch.max_length = batch.offsets.diff().max().item<std::int64_t>();
  const auto logits = [&](model::Classifier& classifier) {
    const at::NoGradGuard no_grad;
    model::ForwardContext context;
    return classifier.forward(batch, context);
  };
  const auto expected = logits(*reference.load(Pooling::mean, at::kDouble));
  std::vector<std::string> specs = {"lora:target_modules=all-linear", "lora:use_dora=true"};
  for (const MethodKind& kind : method_kinds()) specs.push_back(small_spec(kind.name));
  std::set<std::string> changed;
  for (const std::string& text : specs) {
    const MethodSpec spec = parse_method_spec(text);
    const auto classifier = reference.load(Pooling::mean, at::kDouble);
    make_method(spec)->attach(*classifier, {});
    const double change = model::largest_difference(logits(*classifier), expected);
    if (change > 1e-12) changed.insert(spec.name);
  }
  EXPECT_EQ(changed, kChangedAtOnce);
}

TEST(Lora, DrawsTheSameFromTheSameSeedAndInTheRangeOfPeft) {
  const ReferenceCase reference("new_gelu");
  const auto draw = [&](std::uint64_t seed) {
    const auto classifier = reference.load(Pooling::mean, at::kFloat);
    make_method(parse_method_spec("lora"))->attach(*classifier, {.seed = seed});
    for (const auto& [name, parameter] : trained_parameters(*classifier)) {
      if (name == "bert.encoder.layer.2.attention.self.value.lora_A.weight") return parameter->value();
    }
    return at::Tensor();
  };
  EXPECT_TRUE(at::equal(draw(3), draw(3)));
  EXPECT_FALSE(at::equal(draw(3), draw(4)));
  // Uniform within 1 / sqrt(in), in = 64: PEFT's kaiming_uniform_(a = sqrt(5)).
  const double bound = 1.0 / 8;
  EXPECT_LE(draw(3).abs().max().item<double>(), bound);
  EXPECT_GT(draw(3).abs().max().item<double>(), 0.95 * bound);
  EXPECT_NEAR(draw(3).std().item<double>(), bound / std::sqrt(3.0), 0.05 * bound);
}

TEST(Lora, LearnsAsFastAsPeftsLoraPlusSays) {
  const auto classifier = model::load_classifier(
      {.directory = model::reference_directory() / "odd_relu", .pooling = Pooling::pooler, .trained_head = true});
  make_method(parse_method_spec("lora:use_dora=true:bias=all:loraplus_lr_ratio=16"))->attach(*classifier, {});
  const model::SafetensorsFile expected(model::reference_directory() / "loraplus.safetensors");
  const auto trained = peft_parameters(*classifier);
  EXPECT_EQ(trained.size(), expected.names().size());
  for (const auto& [name, parameter] : trained) {
    EXPECT_EQ(parameter->learning_rate_factor(), expected.tensor(name).item<double>()) << name;
  }
}

TEST(Lora, TakesWhatItAddsOutOfTheWeightsWherePissaAndOloraSaySo) {
  const ReferenceCase reference("new_gelu");
  for (const char* init : {"pissa", "pissa_niter_8", "olora"}) {
    const auto classifier = reference.load(Pooling::mean, at::kDouble);
    const auto weight = classifier->encoder().layer(1).value.weight.value().clone();
    make_method(parse_method_spec(std::string("lora:lora_alpha=3:r=6:init_lora_weights=") + init))
        ->attach(*classifier, {});
    const at::NoGradGuard no_grad;
    model::ForwardContext context;
    const auto logits = classifier->forward(reference.batch(), context);
    EXPECT_LT(model::largest_difference(logits, reference.tensor(Pooling::mean, "logits")), 1e-12) << init;
    const auto taken = weight - classifier->encoder().layer(1).value.weight.value();
    EXPECT_EQ(at::linalg_svdvals(taken).gt(1e-9).sum().item<std::int64_t>(), 6) << init;
    // No update of that rank is nearer to the weight than the one with the largest singular values.
    const auto singular = at::linalg_svdvals(weight);
    const double least = at::linalg_vector_norm(singular.slice(0, 6)).item<double>();
    const double left = at::linalg_vector_norm(weight - taken).item<double>();
    EXPECT_GE(left, least * (1 - 1e-6)) << init;
    if (std::string(init).starts_with("pissa")) {
      EXPECT_LE(left, least * 1.01) << init;
    }
  }
}

std::string usage_error(const std::string& method) {
  try {
    trained_names(method, Pooling::mean);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "";
}

TEST(MethodSpecs, SayWhatIsWrongWithThem) {
  EXPECT_THAT(usage_error("lorra"), HasSubstr("did you mean 'lora'?"));
  EXPECT_THAT(usage_error(""), HasSubstr("expected NAME[:KEY=VALUE...]"));
  EXPECT_THAT(usage_error("lora:r"), HasSubstr("'r' is not KEY=VALUE"));
  EXPECT_THAT(usage_error("lora:r=8:r=4"), HasSubstr("'r' is given twice"));
  EXPECT_THAT(usage_error("lora:rank=8"), HasSubstr("has no setting 'rank'"));
  EXPECT_THAT(usage_error("lora:r=0"), HasSubstr("r must be a whole number from 1, found '0'"));
  EXPECT_THAT(usage_error("lora:r=8.5"), HasSubstr("found '8.5'"));
  EXPECT_THAT(usage_error("lora:lora_alpha=nan"), HasSubstr("lora_alpha must be a number"));
  EXPECT_THAT(usage_error("lora:lora_dropout=1"), HasSubstr("from 0 to 0.999"));
  EXPECT_THAT(usage_error("lora:bias=some"), HasSubstr("one of none, all, lora_only"));
  EXPECT_THAT(usage_error("lora:target_modules=query+valeu"), HasSubstr("'valeu'; did you mean 'value'?"));
  EXPECT_THAT(usage_error("lora:target_modules=query++value"), HasSubstr("names joined by +"));
  EXPECT_THAT(usage_error("lora:rank_pattern=query"), HasSubstr("NAME~NUMBER joined by +"));
  EXPECT_THAT(usage_error("lora:rank_pattern=query~0"), HasSubstr("each number from 1"));
  EXPECT_THAT(usage_error("lora:rank_pattern=query~1.5"), HasSubstr("the value 1.5, which is not whole"));
  EXPECT_THAT(usage_error("lora:rank_pattern=key~4"),
              HasSubstr("'key' matches none of the linear layers that are wrapped"));
  EXPECT_THAT(usage_error("lora:rank_pattern=(~4"), HasSubstr("'(' is not a regular expression"));
  EXPECT_THAT(usage_error("lora:init_lora_weights=zero"), HasSubstr("pissa_niter_N, olora, found 'zero'"));
  EXPECT_THAT(usage_error("lora:init_lora_weights=orthogonal:r=3"), HasSubstr("needs an even r, found 3"));
  EXPECT_THAT(usage_error("lora:init_lora_weights=pissa:r=41"), HasSubstr("r is at most 40, found 41"));
  EXPECT_THAT(usage_error("lora:lora_bias=true:use_dora=true"), HasSubstr("does not go with use_dora"));
  EXPECT_THAT(usage_error("lora:layers_to_transform=1+3"), HasSubstr("names layer 3, but the model has layers 0 to 2"));
  EXPECT_THAT(usage_error("lora:layers_to_transform=one"), HasSubstr("whole numbers from 0 joined by +"));
  EXPECT_THAT(usage_error("lora:exclude_modules=query+value"), HasSubstr("leave none of target_modules"));
  EXPECT_THAT(usage_error("lora:modules_to_save=poolr"), HasSubstr("ends with modules_to_save 'poolr'"));
  EXPECT_THAT(usage_error("ia3:feedforward_modules=desne"),
              AllOf(HasSubstr("feedforward_modules 'desne' is none of target_modules"), HasSubstr("mean 'dense'?")));
  EXPECT_THAT(usage_error("ia3:target_modules=key:feedforward_modules=output.dense"),
              HasSubstr("feedforward_modules 'output.dense' is none of target_modules"));
  EXPECT_THAT(usage_error("norm:target_modules="), HasSubstr("target_modules is empty; expected names of norms, or"));
  EXPECT_THAT(usage_error("norm:exclude_modules=LayerNorm"), HasSubstr("leaves none of target_modules auto"));
  EXPECT_THAT(usage_error("bitfit:bias_terms="), HasSubstr("bias_terms is empty; expected names of modules"));
  EXPECT_THAT(usage_error("oft"), HasSubstr("oft_block_size 32 does not divide the 40 inputs of"));
  EXPECT_THAT(usage_error("oft:oft_block_size=7"), HasSubstr("the nearest that does is 8"));
  EXPECT_THAT(usage_error("oft:r=3:oft_block_size=0"), HasSubstr("r 3 does not divide the 40 inputs of"));
  EXPECT_EQ(usage_error("oft:oft_block_size=7:nearest_divisor=true"), "");
  EXPECT_THAT(usage_error("fourierft:n_frequency_pattern=query~1.5"), HasSubstr("the value 1.5, which is not whole"));
  EXPECT_THAT(usage_error("fourierft:n_frequency_pattern=key~5"), HasSubstr("'key' matches none of the linear layers"));
  EXPECT_THAT(usage_error("oft:r=4"), HasSubstr("one of r and oft_block_size must be 0"));
  EXPECT_THAT(usage_error("hra:r=41:apply_GS=true"), HasSubstr("at most the 40 inputs of"));
  EXPECT_THAT(usage_error("boft:boft_block_size=7"), HasSubstr("boft_block_size 7 does not divide them"));
  EXPECT_THAT(usage_error("boft:boft_n_butterfly_factor=3"), HasSubstr("a multiple of 4, found 10 blocks of 4"));
  EXPECT_THAT(usage_error("fourierft:n_frequency=2000"), HasSubstr("has 1600 weights"));
  EXPECT_THAT(usage_error("layers:k=4"), HasSubstr("the model has 3 layers"));
  EXPECT_THAT(usage_error("head:k=4"), HasSubstr("it has: none"));
}

TEST(MethodSpecs, OfNoTargetsAreRefusedByEveryMethodThatWrapsMaps) {
  int wrapping = 0;
  for (const MethodKind& kind : method_kinds()) {
    const bool targets = std::any_of(kind.settings.begin(), kind.settings.end(),
                                     [](const MethodSetting& setting) { return setting.key == "target_modules"; });
    if (!targets || kind.name == "norm") continue;
    EXPECT_EQ(
        usage_error(kind.name + ":target_modules="),
        "method '" + kind.name + "': target_modules is empty; expected names of linear layers, all-linear or auto");
    ++wrapping;
  }
  EXPECT_GT(wrapping, 9);
}

TEST(MethodSpecs, AreWrittenInOneOrder) {
  EXPECT_EQ(parse_method_spec("lora:target_modules=query:r=4").text(), "lora:r=4:target_modules=query");
  EXPECT_EQ(parse_method_spec("head").text(), "head");
}

// As PEFT's default is written here: nothing, "true", a number or a word.
std::string as_setting(const nlohmann::json& value) {
  if (value.is_null() || (value.is_structured() && value.empty())) return "";
  return value.is_string() ? value.get<std::string>() : value.dump();
}

bool is_same(const std::string& left, const std::string& right) {
  double numbers[2] = {};
  for (const auto& [text, number] : {std::pair(&left, &numbers[0]), std::pair(&right, &numbers[1])}) {
    const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), *number);
    if (error != std::errc() || end != text->data() + text->size()) return left == right;
  }
  return numbers[0] == numbers[1];
}

TEST(Registry, HasTheDefaultsOfPeft) {
  // What PEFT leaves to the user, or works out itself where nothing is set.
  const std::map<std::string, std::string> chosen_here = {{"target_modules", "auto"},
                                                          {"feedforward_modules", "auto"},
                                                          {"num_virtual_tokens", "20"},
                                                          {"encoder_hidden_size", "auto"},
                                                          {"total_step", "auto"}};
  const auto peft = nlohmann::json::parse(read_file(model::reference_directory() / "peft_defaults.json"));
  for (const MethodKind& kind : method_kinds()) {
    if (kind.peft_type.empty()) continue;
    const auto& defaults = peft.at(kind.peft_type);
    int compared = 0;
    for (const MethodSetting& setting : kind.settings) {
      if (!defaults.contains(setting.key)) continue;
      const auto chosen = chosen_here.find(setting.key);
      if (chosen != chosen_here.end()) {
        EXPECT_EQ(setting.default_value, chosen->second) << kind.name << ": " << setting.key;
        EXPECT_EQ(as_setting(defaults[setting.key]), "") << kind.name << ": " << setting.key;
      } else {
        EXPECT_TRUE(is_same(setting.default_value, as_setting(defaults[setting.key])))
            << kind.name << ": " << setting.key << " is " << setting.default_value << " here and "
            << defaults[setting.key] << " there";
      }
      ++compared;
    }
    EXPECT_GT(compared, 0) << kind.name;
  }
}

TEST(Registry, HasTheDefaultTargetsOfPeft) {
  const auto peft = nlohmann::json::parse(read_file(model::reference_directory() / "peft_default_targets.json"));
  int compared = 0;
  for (const MethodKind& kind : method_kinds()) {
    if (kind.peft_type.empty()) continue;
    for (const auto& [family, names] : peft.at(kind.peft_type).items()) {
      const auto classifier = model::load_classifier(
          {.directory = model::reference_directory() / "families" / family, .pooling = Pooling::mean, .classes = 3});
      make_method(parse_method_spec(small_spec(kind.name)))->attach(*classifier, {});
      const auto targets = names.get<std::vector<std::string>>();
      for (const model::Linear* linear : classifier->linears()) {
        const bool expected = std::any_of(targets.begin(), targets.end(), [&](const std::string& target) {
          return matches_path(linear->path(), target);
        });
        EXPECT_EQ(linear->slot != nullptr, expected) << kind.name << ", " << family << ": " << linear->path();
      }
      ++compared;
    }
  }
  EXPECT_GT(compared, 20);
}

TEST(Registry, GivesEachMethodAGridWhoseMiddleIsTheDefault) {
  const auto grid = [](const char* name) { return method_kind(name).learning_rates; };
  EXPECT_EQ(grid("full"), (std::vector<double>{5e-5, 1.5e-4, 5e-4}));
  EXPECT_EQ(grid("lora"), (std::vector<double>{5e-4, 1.5e-3, 5e-3}));
  EXPECT_EQ(grid("head"), (std::vector<double>{3e-3, 1e-2, 3e-2}));
  for (const MethodKind& kind : method_kinds()) {
    EXPECT_EQ(kind.learning_rates.size() % 2, 1U) << kind.name;
    EXPECT_TRUE(std::is_sorted(kind.learning_rates.begin(), kind.learning_rates.end())) << kind.name;
  }
}

}  // namespace
}  // namespace dtrain::peft
