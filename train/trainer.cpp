#include "train/trainer.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <vector>

#include "base/error.h"
#include "data/batch_plan.h"
#include "peft/registry.h"
#include "train/checkpoint.h"
#include "train/evaluation.h"
#include "train/flat_parameters.h"
#include "train/optimizer.h"
#include "train/not_finite.h"
#include "train/peak_memory.h"
#include "train/step_log.h"
#include "train/training_step.h"

namespace dtrain::train {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

// Evaluations cost time that small data cannot spare: every epoch, but at most ten in a run.
std::int64_t evaluation_interval(std::int64_t steps, std::int64_t steps_per_epoch) {
  const std::int64_t epochs = (steps + steps_per_epoch - 1) / steps_per_epoch;
  return steps_per_epoch * std::max<std::int64_t>(1, (epochs + 9) / 10);
}

// Of the weights that a run starts from. The frozen ones are in no checkpoint, and must be the same when it goes on.
std::string digest(model::Classifier& classifier) {
  std::uint64_t mixed = static_cast<std::uint64_t>(classifier.pooling());
  for (const model::Parameter* parameter : classifier.parameters()) {
    const auto bits = parameter->value().scalar_type() == at::kDouble ? at::kLong : at::kInt;
    const auto sum = parameter->value().contiguous().view(bits).sum(at::kLong).item<std::int64_t>();
    mixed = mixed * 0x9E3779B97F4A7C15ULL + static_cast<std::uint64_t>(sum);
  }
  return fmt::format("{:016x}", mixed);
}

// A part of a run in which the same parameters train (peft::Phase).
struct RunPhase {
  RunPhase(model::Classifier& classifier, const Examples& examples, const TrainOptions& options,
           const RunContext& context, FeatureStore& features, peft::TrainingHooks* hooks)
      : parameters(flatten(classifier)),
        step(classifier, parameters, options, examples, context, features, hooks),
        optimizer(parameters, options) {}

  FlatParameters parameters;
  TrainingStep step;
  AdamW optimizer;
};

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

// One run: what the loop carries from step to step.
class Run {
 public:
  Run(model::Classifier& classifier, const Examples& examples, const Examples& dev, const TrainOptions& options,
      const RunFiles& files, const RunContext& context, FeatureStore& features)
      : classifier_(classifier),
        examples_(examples),
        dev_(dev),
        options_(options),
        objective_(objective_of(options.problem_type)),
        files_(files),
        context_(context),
        features_(features),
        begin_(Clock::now()),
        method_(peft::make_method(options.method)),
        phases_(method_->phases(classifier)),
        learning_rate_(learning_rate_of(options)) {
    steps_per_epoch_ = data::BatchPlan(examples.lengths(), options.batch_size, options.seed).steps_per_epoch();
    steps_ = total_steps(options, steps_per_epoch_);
    hooks_ = method_->start_training_hooks(classifier, steps_);
    phase_ends_ = phase_ends(phases_, steps_);
    make_phase();
    identity_ = {{"method", options.method.text()},
                 {"problem type", std::string(problem_type_name(options.problem_type))},
                 {"loss", loss_text(options.loss)},
                 {"learning rate", fmt::format("{}", learning_rate_)},
                 {"steps", std::to_string(steps_)},
                 {"batch size", std::to_string(options.batch_size)},
                 {"seed", std::to_string(options.seed)},
                 {"virtual ranks", std::to_string(options.virtual_ranks)},
                 {"training data", examples.digest()},
                 {"trainable parameters", std::to_string(phase_->parameters.size())},
                 {"weights of the model at the start", digest(classifier)},
                 {"micro batch size", std::to_string(options.micro_batch_size)},
                 {"weight decay", fmt::format("{}", options.weight_decay)},
                 {"betas", fmt::format("{} {}", options.beta1, options.beta2)},
                 {"epsilon", fmt::format("{}", options.epsilon)},
                 {"warm-up", fmt::format("{}", options.warmup_ratio)},
                 {"gradient norm", fmt::format("{}", options.max_gradient_norm)},
                 {"select metric", options.select_metric},
                 {"precision", context.matmul_type == at::kBFloat16 ? "bf16" : "fp32"}};
  }

  TrainReport finish() {
    std::int64_t position = files_.resume ? resume() : 0;
    StepLog log(context_.control.rank() == 0 ? files_.log : std::filesystem::path(), position);
    const std::int64_t interval = evaluation_interval(steps_, steps_per_epoch_);
    const std::int64_t first_position = position;
    while (position < steps_) {
      while (position == phase_ends_[phase_index_]) enter_next_phase();
      const auto outcome = phase_->step.run(position);
      samples_ += outcome.examples;
      const double rate = learning_rate_at(position);
      const double norm = phase_->optimizer.step(rate);
      if (hooks_) hooks_->after_step(position);
      ++position;
      if (!std::isfinite(norm)) {
        throw NotFiniteError(
            fmt::format("the gradient of step {} ({}) is not finite; a lower --lr than {} usually helps", position,
                        phase_->step.batch_text(position - 1), learning_rate_));
      }
      const double elapsed = seconds_since(begin_) - evaluation_seconds_;
      if (position % options_.log_steps == 0 || position == steps_) {
        log.write({position, steps_, outcome.loss, rate, norm, static_cast<double>(samples_) / elapsed,
                   phase_->step.allreduce_bytes()});
      }
      const double left = seconds_since(begin_) / static_cast<double>(position - first_position) *
                          static_cast<double>(steps_ - position);
      context_.log.progress(fmt::format("step {}/{}  loss {:.4f}  lr {:.2e}  {:.0f} samples/s  {} left", position,
                                        steps_, outcome.loss, rate, static_cast<double>(samples_) / elapsed,
                                        duration_text(left)));
      if (position % interval == 0 || position == steps_) evaluate_dev(position);
      if (position == steps_) break;
      const bool save = options_.save_steps > 0 && position % options_.save_steps == 0;
      if (save || outcome.stop_requested) checkpoint(position);
      if (outcome.stop_requested) {
        // The job ends with its first rank that ends: not before the checkpoint is there.
        context_.control.barrier();
        context_.log.progress("");
        throw Stopped(
            files_.checkpoints.empty()
                ? fmt::format("stopped by a signal after step {} of {}; without --output nothing is kept", position,
                              steps_)
                : fmt::format("stopped by a signal after step {} of {}; the checkpoint is written, go on with --resume",
                              position, steps_));
      }
    }
    context_.log.progress("");
    const TrainReport result = report();
    if (first_position < steps_) keep_end();
    return result;
  }

 private:
  std::int64_t phase_begin() const { return phase_index_ == 0 ? 0 : phase_ends_[phase_index_ - 1]; }

  double learning_rate_at(std::int64_t position) const {
    const double rate = phases_[phase_index_].learning_rate.value_or(learning_rate_);
    return rate *
           schedule_factor(position - phase_begin(), phase_ends_[phase_index_] - phase_begin(), options_.warmup_ratio);
  }

  void make_phase() {
    // Features that are to be read once cost more to keep than to compute again.
    const bool sees_all = phase_ends_[phase_index_] - phase_begin() >= steps_per_epoch_;
    phase_ = std::make_unique<RunPhase>(classifier_, examples_, options_, context_,
                                        sees_all || phases_.size() == 1 ? features_ : none_kept_, hooks_.get());
  }

  void enter_next_phase() {
    const at::NoGradGuard no_grad;
    const FlatParameters before = phase_->parameters;
    spared_seconds_ += phase_->step.spared_seconds();
    phase_.reset();
    method_->enter_phase(classifier_, static_cast<int>(++phase_index_));
    make_phase();
    if (best_values_.defined()) best_values_ = carried_over(before, best_values_, phase_->parameters);
    context_.log.line(fmt::format("phase {} of {}: {} parameters train", phase_index_ + 1, phases_.size(),
                                  count_text(phase_->parameters.size())));
  }

  std::int64_t resume() {
    const auto checkpoint = read_checkpoint(files_.checkpoints, identity_, context_.log);
    check_agreement(checkpoint ? checkpoint->step : 0);
    if (!checkpoint) {
      context_.log.line("no checkpoint yet: starting at step 0");
      return 0;
    }
    const at::NoGradGuard no_grad;
    // A checkpoint at the end of a phase has that phase's parameters.
    while (checkpoint->step > phase_ends_[phase_index_]) enter_next_phase();
    phase_->parameters.set_values(checkpoint->values);
    phase_->optimizer.restore(checkpoint->first_moments, checkpoint->second_moments, checkpoint->step - phase_begin());
    if (hooks_) hooks_->restore(checkpoint->hooks);
    if (checkpoint->best_values.defined())
      best_values_ = checkpoint->best_values.to(phase_->parameters.values.device());
    best_step_ = checkpoint->best_step;
    best_metric_ = checkpoint->best_metric;
    earlier_seconds_ = checkpoint->train_seconds;
    context_.log.line(fmt::format("resumed at step {} of {}", checkpoint->step, steps_));
    return checkpoint->step;
  }

  // Where each node has a disk of its own, the ranks do not see the same checkpoints.
  void check_agreement(std::int64_t step) const {
    const auto steps = context_.control.all_gather(at::tensor({step}, at::kLong));
    for (std::int64_t rank = 1; rank < steps.size(0); ++rank) {
      if (steps[rank].item<std::int64_t>() == steps[0].item<std::int64_t>()) continue;
      throw InputError(fmt::format(
          "{}: rank 0 finds a checkpoint of step {} there, rank {} of step {} (0: none). --output must be on a disk "
          "that "
          "all nodes share",
          files_.checkpoints.string(), steps[0].item<std::int64_t>(), rank, steps[rank].item<std::int64_t>()));
    }
  }

  void evaluate_dev(std::int64_t position) {
    if (dev_.size() == 0) return;
    const auto begin = Clock::now();
    // A signal waits for the end of the step, which has a checkpoint.
    RunContext undisturbed = context_;
    undisturbed.end_if_stopped = [] {};
    Evaluation evaluation = evaluate(classifier_, dev_, objective_, undisturbed, &features_);
    evaluation_seconds_ += seconds_since(begin);
    const double value = evaluation.metrics.value(options_.select_metric);
    const bool better = larger_is_better(options_.select_metric) ? value > best_metric_ : value < best_metric_;
    context_.log.line(fmt::format("  step {:>6}/{}  dev {}{}", position, steps_,
                                  headline_text(objective_, evaluation.metrics),
                                  !best_step_ || better ? "  best" : ""));
    if (best_step_ == 0 || better) {
      best_metric_ = value;
      best_step_ = position;
      best_values_ = phase_->parameters.values.clone();
      best_evaluation_ = std::move(evaluation);
    }
  }

  void checkpoint(std::int64_t position) const {
    if (files_.checkpoints.empty() || context_.control.rank() != 0) return;
    write_checkpoint(files_.checkpoints, {position, phase_->parameters.values, phase_->optimizer.first_moments(),
                                          phase_->optimizer.second_moments(), best_values_, best_step_, best_metric_,
                                          earlier_seconds_ + seconds_since(begin_) - evaluation_seconds_, identity_,
                                          hooks_ ? hooks_->state() : peft::NamedTensors{}});
  }

  // Whoever saves and scores the classifier now may be stopped before it is done, and goes on from here.
  void keep_end() const {
    try {
      checkpoint(steps_);
    } catch (const TrainingError& error) {
      context_.log.warning(
          fmt::format("{}. Without a checkpoint of the last step, a run that is stopped while it is "
                      "scored trains again",
                      error.what()));
    }
  }

  // Of all steps, those before a resume, too.
  std::int64_t samples_of_run() const {
    const data::BatchPlan plan(examples_.lengths(), options_.batch_size, options_.seed);
    const std::int64_t epochs = steps_ / steps_per_epoch_;
    std::int64_t samples = epochs * examples_.size();
    for (std::int64_t step = epochs * steps_per_epoch_; step < steps_; ++step) {
      samples += static_cast<std::int64_t>(plan.batch(step).size());
    }
    return samples;
  }

  TrainReport report() {
    TrainReport report;
    // A run by itself would have to make the features that a study's earlier run left it.
    report.train_seconds =
        seconds_since(begin_) - evaluation_seconds_ + spared_seconds_ + phase_->step.spared_seconds();
    report.train_seconds += earlier_seconds_;
    report.samples_per_second = static_cast<double>(samples_of_run()) / report.train_seconds;
    report.learning_rate = learning_rate_;
    report.steps = steps_;
    report.best_step = best_step_ > 0 ? best_step_ : steps_;
    report.trainable_parameters = phase_->parameters.size();
    report.allreduce_bytes_per_step = phase_->step.allreduce_bytes();
    report.peak_memory_bytes = peak_memory_bytes(context_.device);
    if (best_step_ > 0) {
      phase_->parameters.set_values(best_values_);
      // Not known where the best step was before a checkpoint that this run goes on from.
      report.dev = best_evaluation_ ? best_evaluation_ : evaluate(classifier_, dev_, objective_, context_, &features_);
    }
    return report;
  }

  model::Classifier& classifier_;
  const Examples& examples_;
  const Examples& dev_;
  const TrainOptions& options_;
  const Objective& objective_;
  const RunFiles& files_;
  const RunContext& context_;
  FeatureStore& features_;
  FeatureStore none_kept_{0};
  Clock::time_point begin_;
  std::unique_ptr<peft::Method> method_;
  std::vector<peft::Phase> phases_;
  std::vector<std::int64_t> phase_ends_;  // in steps
  std::size_t phase_index_ = 0;
  std::unique_ptr<peft::TrainingHooks> hooks_;
  std::unique_ptr<RunPhase> phase_;
  std::int64_t steps_per_epoch_ = 0;
  std::int64_t steps_ = 0;
  double learning_rate_;
  std::map<std::string, std::string> identity_;
  std::int64_t samples_ = 0;
  double evaluation_seconds_ = 0;
  double earlier_seconds_ = 0;
  double spared_seconds_ = 0;  // of the phases before this one
  at::Tensor best_values_;
  std::int64_t best_step_ = 0;
  double best_metric_ = 0;
  std::optional<Evaluation> best_evaluation_;
};

}  // namespace

std::int64_t total_steps(const TrainOptions& options, std::int64_t steps_per_epoch) {
  if (options.max_steps) return *options.max_steps;
  const auto by_epochs = static_cast<std::int64_t>(std::ceil(options.epochs * static_cast<double>(steps_per_epoch)));
  return std::max(by_epochs, options.min_steps);
}

std::vector<std::int64_t> phase_ends(const std::vector<peft::Phase>& phases, std::int64_t steps) {
  std::vector<std::int64_t> ends;
  double share = 0;
  for (const peft::Phase& phase : phases) {
    share += phase.share;
    ends.push_back(static_cast<std::int64_t>(std::llround(share * static_cast<double>(steps))));
  }
  return ends;
}

TrainReport train(model::Classifier& classifier, const Examples& examples, const Examples& dev,
                  const TrainOptions& options, const RunFiles& files, const RunContext& context,
                  FeatureStore& features) {
  // Ranks that loaded faster wait here, outside the clock of the run.
  context.control.barrier();
  reset_peak_memory(context.device);
  return Run(classifier, examples, dev, options, files, context, features).finish();
}

}  // namespace dtrain::train
