#include "train/evaluation.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include "data/batch_plan.h"
#include "train/compute_apart.h"

namespace dtrain::train {

at::Tensor score(model::Classifier& classifier, const Examples& examples, const RunContext& context,
                 FeatureStore* features) {
  const at::NoGradGuard no_grad;
  const auto batches = data::evaluation_batches(examples.lengths(), evaluation_tokens(context.device));
  std::vector<std::int64_t> mine;
  Batches my_batches;
  for (std::size_t i = 0; i < batches.size(); ++i) {
    if (static_cast<int>(i) % context.control.size() != context.control.rank()) continue;
    my_batches.push_back(batches[i]);
    mine.insert(mine.end(), batches[i].begin(), batches[i].end());
  }
  const std::shared_ptr<const FeatureCache> cache =
      features == nullptr ? nullptr : features->cache_for(classifier, examples, my_batches, context);
  const int stage = classifier.first_trainable_stage();
  auto rows = at::empty({static_cast<std::int64_t>(mine.size()), classifier.classes()});
  std::int64_t next = 0;
  compute_apart(context, [&] {
    for (const auto& ids : my_batches) {
      context.tick();
      context.end_if_stopped();
      const auto batch = examples.collate(ids, context.device);
      model::ForwardContext forward;
      forward.matmul_type = context.matmul_type;
      const auto logits = cache == nullptr
                              ? classifier.forward(batch, forward)
                              : classifier.forward_from(
                                    stage, cache->features(classifier, examples, ids, batch, context), batch, forward);
      rows.slice(0, next, next + logits.size(0)).copy_(logits);
      next += logits.size(0);
      if (mine.size() > 4000) context.log.progress(fmt::format("evaluating: {} of {} examples", next, mine.size()));
    }
  });
  context.log.progress("");
  const auto all_ids = context.control.all_gather(at::tensor(mine, at::kLong));
  const auto all_rows = context.control.all_gather(rows);
  return at::empty_like(all_rows).index_copy_(0, all_ids, all_rows);
}

Evaluation evaluate(model::Classifier& classifier, const Examples& examples, const Objective& objective,
                    const RunContext& context, FeatureStore* features) {
  Evaluation evaluation;
  evaluation.logits = score(classifier, examples, context, features);
  const auto targets = examples.all_targets();
  evaluation.metrics = objective.metrics(evaluation.logits, targets);
  const auto scores = objective.example_scores(evaluation.logits, targets).contiguous();
  const auto* values = scores.const_data_ptr<double>();
  evaluation.scores.assign(values, values + scores.numel());
  evaluation.predicted = objective.predicted_classes(evaluation.logits);
  evaluation.confidences = objective.confidences(evaluation.logits);
  for (const std::string& metric : objective.mean_metrics()) {
    const auto of_examples = objective.example_values(metric, evaluation.logits, targets).to(at::kFloat).contiguous();
    const auto* first = of_examples.const_data_ptr<float>();
    evaluation.values[metric].assign(first, first + of_examples.numel());
  }
  return evaluation;
}

}  // namespace dtrain::train
