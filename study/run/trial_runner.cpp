#include "study/run/trial_runner.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <exception>
#include <optional>
#include <system_error>

#include "peft/registry.h"
#include "study/plan/search.h"
#include "train/compute_apart.h"
#include "train/evaluation.h"
#include "train/event_file.h"
#include "train/not_finite.h"
#include "train/out_of_memory.h"
#include "train/results.h"
#include "train/trainer.h"

namespace dtrain::study {
namespace {

using Clock = std::chrono::steady_clock;

// By name.
std::map<std::string, double> scalars(const train::Metrics& metrics) {
  return {metrics.values.begin(), metrics.values.end()};
}

// A trial that was lost begins anew.
std::filesystem::path fresh_folder(const std::filesystem::path& events, const Trial& trial) {
  auto folder = events / trial.folder();
  std::error_code ignored;
  std::filesystem::remove_all(folder, ignored);
  return folder;
}

const train::Examples& test_of(const Material& material) {
  return std::find_if(material.sets.begin(), material.sets.end(), [](const auto& set) { return set.first == "test"; })
      ->second;
}

}  // namespace

TrialRunner::TrialRunner(const StudyPlan& plan, const Material& material,
                         std::map<std::string, std::int64_t> stored_bytes)
    : plan_(plan),
      material_(material),
      stored_bytes_(std::move(stored_bytes)),
      features_(material.training.cache_memory) {}

TrialOutcome TrialRunner::run(const Trial& trial, const train::RunContext& group) {
  const auto begin = Clock::now();
  train::RunContext context = group;
  std::vector<std::string> warnings;
  context.log = {};
  context.log.warning = [&](std::string_view text) { warnings.emplace_back(text); };
  const auto failed = [](std::string why) {
    TrialOutcome outcome;
    outcome.failure = std::move(why);
    return outcome;
  };
  TrialOutcome outcome;
  try {
    outcome = train_and_score(trial, context);
  } catch (const train::NotFiniteError& error) {
    // On all ranks alike: a result like another. Whatever else goes wrong is none, and ends the study.
    outcome = failed(error.finding());
  } catch (const train::OutOfMemoryError& error) {
    outcome = failed(error.what());
  } catch (const std::exception& error) {
    const auto lack = train::lack_of_memory(error, context.memory_advice);
    if (!lack || context.control.size() > 1) throw;
    outcome = failed(*lack);
  }
  outcome.warnings = std::move(warnings);
  outcome.ranks = context.control.size();
  outcome.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  return outcome;
}

TrialOutcome TrialRunner::train_and_score(const Trial& trial, const train::RunContext& context) {
  const auto method = peft::parse_method_spec(trial.method);
  const auto classifier = train::made_apart(context, [&] {
    auto made = material_.classifier(trial.seed);
    peft::make_method(method)->attach(*made, {.seed = trial.seed, .tokenize = material_.tokenize});
    return made;
  });
  train::TrainOptions options = material_.training;
  options.method = method;
  options.learning_rate = trial.learning_rate;
  options.seed = trial.seed;
  options.most_evaluations = most_evaluations(trial);
  // A result has all steps: methods are compared by what the same training makes of them.
  if (trial.phase == Trial::Phase::result) options.patience = 0;
  if (trial.length < 1) {
    // A training of its own, with its own warm-up and decay, over fewer steps.
    options.max_steps =
        static_cast<std::int64_t>(std::ceil(static_cast<double>(plan_.steps.at(trial.samples)) * trial.length));
  }
  const auto examples = material_.train(trial.samples, plan_.subset_seed_of(trial.seed));
  const auto dev = material_.dev(trial.samples);

  TrialOutcome outcome;
  train::RunFiles files;
  if (!material_.events.empty() && context.control.rank() == 0) files.events = fresh_folder(material_.events, trial);
  const auto report = train::train(*classifier, examples, dev, options, files, context, features_);
  outcome.steps = report.steps;
  outcome.stopped_early = report.stopped_early();
  outcome.best_step = report.best_step;
  outcome.curve = report.curve;
  if (report.dev) outcome.metrics["dev"] = scalars(report.dev->metrics);
  outcome.cost = train::cost_of(report, context.control.size(), stored_bytes_.at(trial.method));
  if (trial.phase == Trial::Phase::search) return outcome;
  const auto& objective = train::objective_of(material_.training.problem_type);
  train::EventFile events(files.events);
  for (const auto& [name, set] : material_.sets) {
    auto evaluation = train::evaluate(*classifier, set, objective, context, &features_);
    outcome.metrics[name] = scalars(evaluation.metrics);
    events.write(report.steps, train::scalars_of(name, evaluation.metrics));
    outcome.scores[name] = std::move(evaluation.scores);
    if (!evaluation.predicted.empty()) outcome.predicted[name] = std::move(evaluation.predicted);
    if (!evaluation.confidences.empty()) outcome.confidences[name] = std::move(evaluation.confidences);
    outcome.values[name] = std::move(evaluation.values);
  }
  if (material_.forgetting) outcome.forgetting = material_.forgetting(*classifier, context);
  if (material_.next_task) {
    const double score = outcome.metrics.at("test").at(objective.score_metric());
    const FirstTask first{*classifier, options, test_of(material_), score};
    try {
      outcome.forgetting.merge(
          train_next_task(*material_.next_task, first, trial, plan_.subset_seed_of(trial.seed), context, features_));
    } catch (const train::NotFiniteError& error) {
      // The result itself is as good as without it.
      context.log.warning(fmt::format("the next task: {}", error.finding()));
    }
  }
  return outcome;
}

}  // namespace dtrain::study
