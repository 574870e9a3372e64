#include "train/trainer.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/seconds.h"
#include "dist/first_rank.h"
#include "peft/registry.h"
#include "train/best_step.h"
#include "train/compute_apart.h"
#include "train/evaluation.h"
#include "train/matmul_rate.h"
#include "train/not_finite.h"
#include "train/optimizer.h"
#include "train/peak_memory.h"
#include "train/resume.h"
#include "train/run_phases.h"
#include "train/run_progress.h"
#include "train/slow_rank.h"

namespace dtrain::train {
namespace {

using Clock = std::chrono::steady_clock;

// One run: what the loop carries from step to step.
class TrainingRun {
 public:
  TrainingRun(model::Classifier& classifier, const Examples& examples, const Examples& dev, const TrainOptions& options,
              const RunFiles& files, const RunContext& context, FeatureStore& features)
      : classifier_(classifier),
        examples_(examples),
        dev_(dev),
        options_(options),
        objective_(objective_of(options.problem_type)),
        files_(files),
        context_(files.checkpoints.empty() ? context : stopping_in_time(context)),
        features_(features),
        peak_memory_(classifier, context.device),
        steps_(total_steps(options, steps_per_epoch(options, examples))),
        progress_(options, context_, steps_),
        method_(peft::make_method(options.method)),
        hooks_(method_->start_training_hooks(classifier, steps_)),
        phases_(*method_, classifier, examples, options, context_, features, hooks_.get()),
        identity_(files.checkpoints.empty() ? std::map<std::string, std::string>()
                                            : run_identity(options, steps_, examples, dev, classifier, context)),
        best_(options.select_metric) {}

  TrainReport finish() {
    const auto checkpoint =
        files_.resume ? checkpoint_to_resume(files_.checkpoints, identity_, context_, files_.node) : std::nullopt;
    const std::int64_t first_position = checkpoint ? checkpoint->step : 0;
    if (checkpoint) restore(*checkpoint);
    resumed_ = first_position;
    if (files_.resume) {
      context_.log.line(checkpoint ? fmt::format("resumed at step {} of {}", first_position, steps_)
                                   : "no checkpoint yet: starting at step 0");
    }
    progress_.begin_steps(files_.log, files_.events, first_position, checkpoint ? checkpoint->train_seconds : 0,
                          checkpoint ? checkpoint->flop : 0);
    if (checkpoint && checkpoint->evaluation_due && dev_.size() > 0) {
      evaluate_first(first_position);
    } else if (checkpoint) {
      saved_ = first_position;
    }
    end_ = steps_;
    for (std::int64_t position = first_position; position < end_;) {
      if (is_out_of_patience()) {
        end_ = position;
        break;
      }
      // The next phase may begin with features of its frozen part, and be stopped meanwhile.
      if (position == phases_.end()) keep(position);
      while (position == phases_.end()) enter_next_phase();
      const bool stop_requested = step(position).stop_requested;
      ++position;
      // A stop does not wait for the evaluation: it may take longer than what is left.
      const bool put_off = is_evaluation_due(position) && (stop_requested || !evaluate_dev(position));
      if (!put_off && (position == end_ || is_out_of_patience())) continue;
      const bool stops = stop_requested || put_off;
      const bool save = options_.save_steps > 0 && position % options_.save_steps == 0;
      if (save || stops) write_checkpoint_of(position, put_off);
      if (stops) stop(position);
    }
    progress_.end_line();
    if (end_ < steps_) {
      context_.log.line(
          fmt::format("stopped early, after step {} of {}: {} evaluations of dev were no better than that "
                      "of step {} (--patience)",
                      end_, steps_, best_.passed_over(), best_.step()));
    }
    TrainReport report = report_of_training();
    keep(end_);
    take_best(report);
    return report;
  }

 private:
  // Asked to stop early enough that a step and a checkpoint as long as the longest so far, and half as much again, end
  // before the time limit.
  RunContext stopping_in_time(const RunContext& given) const {
    RunContext context = given;
    const auto is_near = [this, &given] { return given.seconds_left() < 1.5 * (longest_step_ + longest_checkpoint_); };
    context.stop_requested = [&given, is_near] { return given.stop_requested() || is_near(); };
    context.time_is_up = [&given, is_near] { return given.time_is_up() || is_near(); };
    context.end_if_stopped = [&given, is_near] {
      given.end_if_stopped();
      if (is_near()) throw Stopped("stopped by the time limit outside of a training step");
    };
    return context;
  }

  StepOutcome step(std::int64_t position) {
    const auto begin = Clock::now();
    const StepOutcome outcome = phases_.step().run(position);
    const double rate = phases_.learning_rate(position);
    const double norm = phases_.optimizer().step(rate);
    if (hooks_) hooks_->after_step(position);
    if (!std::isfinite(norm)) {
      throw NotFiniteError(
          fmt::format("the gradient of step {} ({}) is not finite", position + 1, phases_.step().batch_text(position)),
          learning_rate_of(options_));
    }
    progress_.step_done(position + 1, outcome, rate, norm, phases_.step().allreduce_bytes());
    if (ranks_have_like_shares()) {
      if (const auto slow = slow_rank_.add(outcome.compute_seconds_of_ranks)) warn_of(*slow);
    }
    longest_step_ = std::max(longest_step_, seconds_since(begin));
    return outcome;
  }

  // One example more in each step is no slow rank.
  bool ranks_have_like_shares() const {
    const std::int64_t ranks = context_.control.size();
    return options_.virtual_ranks == 0 && (options_.batch_size % ranks == 0 || options_.batch_size >= 10 * ranks);
  }

  void warn_of(const SlowRankWatch::Found& slow) const {
    const auto rank = static_cast<int>(slow.rank);
    const auto host = at::zeros({256}, at::kByte);
    char* name = static_cast<char*>(host.mutable_data_ptr());
    if (context_.control.rank() == rank) gethostname(name, static_cast<std::size_t>(host.numel() - 1));
    context_.control.broadcast(host, rank);
    context_.log.warning(
        fmt::format("rank {} on {} computes {:.1f} times as long as the others, {} a step instead of {}, and all wait "
                    "for it: is its node throttled, or at work on something else?",
                    context_.first_rank + rank, name, slow.seconds / slow.others, duration_text(slow.seconds),
                    duration_text(slow.others)));
  }

  void enter_next_phase() {
    best_.set_values(phases_.enter_next(best_.values()));
    best_.set_passed_over(0);
  }

  // The phases before the last are to come to their ends: what they train is what the next begins with.
  bool is_out_of_patience() const {
    return options_.patience > 0 && phases_.is_last() && best_.passed_over() >= options_.patience;
  }

  void restore(const Checkpoint& checkpoint) {
    const at::NoGradGuard no_grad;
    if (checkpoint.step > steps_) refuse_checkpoint(fmt::format("at most step {}", steps_), checkpoint.step);
    // A checkpoint at the end of a phase has that phase's parameters.
    while (checkpoint.step > phases_.end()) enter_next_phase();
    if (const std::int64_t size = phases_.parameters().size(); checkpoint.values.numel() != size)
      refuse_checkpoint(fmt::format("{} trainable parameters", size), checkpoint.values.numel());
    phases_.parameters().set_values(checkpoint.values);
    phases_.optimizer().restore({checkpoint.first_moments, checkpoint.second_moments},
                                checkpoint.step - phases_.begin());
    if (hooks_) hooks_->restore(checkpoint.hooks);
    const auto device = phases_.parameters().values.device();
    best_.set_passed_over(checkpoint.passed_over);
    // A copy: the checkpoint's may be part of what the ranks of a node have together, which goes when all have gone.
    best_.restore(checkpoint.best_step, checkpoint.best_metric,
                  checkpoint.best_values.defined() ? checkpoint.best_values.to(device, false, true) : at::Tensor());
  }

  // One whose identity is this run's and whose content is not.
  [[noreturn]] void refuse_checkpoint(const std::string& expected, std::int64_t found) const {
    throw InputError(
        fmt::format("{}: a checkpoint that is none of this run: expected {}, found {}. Start anew with "
                    "--overwrite.",
                    files_.checkpoints.string(), expected, found));
  }

  bool is_evaluation_due(std::int64_t position) const {
    const std::int64_t interval =
        evaluation_interval(steps_, steps_per_epoch(options_, examples_), options_.most_evaluations);
    // What a phase ends with may be the best of the run.
    return dev_.size() > 0 && (position % interval == 0 || position == steps_ || position == phases_.end());
  }

  // False, on every rank, where it was stopped before its end.
  bool evaluate_dev(std::int64_t position) {
    progress_.pause();
    std::optional<Evaluation> evaluation;
    try {
      evaluation = evaluate(classifier_, dev_, objective_, context_, &features_);
    } catch (const Stopped&) {
      // Its step has no checkpoint yet.
    }
    progress_.go_on();
    if (!evaluation) return false;
    curve_.push_back({position, {evaluation->metrics.values.begin(), evaluation->metrics.values.end()}});
    progress_.evaluated(position, evaluation->metrics);
    const bool best = best_.is_best(evaluation->metrics);
    context_.log.line(fmt::format("  step {:>6}/{}  dev {}{}", position, steps_,
                                  headline_text(objective_, evaluation->metrics), best ? "  best" : ""));
    if (best) {
      const auto values = made_apart(context_, [&] { return phases_.parameters().values.clone(); });
      best_.keep(position, std::move(*evaluation), values);
    } else {
      best_.pass_over();
    }
    return true;
  }

  // What the stop before this start put off.
  void evaluate_first(std::int64_t position) {
    if (evaluate_dev(position)) return;
    progress_.end_line();
    throw_if_time_is_up(fmt::format("dev was evaluated after step {}", position), context_);
    throw Stopped(fmt::format("{} while dev was evaluated after step {} of {}; go on with --resume",
                              stop_text(context_), position, steps_));
  }

  // Returns when it is there, on every rank: the job ends with its first rank that ends.
  void write_checkpoint_of(std::int64_t position, bool evaluation_due) {
    if (files_.checkpoints.empty()) return;
    const auto begin = Clock::now();
    const AdamW::Moments moments = phases_.optimizer().moments();
    const dist::TimeoutScope patience = dist::wait_for_files(context_.control);
    dist::on_first_rank(context_.control, [&] {
      progress_.sync_log();
      write_checkpoint(files_.checkpoints, {.step = position,
                                            .evaluation_due = evaluation_due,
                                            .values = phases_.parameters().values,
                                            .first_moments = moments.first,
                                            .second_moments = moments.second,
                                            .best_values = best_.values(),
                                            .best_step = best_.step(),
                                            .best_metric = best_.value(),
                                            .passed_over = best_.passed_over(),
                                            .train_seconds = progress_.train_seconds(),
                                            .flop = progress_.flop(),
                                            .identity = identity_,
                                            .hooks = hooks_ ? hooks_->state() : peft::NamedTensors{}});
    });
    longest_checkpoint_ = std::max(longest_checkpoint_, seconds_since(begin));
    if (!evaluation_due) saved_ = position;
  }

  [[noreturn]] void stop(std::int64_t position) const {
    progress_.end_line();
    throw Stopped(files_.checkpoints.empty()
                      ? fmt::format("{} after step {} of {}; without --output nothing is kept", stop_text(context_),
                                    position, steps_)
                      : fmt::format("{} after step {} of {}; the checkpoint is written, go on with --resume",
                                    stop_text(context_), position, steps_));
  }

  // What follows, the scoring of the best step, the saving and scoring by the caller, or the features of the next
  // phase, may be stopped before it is done, and goes on from here.
  void keep(std::int64_t position) {
    if (saved_ == position) return;
    progress_.pause();
    try {
      write_checkpoint_of(position, false);
    } catch (const CommunicationError&) {
      throw;
    } catch (const Error& error) {
      context_.log.warning(
          fmt::format("{} (Without a checkpoint of step {}, a run that is stopped before the next, or while it is "
                      "scored, trains again.)",
                      error.what(), position));
    }
    progress_.go_on();
  }

  TrainReport report_of_training() {
    TrainReport report;
    // A run by itself would have to make the features that a study's earlier run left it.
    report.train_seconds = progress_.train_seconds() + phases_.spared_seconds();
    const Seen seen = seen_in_run(options_, examples_, end_);
    report.samples_per_second = static_cast<double>(seen.examples) / report.train_seconds;
    report.tokens_per_second = static_cast<double>(seen.tokens) / report.train_seconds;
    report.flop = progress_.flop() + sum_over_ranks(phases_.prefix_flop(), context_);
    report.matmul_rate_share = rate_share(report.flop, report.train_seconds, context_);
    report.energy = progress_.energy();
    report.learning_rate = learning_rate_of(options_);
    report.steps = end_;
    report.planned_steps = steps_;
    report.resumed_steps = resumed_;
    report.curve = curve_;
    report.trainable_parameters = phases_.parameters().size();
    report.allreduce_bytes_per_step = phases_.step().allreduce_bytes();
    report.peak_memory_bytes = peak_memory_.bytes() + features_.reused_bytes();
    report.peak_memory_above_base_bytes = report.peak_memory_bytes - peak_memory_.base_bytes();
    report.peak_host_memory_bytes = peak_memory_.host_bytes();
    return report;
  }

  // The best weights into the classifier, and what dev says of them.
  void take_best(TrainReport& report) {
    report.best_step = best_.step() > 0 ? best_.step() : end_;
    if (dev_.size() == 0) return;
    if (best_.step() > 0) {
      phases_.parameters().set_values(best_.values());
    } else {
      context_.log.warning(fmt::format(
          "no evaluation on dev gave a number for {}: the weights of the last step are kept", options_.select_metric));
    }
    // Not known where the best step was before a checkpoint that this run goes on from, or where there is none.
    report.dev = best_.evaluation();
    if (report.dev) return;
    try {
      report.dev = evaluate(classifier_, dev_, objective_, context_, &features_);
    } catch (const Stopped&) {
      if (resumed_ == end_) throw_if_time_is_up("dev was evaluated", context_);
      throw;
    }
  }

  model::Classifier& classifier_;
  const Examples& examples_;
  const Examples& dev_;
  const TrainOptions& options_;
  const Objective& objective_;
  const RunFiles& files_;
  double longest_step_ = 0;  // seconds, as below
  double longest_checkpoint_ = 0;
  const RunContext context_;
  FeatureStore& features_;
  PeakMemory peak_memory_;
  std::int64_t steps_;
  std::int64_t resumed_ = 0;  // from where it went on
  std::int64_t end_ = 0;      // where it ended: after all steps, or out of patience
  std::int64_t saved_ = -1;   // of the last checkpoint, but for those whose evaluation is due
  RunProgress progress_;
  std::unique_ptr<peft::Method> method_;
  std::unique_ptr<peft::TrainingHooks> hooks_;
  RunPhases phases_;
  std::map<std::string, std::string> identity_;
  BestStep best_;
  std::vector<CurvePoint> curve_;
  SlowRankWatch slow_rank_;
};

}  // namespace

void throw_if_time_is_up(const std::string& what, const RunContext& context) {
  if (!context.time_is_up()) return;
  throw TrainingError(fmt::format(
      "the time limit came before {}, with which a resumed run begins: give it more time or more ranks, or fewer "
      "examples to score",
      what));
}

TrainReport train(model::Classifier& classifier, const Examples& examples, const Examples& dev,
                  const TrainOptions& options, const RunFiles& files, const RunContext& context,
                  FeatureStore& features) {
  {
    // Ranks that loaded faster wait here, outside the clock of the run.
    const dist::TimeoutScope patience = dist::wait_for_files(context.control);
    context.control.barrier();
  }
  features.begin_run();
  return TrainingRun(classifier, examples, dev, options, files, context, features).finish();
}

}  // namespace dtrain::train
