#include "study/states/forgetting.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/random.h"
#include "data/batch_plan.h"
#include "model/stage_observer.h"
#include "study/states/representation.h"
#include "study/states/stage_features.h"
#include "train/compute_apart.h"
#include "train/evaluation.h"

namespace dtrain::study {
namespace {

constexpr double kMaskedShare = 0.15;  // Devlin et al. (2019)
// Fixed: one model is held against another on the same tokens.
constexpr std::uint64_t kMaskSeed = 15;

// Keeps what the last layer returns, and where the examples lie in it.
class LastLayer final : public model::StageObserver {
 public:
  explicit LastLayer(int stage) : stage_(stage) {}
  void after_stage(int stage, const at::Tensor& hidden, const model::TokenBatch& batch) override {
    if (stage != stage_) return;
    states = hidden;
    offsets = batch.offsets;
  }

  at::Tensor states;
  at::Tensor offsets;

 private:
  int stage_;
};

std::vector<at::Tensor> mean_states(model::Classifier& classifier, const train::Examples& examples, const char* what,
                                    const train::RunContext& context) {
  const StageFeatures features(classifier, examples, {model::Pooling::mean}, what, context);
  std::vector<at::Tensor> states;
  for (int stage = 0; stage < features.stages(); ++stage)
    states.push_back(features.gather(stage, model::Pooling::mean, context.control));
  return states;
}

at::Tensor last_states(model::Classifier& classifier, const train::Examples& examples, const char* what,
                       const train::RunContext& context) {
  const StageFeatures features(classifier, examples, {model::Pooling::mean}, what, context);
  return features.gather(features.stages() - 1, model::Pooling::mean, context.control);
}

}  // namespace

std::vector<std::int64_t> masked_places(std::int64_t example, std::int64_t length) {
  const std::int64_t inner = std::max<std::int64_t>(0, length - 2);
  std::vector<std::int64_t> places(static_cast<std::size_t>(inner));
  std::iota(places.begin(), places.end(), 1);
  SplitMix64 random(stream_seed(kMaskSeed, Purpose::masked_tokens, static_cast<std::uint64_t>(example)));
  shuffle(places, random);
  const auto count = static_cast<std::size_t>(std::llround(kMaskedShare * static_cast<double>(inner)));
  places.resize(std::min(places.size(), std::max<std::size_t>(1, count)));
  std::sort(places.begin(), places.end());
  return places;
}

ForgettingProbe::ForgettingProbe(model::Classifier& base, ForgettingMaterial material, const train::RunContext& context)
    : material_(std::move(material)) {
  const at::NoGradGuard no_grad;
  if (material_.retain.size() > 0) {
    base_states_ = mean_states(base, material_.retain, "retained text", context);
    base_similarities_ = pair_similarities(base_states_.back());
    if (material_.mask_token)
      head_ = model::load_masked_lm_head(material_.base_directory, context.device, material_.base_weights);
    if (head_) base_masked_loss_ = masked_loss(base, context);
  }
  if (material_.queries.size() > 0) base_reciprocal_rank_ = reciprocal_rank(base, context);
}

std::map<std::string, double> ForgettingProbe::measure(model::Classifier& trained,
                                                       const train::RunContext& context) const {
  const at::NoGradGuard no_grad;
  std::map<std::string, double> measured;
  if (material_.retain.size() > 0) {
    const auto states = mean_states(trained, material_.retain, "retained text", context);
    double sum = 0;
    for (std::size_t stage = 1; stage < states.size(); ++stage) {
      measured["cka_last"] = linear_cka(base_states_[stage], states[stage]);
      sum += measured["cka_last"];
    }
    measured["cka"] = sum / static_cast<double>(states.size() - 1);
    measured["similarity_agreement"] = spearman(base_similarities_, pair_similarities(states.back()));
    if (head_) {
      measured["mlm_loss_before"] = base_masked_loss_;
      measured["mlm_loss"] = masked_loss(trained, context);
    }
  }
  if (material_.queries.size() > 0) {
    measured["mrr_before"] = base_reciprocal_rank_;
    measured["mrr"] = reciprocal_rank(trained, context);
  }
  return measured;
}

double ForgettingProbe::masked_loss(model::Classifier& classifier, const train::RunContext& context) const {
  const train::Examples& examples = material_.retain;
  const auto batches = data::evaluation_batches(examples.lengths(), train::evaluation_tokens(context.device));
  // Gathered and added in the order of the texts, so that the sum does not depend on the number of ranks.
  std::vector<at::Tensor> mine;
  train::compute_apart(context, [&] {
    for (std::size_t i = 0; i < batches.size(); ++i) {
      if (static_cast<int>(i) % context.control.size() != context.control.rank()) continue;
      context.end_if_stopped();
      auto batch = examples.collate(batches[i], context.device);
      const auto* own = batch.offsets.const_data_ptr<std::int64_t>();
      std::vector<std::int64_t> hidden_tokens, owners, from_end;
      for (std::size_t e = 0; e < batches[i].size(); ++e) {
        for (const std::int64_t place : masked_places(batches[i][e], own[e + 1] - own[e])) {
          hidden_tokens.push_back(own[e] + place);
          owners.push_back(static_cast<std::int64_t>(e));
          from_end.push_back(own[e + 1] - own[e] - place);
        }
      }
      const auto index = model::on_device(at::tensor(hidden_tokens, at::kLong), context.device);
      const auto answers = batch.ids.index_select(0, index);
      batch.ids = batch.ids.index_fill(0, index, *material_.mask_token);
      LastLayer last(classifier.head_stage() - 1);
      model::ForwardContext forward;
      forward.matmul_type = context.matmul_type;
      forward.observer = &last;
      classifier.forward(batch, forward);
      // Virtual tokens stand in front of the text.
      const auto* seen = last.offsets.const_data_ptr<std::int64_t>();
      for (std::size_t t = 0; t < hidden_tokens.size(); ++t) hidden_tokens[t] = seen[owners[t] + 1] - from_end[t];
      const auto states =
          last.states.index_select(0, model::on_device(at::tensor(hidden_tokens, at::kLong), context.device));
      const auto losses = at::cross_entropy_loss(head_->logits(states.to(at::kFloat)), answers, {}, at::Reduction::None)
                              .to(at::kCPU, at::kDouble);
      auto rows = at::zeros({static_cast<std::int64_t>(batches[i].size()), 3}, at::kDouble);
      const auto owner = at::tensor(owners, at::kLong);
      rows.select(1, 0).copy_(at::tensor(batches[i], at::kLong));
      rows.select(1, 1).index_add_(0, owner, losses);
      rows.select(1, 2).index_add_(0, owner, at::ones_like(losses));
      mine.push_back(rows);
    }
  });
  const auto rows = context.control.all_gather(mine.empty() ? at::zeros({0, 3}, at::kDouble) : at::cat(mine));
  const auto ordered = rows.index_select(0, rows.select(1, 0).argsort());
  return (ordered.select(1, 1).sum() / ordered.select(1, 2).sum()).item<double>();
}

double ForgettingProbe::reciprocal_rank(model::Classifier& classifier, const train::RunContext& context) const {
  return mean_reciprocal_rank(last_states(classifier, material_.queries, "queries", context),
                              last_states(classifier, material_.answers, "answers", context));
}

}  // namespace dtrain::study
