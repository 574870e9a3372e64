#include "model/stage_observer.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <vector>

#include "tests/model/reference_case.h"

namespace dtrain::model {
namespace {

class Recorder final : public StageObserver {
 public:
  void after_stage(int stage, const at::Tensor& hidden, const TokenBatch& batch) override {
    stages.push_back(stage);
    states.push_back(hidden.detach().clone());
    tokens.push_back(batch.tokens());
  }

  std::vector<int> stages;
  std::vector<at::Tensor> states;
  std::vector<std::int64_t> tokens;
};

TEST(StageObserver, SeesWhatEachStageTakesInOnePass) {
  const ReferenceCase reference("new_gelu");
  for (const Pooling pooling : {Pooling::pooler, Pooling::mean}) {
    const auto classifier = reference.load(pooling, at::kFloat);
    const auto batch = reference.batch();
    ForwardContext plain;
    const auto expected = classifier->forward(batch, plain);
    Recorder recorder;
    ForwardContext observed;
    observed.observer = &recorder;
    EXPECT_TRUE(at::equal(classifier->forward(batch, observed), expected));
    ASSERT_EQ(recorder.stages, (std::vector<int>{0, 1, 2, 3}));
    for (int stage = 0; stage < 3; ++stage) {
      const auto state = recorder.states[static_cast<std::size_t>(stage)];
      EXPECT_TRUE(at::equal(state, classifier->run_prefix(batch, stage + 1, at::kFloat))) << stage;
      EXPECT_EQ(recorder.tokens[static_cast<std::size_t>(stage)], state.size(0));
    }
  }
}

TEST(StageObserver, SeesOnlyTheStagesThatRun) {
  const ReferenceCase reference("new_gelu");
  const auto classifier = reference.load(Pooling::mean, at::kFloat);
  const auto batch = reference.batch();
  Recorder recorder;
  ForwardContext context;
  context.observer = &recorder;
  classifier->forward_from(2, classifier->run_prefix(batch, 2, at::kFloat), batch, context);
  EXPECT_EQ(recorder.stages, (std::vector<int>{2, 3}));
}

}  // namespace
}  // namespace dtrain::model
