#include "study/states/forgetting.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "model/masked_lm_head.h"
#include "model/stage_observer.h"
#include "study/states/representation.h"
#include "tests/train/small_run.h"

namespace dtrain::study {
namespace {

using testing::ElementsAre;
using testing::Key;

// What forgetting_reference.py made.
std::filesystem::path reference(const std::string& name) { return model::reference_directory() / "study" / name; }

TEST(Representation, IsComparedAsNumpyScipyAndScikitLearnDo) {
  const model::SafetensorsFile file(reference("representation.safetensors"));
  const auto expected = [&](const char* name) { return file.tensor(name).item<double>(); };
  EXPECT_NEAR(linear_cka(file.tensor("first"), file.tensor("second")), expected("cka"), 1e-10);
  const auto first = pair_similarities(file.tensor("first"));
  EXPECT_LT(model::largest_difference(first, file.tensor("similarities")), 1e-12);
  EXPECT_NEAR(spearman(first, pair_similarities(file.tensor("second"))), expected("spearman"), 1e-10);
  EXPECT_NEAR(spearman(file.tensor("rounded_first"), file.tensor("rounded_second")), expected("spearman_of_ties"),
              1e-10);
  EXPECT_NEAR(mean_reciprocal_rank(file.tensor("queries"), file.tensor("answers")), expected("mrr"), 1e-12);
}

TEST(Representation, DoesNotMindARotationAndAScale) {
  const model::SafetensorsFile file(reference("representation.safetensors"));
  const auto states = file.tensor("first");
  const auto rotation = std::get<0>(at::linalg_qr(at::randn({12, 12}, at::kDouble)));
  EXPECT_NEAR(linear_cka(states, 3 * states.mm(rotation)), 1, 1e-12);
}

// Every answer is as near as the right one.
TEST(Representation, OfAModelThatTellsNothingApartRanksLast) {
  EXPECT_NEAR(mean_reciprocal_rank(at::ones({50, 4}), at::ones({50, 4})), 1.0 / 50, 1e-12);
}

class MaskedLanguageModel : public testing::TestWithParam<std::string> {
 protected:
  std::filesystem::path directory() const { return reference(GetParam()); }
  std::unique_ptr<model::Classifier> pretrained() const {
    return model::load_classifier({.directory = directory(),
                                   .pooling = model::Pooling::mean,
                                   .classes = 4,
                                   .head_seed = 1,
                                   .device = model::test_device()});
  }
  ForgettingMaterial material() const {
    const model::SafetensorsFile texts(directory() / "texts.safetensors");
    const auto ids = texts.tensor("ids");
    const auto offsets = texts.tensor("offsets");
    const auto count = offsets.size(0) - 1;
    return {.retain = train::dataset_of(ids, at::zeros_like(ids), offsets, at::zeros({count}, at::kLong), 4),
            .mask_token = 3,
            .queries = {},
            .answers = {},
            .base_directory = directory()};
  }
};

TEST_P(MaskedLanguageModel, HasTheLossOfTransformers) {
  const model::SafetensorsFile expected(directory() / "reference.safetensors");
  const auto base = pretrained();
  const auto communicator = dist::make_single_communicator();
  const auto context = train::context_over(*communicator);
  const auto material = this->material();
  // The places are transformers' to hide, too.
  std::vector<std::int64_t> places;
  for (std::int64_t text = 0; text < material.retain.size(); ++text) {
    for (const std::int64_t place : masked_places(text, material.retain.length(text))) {
      places.push_back(text);
      places.push_back(place);
    }
  }
  EXPECT_TRUE(at::equal(at::tensor(places, at::kLong).view({-1, 2}), expected.tensor("masked")));
  const ForgettingProbe probe(*base, material, context);
  const auto same = probe.measure(*base, context);
  EXPECT_NEAR(same.at("mlm_loss_before"), expected.tensor("loss").item<double>(), 1e-5);
  EXPECT_EQ(same.at("mlm_loss"), same.at("mlm_loss_before"));
  EXPECT_NEAR(same.at("cka"), 1, 1e-12);
  EXPECT_NEAR(same.at("cka_last"), 1, 1e-12);
  EXPECT_NEAR(same.at("similarity_agreement"), 1, 1e-12);
}

INSTANTIATE_TEST_SUITE_P(Of, MaskedLanguageModel, testing::Values("bert_mlm", "roberta_mlm", "distilbert_mlm"),
                         [](const auto& of) { return of.param; });

class Forgetting : public testing::Test {
 protected:
  static ForgettingMaterial material() {
    return {.retain = train::random_data(40, 1),
            .mask_token = 3,
            .queries = train::random_data(30, 2),
            .answers = train::random_data(30, 2),
            .base_directory = model::reference_directory() / "no_dropout"};
  }

  std::unique_ptr<dist::Communicator> communicator_ = dist::make_single_communicator();
  train::RunContext context_ = train::context_over(*communicator_);
};

TEST_F(Forgetting, IsNothingForAFrozenBodyAndMoreTheMoreABodyMoves) {
  const auto base = train::classifier_with("no_dropout", "head");
  const ForgettingProbe probe(*base, material(), context_);
  const auto frozen = probe.measure(*train::classifier_with("no_dropout", "head"), context_);
  // A checkpoint without a masked-language-model head is asked no such loss.
  EXPECT_THAT(frozen,
              ElementsAre(Key("cka"), Key("cka_last"), Key("mrr"), Key("mrr_before"), Key("similarity_agreement")));
  EXPECT_NEAR(frozen.at("cka"), 1, 1e-12);
  EXPECT_NEAR(frozen.at("similarity_agreement"), 1, 1e-12);
  EXPECT_EQ(frozen.at("mrr"), frozen.at("mrr_before"));
  EXPECT_NEAR(frozen.at("mrr"), 1, 1e-12);  // every query is its own answer

  double last = 1;
  for (const double noise : {0.05, 0.5}) {
    at::manual_seed(7);
    const auto moved = train::classifier_with("no_dropout", "full");
    for (model::Parameter* parameter : moved->parameters())
      parameter->set_value(parameter->value() + noise * at::randn_like(parameter->value()));
    const auto measured = probe.measure(*moved, context_);
    EXPECT_LT(measured.at("cka"), last);
    last = measured.at("cka");
    EXPECT_LT(measured.at("similarity_agreement"), 0.9999);
  }
  EXPECT_LT(last, 0.9);
}

class LastStates final : public model::StageObserver {
 public:
  void after_stage(int, const at::Tensor& hidden, const model::TokenBatch&) override { states = hidden; }
  at::Tensor states;
};

// Their hidden tokens are found behind the virtual ones.
TEST_F(Forgetting, IsMeasuredBehindVirtualTokens) {
  auto asked = material();
  asked.base_directory = reference("bert_mlm");
  const auto load = [&] {
    return model::load_classifier({.directory = asked.base_directory,
                                   .pooling = model::Pooling::mean,
                                   .classes = 4,
                                   .head_seed = 1,
                                   .device = model::test_device()});
  };
  const auto base = load();
  const auto prompted = load();
  peft::make_method(peft::parse_method_spec("prompt:num_virtual_tokens=5"))->attach(*prompted, {.seed = 1});
  const ForgettingProbe probe(*base, asked, context_);
  const auto measured = probe.measure(*prompted, context_);
  // Text by text: the five virtual tokens stand in front of each.
  const auto head = model::load_masked_lm_head(asked.base_directory, context_.device);
  ASSERT_TRUE(head.has_value());
  double sum = 0;
  std::int64_t count = 0;
  for (std::int64_t text = 0; text < asked.retain.size(); ++text) {
    auto batch = asked.retain.collate({text}, context_.device);
    const auto places = at::tensor(masked_places(text, asked.retain.length(text)), at::kLong);
    if (places.numel() == 0) continue;
    const auto answers = batch.ids.index_select(0, places);
    batch.ids.index_fill_(0, places, 3);
    LastStates last;
    model::ForwardContext forward;
    forward.observer = &last;
    prompted->forward(batch, forward);
    const auto logits = head->logits(last.states.detach().index_select(0, places + 5));
    sum += at::cross_entropy_loss(logits, answers, {}, at::Reduction::Sum).item<double>();
    count += places.numel();
  }
  EXPECT_NEAR(measured.at("mlm_loss"), sum / static_cast<double>(count), 1e-5);
  EXPECT_GT(std::abs(measured.at("mlm_loss") - measured.at("mlm_loss_before")), 1e-3);
  EXPECT_LT(measured.at("cka"), 1);
}

TEST(MaskedPlaces, LieBetweenTheFirstAndTheLastToken) {
  EXPECT_TRUE(masked_places(0, 2).empty());
  EXPECT_THAT(masked_places(0, 3), ElementsAre(1));
  for (std::int64_t text = 0; text < 50; ++text) {
    const auto places = masked_places(text, 42);
    EXPECT_EQ(places.size(), 6U);
    EXPECT_GE(places.front(), 1);
    EXPECT_LE(places.back(), 40);
    EXPECT_TRUE(std::is_sorted(places.begin(), places.end()));
  }
  EXPECT_NE(masked_places(1, 42), masked_places(2, 42));
}

}  // namespace
}  // namespace dtrain::study
