#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "base/problem_type.h"
#include "peft/method.h"

namespace dtrain::study {

/// A method of a study and the learning rates it is searched over.
struct MethodPlan {
  peft::MethodSpec method;
  /// Where the search begins: ascending, each once.
  std::vector<double> learning_rates;
  /// How far it may widen; the first and the last of them where they were given (--lrs).
  double lowest = 0;
  double highest = 0;

  bool is_searched_wide() const { return lowest < learning_rates.front() || highest > learning_rates.back(); }
};

/// How far a search goes beyond a method's grid, on either side: what the methods' papers and PEFT's examples use lies
/// within.
constexpr double kWidestFactor = 10;

/// A set of examples that trials are scored on.
struct EvaluationSet {
  /// "test", "ood.NAME".
  std::string name;
  std::int64_t examples = 0;
  /// The score of the best answer that is always the same (Objective::untrained): of classes the share of the most
  /// frequent one.
  double majority_share = 0;
  /// The class of each example, for metrics that weigh classes.
  std::vector<std::int32_t> labels;
};

/// Of all sets together.
std::int64_t examples_of(const std::vector<EvaluationSet>& sets);

/// Metrics that methods can be compared by, the usual one first: those of which each example has a share
/// (study/plan/example_values.h).
const std::vector<std::string>& comparable_metrics(ProblemType type);

/// How far a search goes (study/plan/search.h): `quick` decides by short trainings, `halving` by whole ones of the best
/// two, `fine` goes on between the best and its neighbours.
enum class SearchDepth { quick, halving, fine };
/// "quick", "halving", "fine", and back; throws UsageError naming `what` for another.
const char* search_depth_name(SearchDepth depth);
SearchDepth search_depth(const std::string& name, const std::string& what);

/// What a study tries. For each method and sample count: the search for a learning rate (study/plan/search.h), with the
/// search seed; then the one that dev chose, with each result seed. A seed also draws its own subset of the training
/// data, the same for all methods, so that the differences between methods are paired.
struct StudyPlan {
  std::vector<MethodPlan> methods;
  /// Ascending, each once.
  std::vector<std::int64_t> samples;
  std::uint64_t search_seed = 0;
  /// Without the search seed: what chose a learning rate must not also judge it.
  std::vector<std::uint64_t> result_seeds;
  /// Seeds that a method got at a count beyond these, because a decision hung on them.
  std::map<std::int64_t, std::map<std::string, std::vector<std::uint64_t>>> more_seeds;
  /// Seeds that were given up at a count because time ran out; a method may have had them before. Where those are all
  /// result seeds, the count was given up, and is not searched any more.
  std::map<std::int64_t, std::set<std::uint64_t>> dropped_seeds;
  /// The same in words, and why, in the order in which it happened.
  std::vector<std::string> changes;
  /// The seed of the draw of the search's examples; each seed after the search seed adds one.
  std::uint64_t subset_seed = 0;
  /// Steps of a whole training, by sample count.
  std::map<std::int64_t, std::int64_t> steps;
  SearchDepth search = SearchDepth::halving;
  /// The metric on dev that chooses learning rates.
  std::string select_metric = "log_loss";
  /// The share of the best value on dev by which a learning rate may be worse and count as alike: the seeds of a rate
  /// scatter by more (docs/study.md).
  double alike = 0.02;
  /// The metric on the evaluation sets that methods are compared by (comparable_metrics). It and the margin decide no
  /// trial: a study may be resumed with others.
  std::string metric = "accuracy";
  /// The loss of that metric that does not matter, in its own unit: 0.01 is a point, whatever the metric.
  double margin = 0.01;

  std::string model;
  std::string task;
  ProblemType problem_type = ProblemType::single_label_classification;
  /// Outputs of the model.
  std::int64_t classes = 0;
  /// More examples of the evaluation sets are scored than a study begins with, because there was time for them
  /// (PlanFreedom::many_sets).
  bool scores_many = false;
  double dev_majority_share = 0;
  std::vector<EvaluationSet> sets;

  /// What decides the numbers of every trial, by name, as text: what a resumed study must share.
  std::map<std::string, std::string> identity;

  /// No more results of that seed at that count, by any method, but for those that have begun. Throws
  /// std::invalid_argument for the first seed.
  void drop_seed(std::int64_t count, std::uint64_t seed);
  /// No more trials of a count and of all that are larger, which would start from its optimum, but for those that have
  /// begun. Throws std::invalid_argument for the plan's first.
  void drop_count(std::int64_t count);
  bool is_dropped(std::int64_t count) const;
  bool is_dropped(std::int64_t count, std::uint64_t seed) const;
  /// Of the result of a method at a count.
  std::vector<std::uint64_t> seeds_of(std::int64_t count, const std::string& method) const;
  /// How many seeds the methods have at a count, each number once: without those that were given up, with those that
  /// were added.
  std::set<std::size_t> seed_numbers(std::int64_t count) const;
  std::uint64_t subset_seed_of(std::uint64_t seed) const { return subset_seed + (seed - search_seed); }
};

/// Whether any learning rate is left to the study: more than one is given for a method.
bool chooses_rates(const StudyPlan& plan);

/// The dev examples that a method with `samples` training examples may look at, of `available`: small data is small in
/// dev, too, or the study would answer another question.
std::int64_t dev_examples(std::int64_t samples, std::int64_t available);

/// Methods from their texts, each with its own grid and range, or `learning_rates` and no others where that is not
/// empty. Throws UsageError for
/// an unknown method or setting, and for one that is named twice.
std::vector<MethodPlan> method_plans(const std::vector<std::string>& texts, std::vector<double> learning_rates);

/// Sorted, each once. Throws UsageError with both numbers where one is larger than the data or smaller than the ranks
/// of a trial.
std::vector<std::int64_t> checked_samples(std::vector<std::int64_t> samples, std::int64_t available,
                                          int ranks_per_trial);

/// The plan as results.json and the journal hold it, and back.
nlohmann::json plan_json(const StudyPlan& plan);
StudyPlan plan_from_json(const nlohmann::json& json);

}  // namespace dtrain::study
