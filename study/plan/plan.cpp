#include "study/plan/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <stdexcept>

#include "base/error.h"
#include "base/log.h"
#include "peft/registry.h"
#include "study/plan/example_values.h"
#include "train/objective.h"

namespace dtrain::study {
namespace {

using nlohmann::json;

template <typename Value>
void sort_once(std::vector<Value>& values) {
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
}

}  // namespace

std::int64_t examples_of(const std::vector<EvaluationSet>& sets) {
  return std::accumulate(sets.begin(), sets.end(), std::int64_t{0},
                         [](std::int64_t sum, const EvaluationSet& set) { return sum + set.examples; });
}

const std::vector<std::string>& comparable_metrics(ProblemType type) {
  static const std::map<ProblemType, std::vector<std::string>> names = [] {
    std::map<ProblemType, std::vector<std::string>> all;
    for (const train::Objective* objective : train::objectives()) all[objective->type()] = {objective->score_metric()};
    auto& of_classes = all[ProblemType::single_label_classification];
    of_classes.push_back("balanced_accuracy");
    of_classes.insert(of_classes.end(), class_count_metrics().begin(), class_count_metrics().end());
    for (const train::Objective* objective : train::objectives()) {
      for (const std::string& metric : objective->mean_metrics()) all[objective->type()].push_back(metric);
    }
    return all;
  }();
  return names.at(type);
}

void StudyPlan::drop_seed(std::int64_t count, std::uint64_t seed) {
  if (seed == result_seeds.front()) throw std::invalid_argument("the first seed of a count is not dropped");
  dropped_seeds[count].insert(seed);
}

void StudyPlan::drop_count(std::int64_t count) {
  if (count == samples.front()) throw std::invalid_argument("a study keeps its first count");
  for (const std::int64_t larger : samples) {
    if (larger >= count) dropped_seeds[larger].insert(result_seeds.begin(), result_seeds.end());
  }
}

bool StudyPlan::is_dropped(std::int64_t count) const {
  return dropped_seeds.count(count) > 0 && std::all_of(result_seeds.begin(), result_seeds.end(),
                                                       [&](std::uint64_t seed) { return is_dropped(count, seed); });
}

bool StudyPlan::is_dropped(std::int64_t count, std::uint64_t seed) const {
  const auto of_count = dropped_seeds.find(count);
  return of_count != dropped_seeds.end() && of_count->second.count(seed) > 0;
}

std::vector<std::uint64_t> StudyPlan::seeds_of(std::int64_t count, const std::string& method) const {
  std::vector<std::uint64_t> seeds = result_seeds;
  const auto of_count = more_seeds.find(count);
  if (of_count == more_seeds.end()) return seeds;
  const auto of_method = of_count->second.find(method);
  if (of_method != of_count->second.end())
    seeds.insert(seeds.end(), of_method->second.begin(), of_method->second.end());
  return seeds;
}

std::set<std::size_t> StudyPlan::seed_numbers(std::int64_t count) const {
  std::set<std::size_t> numbers;
  for (const MethodPlan& method : methods) {
    const auto seeds = seeds_of(count, method.method.text());
    numbers.insert(static_cast<std::size_t>(
        std::count_if(seeds.begin(), seeds.end(), [&](std::uint64_t seed) { return !is_dropped(count, seed); })));
  }
  return numbers;
}

bool chooses_rates(const StudyPlan& plan) {
  return std::any_of(plan.methods.begin(), plan.methods.end(),
                     [](const MethodPlan& method) { return method.learning_rates.size() > 1; });
}

const char* search_depth_name(SearchDepth depth) {
  return depth == SearchDepth::quick ? "quick" : depth == SearchDepth::halving ? "halving" : "fine";
}

SearchDepth search_depth(const std::string& name, const std::string& what) {
  for (const SearchDepth depth : {SearchDepth::quick, SearchDepth::halving, SearchDepth::fine}) {
    if (name == search_depth_name(depth)) return depth;
  }
  throw UsageError(fmt::format("{}: expected quick, halving or fine, found '{}'", what, name));
}

std::int64_t dev_examples(std::int64_t samples, std::int64_t available) {
  return std::min(std::max<std::int64_t>(samples / 2, 500), available);
}

std::vector<MethodPlan> method_plans(const std::vector<std::string>& texts, std::vector<double> learning_rates) {
  sort_once(learning_rates);
  std::vector<MethodPlan> methods;
  for (const std::string& text : texts) {
    MethodPlan plan{peft::parse_method_spec(text), learning_rates, 0, 0};
    peft::make_method(plan.method);
    for (const MethodPlan& earlier : methods) {
      if (earlier.method.text() == plan.method.text())
        throw UsageError(fmt::format("--methods: '{}' is named twice", plan.method.text()));
    }
    const bool own_grid = plan.learning_rates.empty();
    if (own_grid) plan.learning_rates = peft::method_kind(plan.method.name).learning_rates;
    sort_once(plan.learning_rates);
    plan.lowest = plan.learning_rates.front() / (own_grid ? kWidestFactor : 1);
    plan.highest = plan.learning_rates.back() * (own_grid ? kWidestFactor : 1);
    methods.push_back(std::move(plan));
  }
  if (methods.empty()) throw UsageError("--methods: name at least one method");
  return methods;
}

std::vector<std::int64_t> checked_samples(std::vector<std::int64_t> samples, std::int64_t available,
                                          int ranks_per_trial) {
  sort_once(samples);
  if (samples.back() > available) {
    throw UsageError(fmt::format("--samples {}: more than the {} training examples there are", samples.back(),
                                 count_text(available)));
  }
  if (samples.front() < ranks_per_trial) {
    throw UsageError(
        fmt::format("{} ranks a trial, but --samples {}: some ranks would never have work. Give a trial fewer ranks "
                    "(--ranks-per-trial), or leave out that count.",
                    ranks_per_trial, samples.front()));
  }
  return samples;
}

json plan_json(const StudyPlan& plan) {
  json methods = json::array();
  for (const MethodPlan& method : plan.methods)
    methods.push_back({{"method", method.method.text()},
                       {"learning_rates", method.learning_rates},
                       {"range", {method.lowest, method.highest}}});
  json dropped_seeds = json::array();
  for (const auto& [samples, seeds] : plan.dropped_seeds)
    dropped_seeds.push_back({{"samples", samples}, {"seeds", seeds}});
  json more_seeds = json::array();
  for (const auto& [samples, of_count] : plan.more_seeds) {
    for (const auto& [method, seeds] : of_count)
      more_seeds.push_back({{"samples", samples}, {"method", method}, {"seeds", seeds}});
  }
  json steps = json::array();
  for (const auto& [samples, count] : plan.steps) steps.push_back({{"samples", samples}, {"steps", count}});
  json sets = json::array();
  for (const EvaluationSet& set : plan.sets)
    sets.push_back({{"name", set.name},
                    {"examples", set.examples},
                    {"majority_share", set.majority_share},
                    {"labels", set.labels}});
  return {{"model", plan.model},
          {"task", plan.task},
          {"classes", plan.classes},
          {"dev_majority_share", plan.dev_majority_share},
          {"sets", sets},
          {"scores_many", plan.scores_many},
          {"methods", methods},
          {"samples", plan.samples},
          {"steps", steps},
          {"search", search_depth_name(plan.search)},
          {"search_seed", plan.search_seed},
          {"result_seeds", plan.result_seeds},
          {"more_seeds", more_seeds},
          {"dropped_seeds", dropped_seeds},
          {"changes", plan.changes},
          {"alike", plan.alike},
          {"subset_seed", plan.subset_seed},
          {"select_metric", plan.select_metric},
          {"problem_type", problem_type_name(plan.problem_type)},
          {"metric", plan.metric},
          {"margin", plan.margin},
          {"identity", plan.identity}};
}

StudyPlan plan_from_json(const nlohmann::json& json) {
  StudyPlan plan;
  for (const auto& method : json.at("methods")) {
    plan.methods.push_back({peft::parse_method_spec(method.at("method").get<std::string>()),
                            method.at("learning_rates").get<std::vector<double>>(), method.at("range").at(0),
                            method.at("range").at(1)});
  }
  for (const auto& set : json.at("sets"))
    plan.sets.push_back({set.at("name"), set.at("examples"), set.at("majority_share"),
                         set.value("labels", std::vector<std::int32_t>())});
  json.at("model").get_to(plan.model);
  json.at("task").get_to(plan.task);
  json.at("classes").get_to(plan.classes);
  for (const EvaluationSet& set : plan.sets) {
    for (const std::int32_t label : set.labels) {
      if (label < 0 || label >= plan.classes)
        throw InputError(fmt::format("the plan of a study: expected labels from 0 to {}, found {} in the set {}",
                                     plan.classes - 1, label, set.name));
    }
  }
  json.at("dev_majority_share").get_to(plan.dev_majority_share);
  json.at("samples").get_to(plan.samples);
  for (const auto& entry : json.at("steps")) plan.steps[entry.at("samples")] = entry.at("steps");
  plan.search = search_depth(json.at("search"), "'search' of the plan");
  json.at("search_seed").get_to(plan.search_seed);
  json.at("result_seeds").get_to(plan.result_seeds);
  // Journals of earlier versions have none of these, and chose the best rate alone.
  plan.alike = json.value("alike", 0.0);
  for (const auto& entry : json.value("dropped_seeds", nlohmann::json::array()))
    plan.dropped_seeds[entry.at("samples")] = entry.at("seeds").get<std::set<std::uint64_t>>();
  plan.changes = json.value("changes", plan.changes);
  for (const auto& entry : json.at("more_seeds")) {
    plan.more_seeds[entry.at("samples")][entry.at("method")] = entry.at("seeds").get<std::vector<std::uint64_t>>();
  }
  json.at("subset_seed").get_to(plan.subset_seed);
  json.at("select_metric").get_to(plan.select_metric);
  // Journals of earlier versions have none of these.
  plan.metric = json.value("metric", plan.metric);
  if (json.contains("problem_type"))
    plan.problem_type = problem_type(json.at("problem_type").get<std::string>(), "'problem_type' of the plan");
  plan.margin = json.value("margin", plan.margin);
  plan.scores_many = json.value("scores_many", plan.scores_many);
  json.at("identity").get_to(plan.identity);
  return plan;
}

}  // namespace dtrain::study
