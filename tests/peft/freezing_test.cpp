// Which parameters of the model itself train, and when.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "base/error.h"
#include "model/formats/classifier_files.h"
#include "peft/registry.h"
#include "tests/model/reference_case.h"

namespace dtrain::peft {
namespace {

using model::Pooling;
using testing::HasSubstr;

std::unique_ptr<model::Classifier> load_model(const std::string& model, Pooling pooling = Pooling::mean) {
  return model::load_classifier({.directory = model::reference_directory() / model, .pooling = pooling, .classes = 3});
}

/// Whether exactly those parameters train that `expected` says.
void expect_trained(model::Classifier& classifier, const std::function<bool(const std::string&)>& expected) {
  for (const model::Parameter* parameter : classifier.parameters()) {
    EXPECT_EQ(parameter->trainable(), expected(parameter->name())) << parameter->name();
  }
}

bool is_head(const std::string& name) { return name.starts_with("classifier."); }

void attach(model::Classifier& classifier, const std::string& spec) {
  make_method(parse_method_spec(spec))->attach(classifier, {});
}

std::string refusal_of_method(const std::string& spec) {
  try {
    attach(*load_model("odd_relu"), spec);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "";
}

TEST(BitFit, TrainsEveryBiasAndTheHead) {
  for (const char* model : {"odd_relu", "distilbert", "roberta"}) {
    const auto classifier = load_model(model);
    attach(*classifier, "bitfit");
    expect_trained(*classifier, [](const std::string& name) {
      return name.ends_with(".bias") || is_head(name) || name == "pre_classifier.weight";
    });
  }
}

TEST(BitFit, TrainsTheBiasesOfTheNamedModulesAlone) {
  const auto classifier = load_model("odd_relu", Pooling::pooler);
  attach(*classifier, "bitfit:bias_terms=query+intermediate.dense");
  expect_trained(*classifier, [](const std::string& name) {
    return name.ends_with(".query.bias") || name.ends_with(".intermediate.dense.bias") || is_head(name);
  });
  EXPECT_THAT(refusal_of_method("bitfit:bias_terms=quary"), HasSubstr("'quary'; did you mean 'query'?"));
}

TEST(NormTuning, TrainsEveryNormAndTheHead) {
  const auto classifier = load_model("distilbert");
  attach(*classifier, "norm");
  expect_trained(*classifier, [](const std::string& name) {
    return name.find("LayerNorm.") != std::string::npos || name.find("_layer_norm.") != std::string::npos ||
           is_head(name) || name.starts_with("pre_classifier.");
  });
  EXPECT_THAT(refusal_of_method("norm:target_modules=layernorm"), HasSubstr("did you mean 'LayerNorm'?"));
}

TEST(LpFt, TrainsTheHeadAndThenEverything) {
  const auto classifier = load_model("odd_relu", Pooling::pooler);
  const auto method = make_method(parse_method_spec("lp-ft:head_share=0.25:head_learning_rate=0.02"));
  method->attach(*classifier, {});
  expect_trained(*classifier, is_head);
  const auto phases = method->phases(*classifier);
  ASSERT_EQ(phases.size(), 2U);
  EXPECT_EQ(phases[0].share, 0.25);
  EXPECT_EQ(phases[0].learning_rate, 0.02);
  EXPECT_EQ(phases[1].learning_rate, std::nullopt);
  method->enter_phase(*classifier, 1);
  expect_trained(*classifier, [](const std::string&) { return true; });
}

TEST(Gradual, TrainsOneMoreLayerAtATimeFromTheTop) {
  const auto classifier = load_model("odd_relu", Pooling::pooler);
  const auto method = make_method(parse_method_spec("gradual"));
  method->attach(*classifier, {});
  expect_trained(*classifier, is_head);
  const auto phases = method->phases(*classifier);
  ASSERT_EQ(phases.size(), 5U);  // the head, three layers, everything
  for (int phase = 1; phase < 5; ++phase) {
    method->enter_phase(*classifier, phase);
    expect_trained(*classifier, [&](const std::string& name) {
      for (int layer = 0; layer < 3; ++layer) {
        if (name.starts_with("bert.encoder.layer." + std::to_string(layer) + ".")) return layer >= 3 - phase;
      }
      return !name.starts_with("bert.embeddings.") || phase == 4;
    });
  }
}

TEST(Phases, OfEveryMethodShareTheWholeRun) {
  const auto classifier = load_model("odd_relu");
  for (const MethodKind& kind : method_kinds()) {
    double sum = 0;
    for (const Phase& phase : make_method({kind.name, {}})->phases(*classifier)) {
      EXPECT_GE(phase.share, 0) << kind.name;
      sum += phase.share;
    }
    EXPECT_NEAR(sum, 1, 1e-12) << kind.name;
  }
}

}  // namespace
}  // namespace dtrain::peft
