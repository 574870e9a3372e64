#include "launcher/study_request.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "base/json_file.h"
#include "base/seconds.h"
#include "launcher/attach_context.h"
#include "launcher/forgetting_material.h"
#include "launcher/loading.h"
#include "launcher/plan_file.h"
#include "launcher/resumed_study.h"
#include "launcher/session/agreement.h"
#include "launcher/text_examples.h"
#include "model/formats/classifier_files.h"
#include "train/run_length.h"

namespace dtrain::launcher {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// What a study without arguments may take.
constexpr double kDefaultBudget = 600;
// Two ranks on a trial are never twice as fast: what is less of a gain than this is not worth measuring.
constexpr double kWorthMeasuring = 1.1;
// Texts, and pairs of a definition and an example, that forgetting is measured on: as many for each result.
constexpr std::int64_t kMostRetainedInStudy = 300;

// Knowing nothing, by the metric that methods are compared by.
double untrained_score(const data::TokenDataset& texts) {
  const train::Objective& objective = train::objective_of(texts.targets().type());
  const auto examples = text_examples(texts);
  return objective.untrained(examples.all_targets(), examples.targets().outputs()).value(objective.score_metric());
}

// Of each example; empty where they have none.
std::vector<std::int32_t> classes_of(const data::Targets& targets) {
  std::vector<std::int32_t> classes;
  if (targets.type() != ProblemType::single_label_classification) return classes;
  for (std::int64_t i = 0; i < targets.size(); ++i) classes.push_back(targets.class_of(i));
  return classes;
}

std::vector<study::EvaluationSet> evaluation_sets(const data::Task& task) {
  std::vector<study::EvaluationSet> sets;
  const auto add = [&](const std::string& name, const data::TokenDataset& set) {
    sets.push_back({name, set.size(), untrained_score(set), classes_of(set.targets())});
  };
  add("test", task.test);
  for (const auto& [name, set] : task.ood) add("ood." + name, set);
  return sets;
}

// --metric, or the objective's own.
std::string comparison_metric(const Options& options, ProblemType type) {
  if (options.metric == "auto") return train::objective_of(type).score_metric();
  const auto& known = study::comparable_metrics(type);
  if (std::find(known.begin(), known.end(), options.metric) == known.end()) {
    throw UsageError(fmt::format("--metric: {} cannot be compared by {}; expected one of {}", problem_type_name(type),
                                 options.metric, fmt::join(known, ", ")));
  }
  return options.metric;
}

// The base model is asked once on each group of ranks, by its first result.
void take_forgetting(const Options& options, const Session& session, study::Material& material,
                     const std::shared_ptr<const model::ModelWeights>& weights) {
  auto asked = forgetting_material(options, session, material.model_directory, options.retain, kMostRetainedInStudy);
  asked.base_weights = weights;
  material.forgetting_examples = asked.retain.size() + asked.queries.size() + asked.answers.size();
  material.forgetting_digest = asked.digest;
  material.forgetting = [probe = std::shared_ptr<study::ForgettingProbe>(), asked = std::move(asked),
                         base = material.classifier](model::Classifier& trained,
                                                     const train::RunContext& context) mutable {
    if (!probe) probe = std::make_shared<study::ForgettingProbe>(*base(0), asked, context);
    return probe->measure(trained, context);
  };
}

std::int64_t whole_steps(const train::TrainOptions& training, std::int64_t samples) {
  return train::total_steps(training, (samples + training.batch_size - 1) / training.batch_size);
}

// Dealt to all ranks, the first rank's.
study::StudyPlan plan_of_first(const study::StudyPlan& plan, dist::Communicator& control) {
  const std::string mine = control.rank() == 0 ? json_text(study::plan_json(plan)) : "";
  return study::plan_from_json(json::parse(gather_texts(control, mine).front()));
}

// The times as if so many ranks on a trial were so many times as fast.
std::vector<study::MethodForecast> scaled(std::vector<study::MethodForecast> forecasts, int ranks) {
  for (study::MethodForecast& forecast : forecasts) {
    forecast.beside = forecast.alone;
    forecast.beside.step_seconds /= ranks;
    forecast.beside.prefix_example_seconds /= ranks;
    forecast.beside.score_example_seconds /= ranks;
  }
  return forecasts;
}

}  // namespace

data::Task scored_task(data::Task task, const Options& options, bool many) {
  task.test = capped(task.test, test_samples(options).value_or(many ? kManySamples : kFewTestSamples), 0);
  const std::int64_t of_ood = ood_samples(options).value_or(many ? kManySamples : kFewOodSamples);
  for (auto& [name, set] : task.ood) set = capped(set, of_ood, 0);
  return task;
}

std::vector<std::pair<std::string, train::Examples>> scored_sets(const data::Task& task) {
  std::vector<std::pair<std::string, train::Examples>> sets;
  sets.emplace_back("test", text_examples(task.test));
  for (const auto& [name, set] : task.ood) sets.emplace_back("ood." + name, text_examples(set));
  return sets;
}

StudyRequest study_request(const Options& options, const data::Task& task, const data::Task& with_many) {
  StudyRequest request;
  study::StudyPlan& plan = request.plan;
  plan.methods = study::method_plans(split_list(options.methods), learning_rates(options));
  plan.samples = sample_counts(options);
  plan.search_seed = options.training.seed;
  plan.subset_seed = options.subset_seed;
  const std::int64_t seeds = options.seeds > 0 ? options.seeds : 3;
  for (std::int64_t i = 1; i <= seeds; ++i)
    plan.result_seeds.push_back(plan.search_seed + static_cast<std::uint64_t>(i));
  if (options.search != "auto") plan.search = study::search_depth(options.search, "--search");

  const bool asked = !plan.samples.empty() || options.seeds > 0 || !options.lrs.empty();
  if (!options.plan_file.empty()) {
    take_plan_file(plan, options.plan_file);
  } else {
    request.budget_seconds = budget_seconds(options);
    if (options.budget == "auto" && !asked) request.budget_seconds = kDefaultBudget;
    request.freedom.samples = plan.samples.empty();
    request.freedom.seeds = options.seeds == 0;
    request.freedom.search = options.search == "auto";
  }
  request.freedom.available = task.train.size();
  request.freedom.steps = [training = options.training](std::int64_t samples) {
    return whole_steps(training, samples);
  };
  if (plan.samples.empty()) plan.samples = {std::min<std::int64_t>(1000, task.train.size())};
  plan.samples = study::checked_samples(plan.samples, task.train.size(), ranks_per_trial(options).value_or(1));
  for (const std::int64_t samples : plan.samples) plan.steps[samples] = request.freedom.steps(samples);
  request.measured_samples = plan.samples.back();

  plan.select_metric = options.training.select_metric;
  plan.problem_type = task.problem_type;
  plan.metric = comparison_metric(options, task.problem_type);
  plan.margin = options.margin / 100;
  plan.model = fs::absolute(model_directory(options)).lexically_normal().filename().string();
  plan.task = task.name;
  plan.classes = task.labels.size();
  plan.dev_majority_share = untrained_score(task.dev);
  plan.sets = evaluation_sets(task);
  if (auto many = evaluation_sets(with_many); study::examples_of(many) > study::examples_of(plan.sets))
    request.freedom.many_sets = std::move(many);
  return request;
}

study::Material study_material(const Options& options, const Session& session, const data::Task& task,
                               const std::shared_ptr<const model::ModelWeights>& weights) {
  study::Material material;
  material.model_directory = model_directory(options);
  material.classifier = [&options, &session, &task, weights](std::uint64_t head_seed) {
    return model::load_classifier({.directory = model_directory(options),
                                   .pooling = pooling_option(options),
                                   .classes = task.labels.size(),
                                   .head_seed = head_seed,
                                   .problem_type = task.problem_type,
                                   .device = session.context().device,
                                   .weights = weights});
  };
  material.train = [&task](std::int64_t samples, std::uint64_t subset_seed) {
    return training_examples(task, samples, subset_seed);
  };
  material.dev = [&task](std::int64_t samples) {
    return text_examples(capped(task.dev, study::dev_examples(samples, task.dev.size()), 0));
  };
  material.sets = scored_sets(task);
  if (!options.retain.empty()) take_forgetting(options, session, material, weights);
  // The first rank chooses the directory, and every group's writes there.
  if (options.tensorboard)
    material.events = fs::path(gather_texts(session.control(), options.output).front()) / "tensorboard";
  material.labels = task.labels.names();
  material.training = options.training;
  material.training.cache_memory = cache_memory(options, session);
  material.tokenize = tokenize_text;
  return material;
}

StudySetup set_up_study(const Options& options, const Session& session, const StudyRequest& request,
                        const study::Material& material, std::int64_t dev_available,
                        const study::FinishedTrials& finished, const std::optional<study::StudyPlan>& before,
                        const fs::path& scratch, const train::RunContext& world) {
  const int ranks = world.control.size();
  const auto earlier = at::tensor({request.earlier_ranks_per_trial}, at::kInt);
  world.control.broadcast(earlier, 0);
  std::optional<int> given = ranks_per_trial(options);
  if (!given) given = inherited_ranks_per_trial(earlier.item<int>(), ranks, session.is_gpu_shared());
  const int size = given.value_or(1);
  if (ranks % size != 0) {
    throw UsageError(
        fmt::format("--ranks-per-trial {}: {} ranks cannot be dealt into groups of that size", size, ranks));
  }
  StudySetup setup;
  const auto measure = [&](int ranks_per_trial) {
    setup.groups = std::make_unique<study::Groups>(world, ranks_per_trial);
    setup.forecasts = study::forecast(request.plan, material, request.measured_samples, scratch, *setup.groups, world);
  };
  const auto fit = [&] {
    setup.plan = plan_to_go_on_with(request.plan, before);
    if (!request.budget_seconds) {
      const bool is_planned_with_few = !options.plan_file.empty() && !request.plan.scores_many;
      if (!is_planned_with_few) study::score_many(setup.plan, request.freedom);
    } else if (!before) {
      const auto sizes = study::trial_sizes(request.plan, material, dev_available);
      auto fitted = study::fit_plan(request.plan, request.freedom, setup.forecasts, sizes, setup.groups->count(),
                                    *request.budget_seconds - seconds_since(request.began));
      setup.plan = std::move(fitted.plan);
      setup.fits = fitted.fits;
    }
    setup.plan = plan_of_first(setup.plan, world.control);
  };
  const auto simulated = [&](const study::StudyPlan& plan, const std::vector<study::MethodForecast>& forecasts,
                             int groups) {
    return study::simulate_plan(plan, finished, forecasts, study::trial_sizes(plan, material, dev_available), groups);
  };
  measure(size);
  fit();
  setup.simulation = simulated(setup.plan, setup.forecasts, setup.groups->count());
  const bool may_join = !given && ranks > 1 && !session.is_gpu_shared() && setup.plan.samples.front() >= ranks;
  const auto gain = [&] {
    return setup.simulation.seconds / simulated(setup.plan, scaled(setup.forecasts, ranks), 1).seconds;
  };
  // The first rank knows what is finished.
  const auto worth = at::tensor({may_join && gain() > kWorthMeasuring ? 1 : 0}, at::kInt);
  world.control.broadcast(worth, 0);
  if (worth.item<int>() == 0) return setup;
  auto apart = std::move(setup);
  setup = {};
  measure(ranks);
  fit();
  setup.simulation = simulated(setup.plan, setup.forecasts, 1);
  // Of the same plan: a budget may have bought less for all ranks at once, which ends sooner for that.
  const auto joined = simulated(apart.plan, setup.forecasts, 1);
  const auto joins = at::tensor({joined.seconds < apart.simulation.seconds ? 1 : 0}, at::kInt);
  world.control.broadcast(joins, 0);
  return joins.item<int>() == 1 ? std::move(setup) : std::move(apart);
}

}  // namespace dtrain::launcher
