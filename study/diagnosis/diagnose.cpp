#include "study/diagnosis/diagnose.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "base/seconds.h"
#include "peft/registry.h"
#include "study/diagnosis/diagnose_time.h"
#include "study/findings/words.h"
#include "study/plan/plan.h"
#include "study/plan/search.h"
#include "study/plan/trial.h"
#include "study/states/stage_features.h"
#include "train/compute_apart.h"
#include "train/estimate.h"
#include "train/evaluation.h"
#include "train/feature_cache.h"
#include "train/not_finite.h"
#include "train/out_of_memory.h"
#include "train/run_length.h"
#include "train/trainer.h"

namespace dtrain::study {
namespace {

using Clock = std::chrono::steady_clock;

// A learning rate, and where it is from (DiagnosisRow::rate_from).
struct Rate {
  double value;
  std::string from;
};

// A search never goes farther beyond its grid.
constexpr int kMostWidenings = 6;

// What one trial left.
struct Trained {
  double dev_log_loss = std::numeric_limits<double>::infinity();
  std::int64_t trainable_parameters = 0;
  double seconds = 0;
  std::vector<double> scores;
};

// A probe as a row of numbers, to be gathered.
constexpr std::int64_t kProbeNumbers = 9;

at::Tensor packed(std::size_t index, double seconds, const Probe& probe) {
  std::vector<double> numbers = {static_cast<double>(index),
                                 seconds,
                                 probe.l2,
                                 probe.at_edge ? 1.0 : 0.0,
                                 probe.gradient,
                                 static_cast<double>(probe.evaluations),
                                 probe.train_log_loss,
                                 probe.dev_log_loss,
                                 probe.dev_accuracy};
  numbers.insert(numbers.end(), probe.test_scores.begin(), probe.test_scores.end());
  return at::tensor(numbers, at::kDouble);
}

Probe unpacked(const double* numbers, std::int64_t test) {
  Probe probe{.l2 = numbers[2],
              .at_edge = numbers[3] != 0,
              .gradient = numbers[4],
              .evaluations = static_cast<std::int64_t>(numbers[5]),
              .train_log_loss = numbers[6],
              .dev_log_loss = numbers[7],
              .dev_accuracy = numbers[8],
              .test_accuracy = 0,
              .test_scores = {numbers + kProbeNumbers, numbers + kProbeNumbers + test}};
  double right = 0;
  for (const double score : probe.test_scores) right += score;
  probe.test_accuracy = right / static_cast<double>(test);
  return probe;
}

class Diagnoser {
 public:
  Diagnoser(const DiagnosisPlan& plan, const DiagnosisMaterial& material, const train::RunContext& context)
      : plan_(plan),
        material_(material),
        objective_(train::objective_of(material.training.problem_type)),
        context_(context),
        quiet_(context),
        head_features_(material.training.cache_memory) {
    quiet_.log.line = [](std::string_view) {};
    quiet_.log.progress = [this](std::string_view text) {
      context_.log.progress(text.empty() ? std::string() : fmt::format("{}: {}", title_, text));
    };
  }

  Diagnosis finish() {
    solve_probes();
    result_.samples = material_.train.size();
    result_.dev_examples = material_.dev.size();
    result_.test_examples = material_.test.size();
    result_.seeds = plan_.seeds;
    const auto targets = material_.test.all_targets();
    result_.majority_share = objective_.untrained(targets, result_.classes).value("accuracy");

    add_trained("asked", {"head", {}}, asked_pooling_, {plan_.asked_rate, "asked"}, head_features_);
    add_trained("rate", {"head", {}}, asked_pooling_, {head_rate(asked_pooling_), "search"}, head_features_);
    const int last = result_.layers;
    add_probe("optimum", probe_of(last, asked_pooling_));
    if (material_.pooling != asked_pooling_ && is_probed(material_.pooling))
      add_probe("pooling", probe_of(last, material_.pooling));
    add_probe("best_probe", result_.best_probe());
    if (material_.pooling != asked_pooling_)
      add_trained("head", {"head", {}}, material_.pooling, {head_rate(material_.pooling), "search"}, head_features_);
    const DiagnosisChoice choice = choose();
    result_.left_out = choice.left_out;
    add_method("full", {"full", {}}, choice);
    for (const auto& method : choice.methods) add_method("method", method, choice);
    conclude(result_);
    return std::move(result_);
  }

 private:
  // Each probe on one rank. Features are gathered for as many at once as there are ranks, so that a rank holds those of
  // one probe besides its share of all.
  void solve_probes() {
    auto classifier = material_.classifier(material_.pooling, material_.training.seed);
    auto poolings = known_poolings(*classifier);
    const bool has_pooler = std::find(poolings.begin(), poolings.end(), model::Pooling::pooler) != poolings.end();
    asked_pooling_ = has_pooler ? model::Pooling::pooler : model::Pooling::cls;
    result_.classes = classifier->classes();
    result_.layers = classifier->head_stage() - 1;
    hidden_ = classifier->config().hidden_size;
    const StageFeatures train(*classifier, material_.train, poolings, "train", context_);
    const StageFeatures dev(*classifier, material_.dev, poolings, "dev", context_);
    const StageFeatures test(*classifier, material_.test, poolings, "test", context_);
    classifier.reset();
    const auto train_labels = material_.train.all_targets();
    const auto dev_labels = material_.dev.all_targets();
    const auto test_labels = material_.test.all_targets();
    std::vector<std::pair<int, model::Pooling>> wanted;
    for (int stage = 0; stage < train.stages(); ++stage) {
      for (const model::Pooling pooling : poolings) wanted.emplace_back(stage, pooling);
    }
    auto& control = context_.control;
    const auto ranks = static_cast<std::size_t>(control.size());
    std::vector<at::Tensor> mine;
    for (std::size_t first = 0; first < wanted.size(); first += ranks) {
      train::compute_apart(context_, context_.end_if_stopped);
      ProbeSet own[3];
      for (std::size_t rank = 0; rank < ranks && first + rank < wanted.size(); ++rank) {
        const auto [stage, pooling] = wanted[first + rank];
        ProbeSet gathered[3] = {{train.gather(stage, pooling, control), train_labels},
                                {dev.gather(stage, pooling, control), dev_labels},
                                {test.gather(stage, pooling, control), test_labels}};
        if (static_cast<int>(rank) == control.rank()) std::copy(gathered, gathered + 3, own);
      }
      const std::size_t index = first + static_cast<std::size_t>(control.rank());
      if (index >= wanted.size()) continue;
      context_.log.progress(fmt::format("probes: {} of {}", index, wanted.size()));
      const auto begin = Clock::now();
      const Probe probe = fit_probe(own[0], own[1], own[2]);
      mine.push_back(packed(index, seconds_since(begin), probe));
    }
    context_.log.progress("");
    const std::int64_t width = kProbeNumbers + material_.test.size();
    const auto rows = control.all_gather(mine.empty() ? at::empty({0, width}, at::kDouble) : at::stack(mine));
    result_.probes.resize(wanted.size());
    probe_seconds_.resize(wanted.size());
    for (std::int64_t row = 0; row < rows.size(0); ++row) {
      const double* numbers = rows.const_data_ptr<double>() + row * width;
      const auto index = static_cast<std::size_t>(numbers[0]);
      probe_seconds_[index] = numbers[1];
      result_.probes[index] = {wanted[index].first, wanted[index].second, unpacked(numbers, material_.test.size())};
    }
  }

  const StageProbe& probe_of(int stage, model::Pooling pooling) const {
    return *std::find_if(result_.probes.begin(), result_.probes.end(),
                         [&](const StageProbe& p) { return p.stage == stage && p.pooling == pooling; });
  }

  // A pooler that the checkpoint lacks begins with the head, and has no features before it is trained.
  bool is_probed(model::Pooling pooling) const {
    return std::any_of(result_.probes.begin(), result_.probes.end(),
                       [&](const StageProbe& probe) { return probe.pooling == pooling; });
  }

  void add_probe(const std::string& kind, const StageProbe& probe) {
    const auto index = static_cast<std::size_t>(&probe - result_.probes.data());
    const std::string words =
        kind == "best_probe" ? "best linear head of any layer and pooling: " : "optimum of a linear head: ";
    DiagnosisRow row{.kind = kind,
                     .title = fmt::format("{}{}, layer {}", words, pooling_name(probe.pooling), probe.stage),
                     .method = "probe",
                     .pooling = probe.pooling,
                     .stage = probe.stage,
                     .learning_rate = std::nullopt,
                     .rate_from = "",
                     .trainable_parameters = result_.classes * (hidden_ + 1),
                     .seconds = probe_seconds_[index],
                     .failure = "",
                     .scores = {probe.probe.test_scores},
                     .dev_log_loss = probe.probe.dev_log_loss,
                     .accuracy = {},
                     .to_full = {}};
    result_.rows.push_back(std::move(row));
  }

  // With every seed of the result.
  void add_trained(const std::string& kind, const peft::MethodSpec& method, model::Pooling pooling, const Rate& rate,
                   train::FeatureStore& features) {
    DiagnosisRow row;
    row.kind = kind;
    row.method = method.text();
    row.pooling = pooling;
    row.learning_rate = rate.value;
    row.rate_from = rate.from;
    row.title = fmt::format("{}, {}, learning rate {}",
                            method.name == "head"   ? "frozen body with a head"
                            : method.name == "full" ? "full fine-tuning"
                                                    : method.text(),
                            pooling_name(pooling), rate_text(rate.value));
    const auto fail = [&](const std::string& why) {
      row.failure = why;
      row.scores.clear();
      row.dev_log_loss = 0;
    };
    try {
      for (std::int64_t seed = 1; seed <= plan_.seeds; ++seed) {
        const std::uint64_t drawn = material_.training.seed + static_cast<std::uint64_t>(seed);
        Trained trained = run(trial_of(Trial::Phase::result, method, rate.value, drawn), pooling, features);
        row.dev_log_loss += trained.dev_log_loss / static_cast<double>(plan_.seeds);
        row.trainable_parameters = trained.trainable_parameters;
        if (seed == 1) row.seconds = trained.seconds;
        row.scores.push_back(std::move(trained.scores));
      }
    } catch (const train::NotFiniteError& error) {
      if (kind != "method") throw;
      fail(error.finding());
    } catch (const train::OutOfMemoryError& error) {
      if (kind != "method") throw;
      fail(error.what());
    }
    result_.rows.push_back(std::move(row));
  }

  void add_method(const std::string& kind, const peft::MethodSpec& method, const DiagnosisChoice& choice) {
    train::FeatureStore features(material_.training.cache_memory);
    add_trained(kind, method, material_.pooling, rate_of(method, choice, features), features);
  }

  Rate rate_of(const peft::MethodSpec& method, const DiagnosisChoice& choice, train::FeatureStore& features) {
    if (plan_.learning_rates.size() == 1) return {plan_.learning_rates[0], "given"};
    if (!plan_.learning_rates.empty())
      return {best_rate(method, material_.pooling, plan_.learning_rates, features).first, "search"};
    const auto known = plan_.known_rates.find(method.text());
    if (known != plan_.known_rates.end()) return {known->second, "study"};
    const auto& grid = peft::method_kind(method.name).learning_rates;
    const double middle = grid[grid.size() / 2];
    // Where no rate trains, the result says why.
    if (choice.searched.count(method.text()) > 0) return {searched_rate(method, features).value_or(middle), "search"};
    return {middle, "default"};
  }

  // The plan of a study of that method and these examples, for its search alone.
  StudyPlan search_plan(const peft::MethodSpec& method) const {
    StudyPlan plan;
    plan.methods = method_plans({method.text()}, {});
    plan.samples = {material_.train.size()};
    plan.steps[plan.samples[0]] = whole_steps();
    plan.search_seed = material_.training.seed;
    plan.search = SearchDepth::quick;
    return plan;
  }

  // As a study with a quick search would find it.
  std::optional<double> searched_rate(const peft::MethodSpec& method, train::FeatureStore& features) {
    const StudyPlan plan = search_plan(method);
    const std::int64_t samples = plan.samples[0];
    FinishedTrials finished;
    for (;;) {
      const Search found = search(plan, plan.methods[0], samples, finished);
      if (found.done) return found.chosen;
      for (const Trial& asked : found.ready) {
        TrialOutcome outcome;
        try {
          outcome.metrics["dev"][plan.select_metric] = run(asked, material_.pooling, features).dev_log_loss;
        } catch (const train::NotFiniteError& error) {
          outcome.failure = error.finding();
        } catch (const train::OutOfMemoryError& error) {
          outcome.failure = error.what();
        }
        finished.insert_or_assign(asked.key(), std::pair(asked, outcome));
      }
    }
  }

  // By the first rank's clock, and said.
  DiagnosisChoice choose() {
    const auto times = at::zeros({4}, at::kDouble);
    {
      title_ = "measuring steps";
      auto classifier = material_.classifier(material_.pooling, material_.training.seed);
      peft::make_method({"full", {}})
          ->attach(*classifier, {.seed = material_.training.seed, .tokenize = material_.tokenize});
      train::TrainOptions options = material_.training;
      options.method = {"full", {}};
      const auto steps = train::estimate(*classifier, material_.train, material_.dev.size(), options, quiet_);
      const auto examples = static_cast<double>(material_.train.size() + material_.dev.size() + material_.test.size());
      times[0] = steps.train_seconds + steps.evaluation_seconds;
      times[1] = static_cast<double>(material_.test.size()) * steps.score_example_seconds;
      times[2] = examples * steps.score_example_seconds;
      times[3] = seconds_since(plan_.began);
    }
    context_.control.broadcast(times, 0);
    const StudyPlan search = search_plan({"full", {}});
    const DiagnosisChoice choice =
        choose_within(plan_, {.layers = result_.layers,
                              .training = times[0].item<double>(),
                              .scoring = times[1].item<double>(),
                              .frozen_pass = times[2].item<double>(),
                              .search_share = rungs_of(search, search.methods[0], search.samples[0]).first,
                              .spent = times[3].item<double>()});
    std::vector<std::string> names = {"full"};
    for (const auto& method : choice.methods) names.push_back(method.text());
    const std::vector<std::string> searched(choice.searched.begin(), choice.searched.end());
    context_.log.line(fmt::format(
        "to train: {}; at most about {}{}", listed(names), duration_text(choice.seconds),
        searched.empty() ? "" : fmt::format(", the search for the learning rates of {} included", listed(searched))));
    if (!choice.left_out.empty())
      context_.log.line(fmt::format("left out for want of time (--budget): {}", listed(choice.left_out)));
    return choice;
  }

  // The rate with the lowest log-loss on dev, and that loss; a rate that does not train loses.
  std::pair<double, double> best_rate(const peft::MethodSpec& method, model::Pooling pooling,
                                      const std::vector<double>& rates, train::FeatureStore& features) {
    std::pair<double, double> best{rates.front(), std::numeric_limits<double>::infinity()};
    for (const double rate : rates) {
      try {
        const auto trained =
            run(trial_of(Trial::Phase::search, method, rate, material_.training.seed), pooling, features);
        if (trained.dev_log_loss < best.second) best = {rate, trained.dev_log_loss};
      } catch (const train::NotFiniteError&) {
        continue;
      } catch (const train::OutOfMemoryError&) {
        continue;
      }
    }
    return best;
  }

  // Widens the method's grid while the best is at an end: the features are kept, so that a trial takes seconds.
  double head_rate(model::Pooling pooling) {
    const auto& grid = peft::method_kind("head").learning_rates;
    const double factor = grid[1] / grid[0];
    auto best = best_rate({"head", {}}, pooling, grid, head_features_);
    const bool up = best.first == grid.back();
    if (!up && best.first != grid.front()) return best.first;
    for (int i = 0; i < kMostWidenings; ++i) {
      // Two significant digits, as the grids are written.
      const double next = std::stod(fmt::format("{:.1e}", up ? best.first * factor : best.first / factor));
      const auto found = best_rate({"head", {}}, pooling, {next}, head_features_);
      if (!(found.second < best.second)) break;
      best = found;
    }
    return best.first;
  }

  Trial trial_of(Trial::Phase phase, const peft::MethodSpec& method, double rate, std::uint64_t seed) const {
    return {phase, method.text(), material_.train.size(), rate, seed};
  }

  std::int64_t whole_steps() const {
    return train::total_steps(material_.training, train::steps_per_epoch(material_.training, material_.train));
  }

  Trained run(const Trial& trial, model::Pooling pooling, train::FeatureStore& features) {
    const auto method = peft::parse_method_spec(trial.method);
    const bool is_result = trial.phase == Trial::Phase::result;
    title_ = fmt::format("{}, {}, learning rate {}, seed {}{}", trial.method, pooling_name(pooling),
                         rate_text(trial.learning_rate), trial.seed, is_result ? "" : " (search)");
    auto classifier = material_.classifier(pooling, trial.seed);
    peft::make_method(method)->attach(*classifier, {.seed = trial.seed, .tokenize = material_.tokenize});
    train::TrainOptions options = material_.training;
    options.method = method;
    options.learning_rate = trial.learning_rate;
    options.seed = trial.seed;
    options.select_metric = "log_loss";
    options.most_evaluations = most_evaluations(trial);
    if (trial.length < 1)
      options.max_steps = static_cast<std::int64_t>(std::ceil(static_cast<double>(whole_steps()) * trial.length));
    const auto report = train::train(*classifier, material_.train, material_.dev, options, {}, quiet_, features);
    Trained trained;
    if (report.dev) trained.dev_log_loss = report.dev->metrics.value("log_loss");
    trained.trainable_parameters = report.trainable_parameters;
    trained.seconds = report.train_seconds;
    if (is_result) trained.scores = train::evaluate(*classifier, material_.test, objective_, quiet_, &features).scores;
    return trained;
  }

  const DiagnosisPlan& plan_;
  const DiagnosisMaterial& material_;
  const train::Objective& objective_;
  const train::RunContext& context_;
  train::RunContext quiet_;
  train::FeatureStore head_features_;
  std::string title_;
  model::Pooling asked_pooling_ = model::Pooling::cls;
  std::int64_t hidden_ = 0;
  std::vector<double> probe_seconds_;
  Diagnosis result_;
};

}  // namespace

Diagnosis diagnose(const DiagnosisPlan& plan, const DiagnosisMaterial& material, const train::RunContext& context) {
  return Diagnoser(plan, material, context).finish();
}

}  // namespace dtrain::study
