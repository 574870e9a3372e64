#include "train/objectives/multi_label.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"

namespace dtrain::train {
namespace {

constexpr double kThreshold = 0;  // of a logit: a probability of one half

// [n, labels] in double, and which of them are predicted and true.
struct LabelAnswers {
  LabelAnswers(const at::Tensor& given, const at::Tensor& targets)
      : logits(given.to(at::kCPU, at::kDouble).contiguous()),
        predicted(logits.gt(kThreshold).to(at::kDouble)),
        truth(targets.to(at::kCPU, at::kDouble)) {}

  at::Tensor logits;
  at::Tensor predicted;
  at::Tensor truth;
};

// Sums over a dimension, as numbers.
std::vector<double> sums(const at::Tensor& values, std::int64_t dimension) {
  const auto sum = values.sum(dimension).contiguous();
  const auto* begin = sum.const_data_ptr<double>();
  return {begin, begin + sum.numel()};
}

// How often something is right, predicted and true: along a dimension, label by label or example by example.
struct LabelCounts {
  LabelCounts(const LabelAnswers& answers, std::int64_t dimension)
      : hits(sums(answers.predicted * answers.truth, dimension)),
        predicted(sums(answers.predicted, dimension)),
        truth(sums(answers.truth, dimension)) {}

  std::vector<double> hits;
  std::vector<double> predicted;
  std::vector<double> truth;
};

std::vector<LabelMetrics> metrics_by_label(const LabelCounts& counts) {
  std::vector<LabelMetrics> metrics;
  for (std::size_t label = 0; label < counts.hits.size(); ++label)
    metrics.push_back(label_metrics(counts.hits[label], counts.predicted[label], counts.truth[label]));
  return metrics;
}

// The F1 of each example, 1 where there is nothing to find and nothing was found.
std::vector<double> f1_by_example(const LabelCounts& counts) {
  std::vector<double> scores;
  for (std::size_t i = 0; i < counts.hits.size(); ++i) {
    const double found = counts.predicted[i] + counts.truth[i];
    scores.push_back(found > 0 ? 2 * counts.hits[i] / found : 1);
  }
  return scores;
}

// 1 for each example whose labels are all as they should be.
std::vector<double> exact_by_example(const LabelCounts& counts) {
  std::vector<double> exact;
  for (std::size_t i = 0; i < counts.hits.size(); ++i)
    exact.push_back(counts.hits[i] == counts.predicted[i] && counts.hits[i] == counts.truth[i] ? 1 : 0);
  return exact;
}

// [n, labels].
at::Tensor log_losses(const LabelAnswers& answers) {
  const auto& x = answers.logits;
  return x.clamp_min(0) - x * answers.truth + x.abs().neg().exp().log1p();
}

double sum_of(const std::vector<double>& values) { return std::accumulate(values.begin(), values.end(), 0.0); }

std::vector<double> balanced_label_weights(const data::Targets& training) {
  std::vector<double> positives(static_cast<std::size_t>(training.outputs()), 0);
  for (std::int64_t i = 0; i < training.size(); ++i) {
    for (const std::int32_t label : training.labels_of(i)) ++positives[static_cast<std::size_t>(label)];
  }
  const auto all = static_cast<double>(training.size());
  for (double& count : positives) count = count > 0 && count < all ? (all - count) / count : 1;
  return positives;
}

std::string label_list(const std::vector<std::string>& labels) {
  return one_line(nlohmann::json(labels).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

class MultiLabel final : public Objective {
 public:
  ProblemType type() const override { return ProblemType::multi_label_classification; }

  const std::vector<MetricKind>& metric_kinds() const override {
    static const std::vector<MetricKind> kinds = {{"micro_f1", "micro-F1"},
                                                  {"macro_f1", "macro-F1"},
                                                  {"samples_f1", "samples-F1"},
                                                  {"subset_accuracy", "subset accuracy"},
                                                  {"micro_precision", "micro precision"},
                                                  {"micro_recall", "micro recall"},
                                                  {"log_loss", "log-loss", false, false}};
    return kinds;
  }
  std::string select_metric() const override { return "log_loss"; }
  std::string score_metric() const override { return "samples_f1"; }
  std::vector<std::string> headline_metrics() const override { return {"log_loss", "micro_f1", "subset_accuracy"}; }

  Loss make_loss(const LossOptions& options, const data::Targets& training, at::Device device) const override {
    if (options.label_smoothing != 0) {
      throw UsageError(
          "--label-smoothing: a target of multi_label_classification is no class whose share could go to the others; "
          "leave it out");
    }
    return weighted_loss(options.balanced ? balanced_label_weights(training) : options.class_weights,
                         training.outputs(), device);
  }

  at::Tensor loss_sum(const at::Tensor& logits, const at::Tensor& targets, const Loss& loss) const override {
    const auto weights = loss.weights.empty() ? at::Tensor() : loss.device_weights.to(logits.scalar_type());
    return at::binary_cross_entropy_with_logits(logits, targets.to(logits.scalar_type()), {}, weights,
                                                at::Reduction::None)
        .mean(1)
        .sum();
  }

  Metrics metrics(const at::Tensor& logits, const at::Tensor& targets) const override {
    const LabelAnswers answers(logits, targets);
    const LabelCounts by_label(answers, 0);
    const LabelCounts by_example(answers, 1);
    const auto examples = static_cast<double>(targets.size(0));
    const LabelMetrics micro = label_metrics(sum_of(by_label.hits), sum_of(by_label.predicted), sum_of(by_label.truth));
    double macro_f1 = 0;
    for (const LabelMetrics& label : metrics_by_label(by_label)) macro_f1 += label.f1;
    const auto losses = log_losses(answers);
    return named(targets.size(0), {micro.f1, ratio(macro_f1, static_cast<double>(by_label.hits.size())),
                                   ratio(sum_of(f1_by_example(by_example)), examples),
                                   ratio(sum_of(exact_by_example(by_example)), examples), micro.precision, micro.recall,
                                   ratio(losses.sum().item<double>(), static_cast<double>(losses.numel()))});
  }

  nlohmann::json details(const at::Tensor& logits, const at::Tensor& targets,
                         const std::vector<std::string>& labels) const override {
    return {{"classes", label_metrics_json(metrics_by_label(LabelCounts(LabelAnswers(logits, targets), 0)), labels)}};
  }

  at::Tensor example_scores(const at::Tensor& logits, const at::Tensor& targets) const override {
    return at::tensor(f1_by_example(LabelCounts(LabelAnswers(logits, targets), 1)), at::kDouble);
  }

  std::vector<std::string> mean_metrics() const override { return {"subset_accuracy", "log_loss"}; }
  at::Tensor example_values(const std::string& metric, const at::Tensor& logits,
                            const at::Tensor& targets) const override {
    const LabelAnswers answers(logits, targets);
    if (metric == "log_loss") return log_losses(answers).mean(1);
    if (metric != "subset_accuracy") refuse_values(metric);
    return at::tensor(exact_by_example(LabelCounts(answers, 1)), at::kDouble);
  }

  OutputColumns predictions(const at::Tensor& logits, const std::vector<std::string>& labels, bool) const override {
    OutputColumns columns{"predicted", {}};
    for (const auto& label : labels) columns.header += "\tp(" + one_line(label) + ")";
    const auto values = logits.to(at::kCPU, at::kDouble).contiguous();
    const auto* row = values.const_data_ptr<double>();
    for (std::int64_t i = 0; i < logits.size(0); ++i, row += labels.size()) {
      std::vector<std::string> found;
      std::string probabilities;
      for (std::size_t label = 0; label < labels.size(); ++label) {
        if (row[label] > kThreshold) found.push_back(labels[label]);
        probabilities += fmt::format("\t{:.6f}", 1 / (1 + std::exp(-row[label])));
      }
      columns.rows.push_back(label_list(found) + probabilities);
    }
    return columns;
  }

  OutputColumns answers(const data::Targets& targets, const std::vector<std::string>& labels) const override {
    OutputColumns columns{"label", {}};
    for (std::int64_t i = 0; i < targets.size(); ++i) {
      std::vector<std::string> names;
      for (const std::int32_t label : targets.labels_of(i)) names.push_back(labels[static_cast<std::size_t>(label)]);
      columns.rows.push_back(label_list(names));
    }
    return columns;
  }

 private:
  at::Tensor constant_logits(const at::Tensor& targets, std::int64_t) const override {
    // Bounded: certainty is finite, and as good as infinite.
    return at::logit(targets.to(at::kCPU, at::kDouble).mean(0)).clamp(-50, 50);
  }
};

}  // namespace

const Objective& multi_label_objective() {
  static const MultiLabel objective;
  return objective;
}

}  // namespace dtrain::train
