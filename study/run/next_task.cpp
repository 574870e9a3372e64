#include "study/run/next_task.h"

#include <algorithm>
#include <set>
#include <stdexcept>

#include "peft/registry.h"
#include "train/compute_apart.h"
#include "train/evaluation.h"
#include "train/trainer.h"

namespace dtrain::study {
namespace {

// All but the head: what two tasks have in common.
std::vector<model::Parameter*> body_of(model::Classifier& classifier) {
  std::set<const model::Parameter*> head = {&classifier.classifier.weight, &classifier.classifier.bias};
  if (classifier.dense_is_head) head.insert({&classifier.dense.weight, &classifier.dense.bias});
  auto body = classifier.parameters();
  std::erase_if(body, [&](const model::Parameter* parameter) { return head.count(parameter) > 0; });
  return body;
}

void copy_body(model::Classifier& from, model::Classifier& to) {
  const auto source = body_of(from);
  const auto target = body_of(to);
  if (source.size() != target.size()) throw std::logic_error("bodies of different methods");
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i]->name() != target[i]->name()) throw std::logic_error("bodies of different methods");
    // Shared: training copies what it changes (train::flatten).
    target[i]->set_value(source[i]->value());
  }
}

double score_of(model::Classifier& classifier, const train::Examples& examples, ProblemType type,
                const train::RunContext& context, train::FeatureStore& features) {
  const auto& objective = train::objective_of(type);
  return train::evaluate(classifier, examples, objective, context, &features).metrics.value(objective.score_metric());
}

}  // namespace

std::map<std::string, double> train_next_task(const NextTask& next, const FirstTask& first, const Trial& trial,
                                              std::uint64_t subset_seed, const train::RunContext& context,
                                              train::FeatureStore& features) {
  const auto method = peft::make_method(first.options.method);
  train::FeatureStore none_kept(0);
  // A method of phases trains in a later one what lies below its first: the features of the trials are not its own.
  auto& usable = method->phases(first.classifier).size() == 1 ? features : none_kept;

  const auto classifier = train::made_apart(context, [&] {
    auto made = next.classifier(trial.seed);
    method->attach(*made, {.seed = trial.seed, .tokenize = next.tokenize});
    return made;
  });
  copy_body(first.classifier, *classifier);
  train::TrainOptions options = next.training;
  options.method = first.options.method;
  options.learning_rate = first.options.learning_rate;
  options.seed = first.options.seed;
  options.patience = first.options.patience;
  options.most_evaluations = first.options.most_evaluations;
  train::train(*classifier, next.train(trial.samples, subset_seed), next.dev(trial.samples), options, {}, context,
               usable);

  std::map<std::string, double> measured;
  measured["next_task"] = score_of(*classifier, next.test, options.problem_type, context, usable);
  copy_body(*classifier, first.classifier);
  measured["first_task_before"] = first.score;
  measured["first_task"] = score_of(first.classifier, first.test, first.options.problem_type, context, usable);
  measured["backward_transfer"] = measured["first_task"] - first.score;
  return measured;
}

}  // namespace dtrain::study
