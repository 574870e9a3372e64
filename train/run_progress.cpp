#include "train/run_progress.h"

#include <fmt/format.h>

namespace dtrain::train {
namespace {

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace

RunProgress::RunProgress(const TrainOptions& options, const RunContext& context, std::int64_t steps)
    : options_(options), context_(context), steps_(steps) {}

void RunProgress::begin_steps(const std::filesystem::path& log, std::int64_t position, double earlier_seconds) {
  log_.emplace(context_.control.rank() == 0 ? log : std::filesystem::path(), position);
  first_position_ = position;
  earlier_seconds_ = earlier_seconds;
}

double RunProgress::seconds_here() const { return seconds_since(begin_) - left_out_seconds_; }

void RunProgress::step_done(std::int64_t position, const StepOutcome& outcome, double learning_rate,
                            double gradient_norm, std::int64_t allreduce_bytes) {
  samples_ += outcome.examples;
  const double samples_per_second = static_cast<double>(samples_) / seconds_here();
  if (position % options_.log_steps == 0 || position == steps_) {
    log_->write({position, steps_, outcome.loss, learning_rate, gradient_norm, samples_per_second, allreduce_bytes});
  }
  const double left =
      seconds_since(begin_) / static_cast<double>(position - first_position_) * static_cast<double>(steps_ - position);
  context_.log.progress(fmt::format("step {}/{}  loss {:.4f}  lr {:.2e}  {:.0f} samples/s  {} left", position, steps_,
                                    outcome.loss, learning_rate, samples_per_second, duration_text(left)));
}

}  // namespace dtrain::train
