#include "train/run_phases.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <algorithm>

#include "train/compute_apart.h"
#include "train/run_length.h"

namespace dtrain::train {
namespace {

// The same values under another phase's parameters, which are these and more.
at::Tensor carried_over(const FlatParameters& from, const at::Tensor& values, const FlatParameters& to) {
  auto carried = to.values.clone();
  for (std::size_t i = 0; i < from.parameters.size(); ++i) {
    const auto place =
        std::find(to.parameters.begin(), to.parameters.end(), from.parameters[i]) - to.parameters.begin();
    const auto j = static_cast<std::size_t>(place);
    carried.slice(0, to.offsets[j], to.offsets[j + 1]).copy_(values.slice(0, from.offsets[i], from.offsets[i + 1]));
  }
  return carried;
}

}  // namespace

RunPhases::Phase::Phase(RunPhases& run, FeatureStore& features)
    : parameters(made_apart(run.context_, [&] { return flatten(run.classifier_); })),
      step(run.classifier_, parameters, run.options_, run.examples_, run.context_, features, run.hooks_),
      optimizer(
          made_apart(run.context_, [&] { return AdamW(parameters, run.options_, step.sharding(), &step.gather()); })) {}

RunPhases::RunPhases(const peft::Method& method, model::Classifier& classifier, const Examples& examples,
                     const TrainOptions& options, const RunContext& context, FeatureStore& features,
                     peft::TrainingHooks* hooks)
    : method_(method),
      classifier_(classifier),
      examples_(examples),
      options_(options),
      context_(context),
      features_(features),
      hooks_(hooks),
      phases_(method.phases(classifier)),
      ends_(phase_ends(phases_, total_steps(options, steps_per_epoch(options, examples)))) {
  make_present();
}

void RunPhases::make_present() {
  // Features that are to be read once cost more to keep than to compute again.
  const bool sees_all = end() - begin() >= steps_per_epoch(options_, examples_);
  present_ = std::make_unique<Phase>(*this, sees_all || phases_.size() == 1 ? features_ : none_kept_);
}

double RunPhases::learning_rate(std::int64_t position) const {
  const double rate = phases_[index_].learning_rate.value_or(learning_rate_of(options_));
  return rate * schedule_factor(position - begin(), end() - begin(), options_.warmup_ratio);
}

at::Tensor RunPhases::enter_next(const at::Tensor& kept) {
  const at::NoGradGuard no_grad;
  const FlatParameters before = parameters();
  spared_seconds_ += present_->step.spared_seconds();
  prefix_flop_ += present_->step.prefix_flop();
  present_.reset();
  method_.enter_phase(classifier_, static_cast<int>(++index_));
  make_present();
  context_.log.line(
      fmt::format("phase {} of {}: {} parameters train", index_ + 1, phases_.size(), count_text(parameters().size())));
  return kept.defined() ? carried_over(before, kept, parameters()) : kept;
}

}  // namespace dtrain::train
