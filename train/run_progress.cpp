#include "train/run_progress.h"

#include <fmt/format.h>

#include "base/seconds.h"

namespace dtrain::train {

RunProgress::RunProgress(const TrainOptions& options, const RunContext& context, std::int64_t steps)
    : options_(options), context_(context), steps_(steps), energy_(context) {}

void RunProgress::begin_steps(const std::filesystem::path& log, const std::filesystem::path& events,
                              std::int64_t position, double earlier_seconds, double earlier_flop) {
  log_.emplace(context_.control.rank() == 0 ? log : std::filesystem::path(), position);
  events_.emplace(context_.control.rank() == 0 ? events : std::filesystem::path());
  events_->begin_again_at(position + 1);
  first_position_ = position;
  earlier_seconds_ = earlier_seconds;
  flop_ = earlier_flop;
}

void RunProgress::evaluated(std::int64_t position, const Metrics& metrics) {
  events_->write(position, scalars_of("dev", metrics));
}

void RunProgress::pause() {
  paused_ = std::chrono::steady_clock::now();
  energy_.pause();
}

void RunProgress::go_on() {
  left_out_seconds_ += seconds_since(paused_);
  energy_.go_on();
}

Energy RunProgress::energy() { return first_position_ == 0 ? energy_.taken() : Energy{}; }

double RunProgress::seconds_here() const { return seconds_since(begin_) - left_out_seconds_; }

void RunProgress::step_done(std::int64_t position, const StepOutcome& outcome, double learning_rate,
                            double gradient_norm, std::int64_t allreduce_bytes) {
  samples_ += outcome.examples;
  flop_ += outcome.flop;
  energy_.tick();
  const double samples_per_second = static_cast<double>(samples_) / seconds_here();
  if (position % options_.log_steps == 0 || position == steps_) {
    log_->write({position, steps_, outcome.loss, learning_rate, gradient_norm, samples_per_second, allreduce_bytes});
    events_->write(position, {{"train/loss", outcome.loss},
                              {"train/learning_rate", learning_rate},
                              {"train/gradient_norm", gradient_norm},
                              {"train/samples_per_second", samples_per_second}});
  }
  const double left =
      seconds_since(begin_) / static_cast<double>(position - first_position_) * static_cast<double>(steps_ - position);
  context_.log.progress(fmt::format("step {}/{}  loss {:.4f}  lr {:.2e}  {:.0f} samples/s  {} left", position, steps_,
                                    outcome.loss, learning_rate, samples_per_second, duration_text(left)));
}

}  // namespace dtrain::train
