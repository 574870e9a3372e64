#include "study/runner.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <system_error>

#include "base/error.h"
#include "dist/first_rank.h"
#include "peft/formats/trained_model.h"
#include "peft/registry.h"
#include "study/words.h"
#include "train/attach_context.h"
#include "train/evaluation.h"
#include "train/not_finite.h"
#include "train/results.h"
#include "train/trainer.h"

namespace dtrain::study {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

// By name.
std::map<std::string, double> scalars(const train::Metrics& metrics) {
  return {metrics.values.begin(), metrics.values.end()};
}

// A folder that is gone afterwards, whatever happens.
struct Scratch {
  const std::filesystem::path& path;
  ~Scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
};

// The scheduled trials of a study: what runs, in what order, and how long the rest takes.
class StudyRun {
 public:
  StudyRun(const StudyPlan& plan, const Material& material, FinishedTrials finished, Journal* journal,
           const std::vector<MethodForecast>& forecasts, const TrialSizes& sizes, const train::RunContext& context)
      : plan_(plan),
        material_(material),
        finished_(std::move(finished)),
        journal_(journal),
        left_(forecasts, sizes),
        objective_(train::objective_of(material.training.problem_type)),
        context_(context) {
    for (const MethodForecast& forecast : forecasts) stored_bytes_[forecast.method] = forecast.stored_bytes;
    for (const std::int64_t samples : plan.samples) {
      for (const MethodPlan& method : plan.methods) {
        const auto search = search_trials(plan, method, samples);
        total_ += search.size() + plan.result_seeds.size();
      }
    }
  }

  FinishedTrials finish() {
    for (const std::int64_t samples : plan_.samples) {
      for (const MethodPlan& method : plan_.methods) {
        // Trials of one method and sample count share the features of dev and test, and a seed's those of its draw.
        // Nobody else's: what a method costs, and whether its features fit, must not depend on which came before it.
        train::FeatureStore features(material_.training.cache_memory);
        for (const Trial& trial : search_trials(plan_, method, samples)) complete(trial, method, features);
        const auto rate = chosen_learning_rate(plan_, method, samples, finished_);
        if (!rate) {
          number_ += plan_.result_seeds.size();
          context_.log.warning(fmt::format("{} at {} samples: no learning rate trained, so it has no result",
                                           method.method.text(), count_text(samples)));
          continue;
        }
        for (const Trial& trial : result_trials(plan_, method, samples, *rate)) complete(trial, method, features);
      }
    }
    context_.log.progress("");
    return std::move(finished_);
  }

 private:
  void complete(const Trial& trial, const MethodPlan& method, train::FeatureStore& features) {
    ++number_;
    if (finished_.count(trial.key()) > 0) return;
    const std::string title = fmt::format("trial {}/{}  {}, {} samples, learning rate {}, seed {}{}", number_, total_,
                                          trial.method, count_text(trial.samples), rate_text(trial.learning_rate),
                                          trial.seed, trial.phase == Trial::Phase::search ? " (search)" : "");
    TrialOutcome outcome;
    try {
      outcome = run(trial, method, title, features);
    } catch (const Stopped&) {
      context_.log.progress("");
      throw Stopped(
          fmt::format("stopped by a signal in {}, which runs again; {} of {} trials are in the journal, go on "
                      "with --resume",
                      title, finished_.size(), total_));
    }
    dist::on_first_rank(context_.control, [&] { journal_->append(trial, outcome); });
    left_.took(trial, outcome.seconds);
    context_.log.line(
        fmt::format("{}: {}, {}", title,
                    outcome.failed() ? "failed, " + outcome.failure
                    : trial.phase == Trial::Phase::search || outcome.metrics.count("test") == 0
                        ? fmt::format("dev {} {:.4f}", plan_.select_metric, outcome.metric("dev", plan_.select_metric))
                        : fmt::format("test {} {:.4f}", plan_.metric, outcome.metric("test", plan_.metric)),
                    duration_text(outcome.seconds)));
    finished_.insert_or_assign(trial.key(), std::make_pair(trial, std::move(outcome)));
  }

  TrialOutcome run(const Trial& trial, const MethodPlan& method, const std::string& title,
                   train::FeatureStore& features) {
    // The peak of a trial must not hold what earlier ones have freed.
    malloc_trim(0);
    const auto begin = Clock::now();
    auto classifier = material_.classifier(trial.seed);
    peft::make_method(method.method)->attach(*classifier, train::attach_context(trial.seed));
    train::TrainOptions options = material_.training;
    options.method = method.method;
    options.learning_rate = trial.learning_rate;
    options.seed = trial.seed;

    const double later = seconds_of_others(trial);
    const double own = left_.seconds(trial);
    train::RunContext context = context_;
    context.log.line = [](std::string_view) {};
    context.log.progress = [&](std::string_view text) {
      if (text.empty()) return context_.log.progress("");
      context_.log.progress(fmt::format("{}: {}; study: {} left", title, text,
                                        duration_text(later + std::max(0.0, own - seconds_since(begin)))));
    };
    TrialOutcome outcome;
    outcome.ranks = context.control.size();
    const auto examples = material_.train(trial.samples, plan_.subset_seed_of(trial.seed));
    const auto dev = material_.dev(trial.samples);
    try {
      const auto report = train::train(*classifier, examples, dev, options, {}, context, features);
      outcome.steps = report.steps;
      outcome.best_step = report.best_step;
      if (report.dev) outcome.metrics["dev"] = scalars(report.dev->metrics);
      outcome.cost = train::cost_of(report, stored_bytes_.at(trial.method));
    } catch (const train::NotFiniteError& error) {
      // On all ranks alike: a result like another. Whatever else goes wrong is none, and ends the study.
      outcome.failure = error.what();
    }
    if (!outcome.failed() && trial.phase == Trial::Phase::result) {
      for (const auto& [name, set] : material_.sets) {
        auto evaluation = train::evaluate(*classifier, set, objective_, context, &features);
        outcome.metrics[name] = scalars(evaluation.metrics);
        outcome.scores[name] = std::move(evaluation.scores);
      }
    }
    outcome.seconds = seconds_since(begin);
    return outcome;
  }

  // Seconds of all trials that are not finished, but for this one. Which learning rate a search will choose does not
  // matter to the time.
  double seconds_of_others(const Trial& current) const {
    double seconds = 0;
    for (const std::int64_t samples : plan_.samples) {
      for (const MethodPlan& method : plan_.methods) {
        auto trials = search_trials(plan_, method, samples);
        std::size_t results = plan_.result_seeds.size();
        for (const auto& [key, done] : finished_) {
          const Trial& trial = done.first;
          if (trial.phase == Trial::Phase::result && trial.method == method.method.text() && trial.samples == samples)
            --results;
        }
        for (const Trial& trial : trials) {
          if (finished_.count(trial.key()) == 0 && trial.key() != current.key()) seconds += left_.seconds(trial);
        }
        const bool is_current = current.phase == Trial::Phase::result && current.method == method.method.text() &&
                                current.samples == samples;
        const Trial result{Trial::Phase::result, method.method.text(), samples, 0, 0};
        seconds += static_cast<double>(results - (is_current ? 1 : 0)) * left_.seconds(result);
      }
    }
    return seconds;
  }

  const StudyPlan& plan_;
  const Material& material_;
  FinishedTrials finished_;
  Journal* journal_;
  TimeLeft left_;
  const train::Objective& objective_;
  const train::RunContext& context_;
  std::map<std::string, std::int64_t> stored_bytes_;
  std::size_t total_ = 0;
  std::size_t number_ = 0;
};

}  // namespace

std::vector<MethodForecast> forecast(const StudyPlan& plan, const Material& material,
                                     const std::filesystem::path& scratch, const train::RunContext& context) {
  train::RunContext quiet = context;
  quiet.log = {};
  std::vector<MethodForecast> forecasts;
  for (const MethodPlan& method : plan.methods) {
    context.log.progress(fmt::format("measuring {}", method.method.text()));
    auto classifier = material.classifier(plan.search_seed);
    peft::make_method(method.method)->attach(*classifier, train::attach_context(plan.search_seed));
    MethodForecast forecast{method.method.text(), {}, 0};
    const auto stored = at::zeros({1}, at::kLong);
    dist::on_first_rank(context.control, [&] {
      const Scratch folder{scratch};
      stored[0] = peft::stored_bytes(
          peft::save_trained(*classifier, method.method, material.labels, material.model_directory, scratch));
    });
    context.control.broadcast(stored, 0);
    forecast.stored_bytes = stored[0].item<std::int64_t>();
    train::TrainOptions options = material.training;
    options.method = method.method;
    forecast.estimate =
        train::estimate(*classifier, material.train(plan.samples.back(), plan.subset_seed), 0, options, quiet);
    forecasts.push_back(std::move(forecast));
  }
  context.log.progress("");
  return forecasts;
}

TrialSizes trial_sizes(const StudyPlan& plan, const Material& material, std::int64_t dev_available) {
  TrialSizes sizes;
  sizes.dev_available = dev_available;
  for (const auto& [name, set] : material.sets) sizes.scored += set.size();
  sizes.batch_size = material.training.batch_size;
  sizes.seeds = static_cast<std::int64_t>(plan.result_seeds.size());
  for (const MethodPlan& method : plan.methods) {
    sizes.searched[method.method.text()] =
        static_cast<std::int64_t>(search_trials(plan, method, plan.samples[0]).size());
  }
  for (const std::int64_t samples : plan.samples) {
    sizes.steps[samples] = train::total_steps(material.training, (samples + sizes.batch_size - 1) / sizes.batch_size);
  }
  return sizes;
}

FinishedTrials run_study(const StudyPlan& plan, const Material& material, FinishedTrials finished, Journal* journal,
                         const std::vector<MethodForecast>& forecasts, const TrialSizes& sizes,
                         const train::RunContext& context) {
  return StudyRun(plan, material, std::move(finished), journal, forecasts, sizes, context).finish();
}

FinishedTrials shared_trials(const FinishedTrials& finished, dist::Communicator& control) {
  nlohmann::json lines = nlohmann::json::array();
  for (const auto& [key, trial] : finished) lines.push_back(trial_json(trial.first, trial.second));
  std::string text = lines.dump();
  const auto size = at::tensor({static_cast<std::int64_t>(text.size())}, at::kLong);
  control.broadcast(size, 0);
  auto bytes = at::empty({size[0].item<std::int64_t>()}, at::kByte);
  if (control.rank() == 0) std::memcpy(bytes.mutable_data_ptr(), text.data(), text.size());
  control.broadcast(bytes, 0);
  const auto* begin = static_cast<const char*>(bytes.const_data_ptr());
  FinishedTrials all;
  for (const auto& line : nlohmann::json::parse(begin, begin + bytes.numel())) {
    auto trial = trial_from_json(line);
    all.insert_or_assign(trial.first.key(), std::move(trial));
  }
  return all;
}

}  // namespace dtrain::study
