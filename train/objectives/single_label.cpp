#include "train/objectives/single_label.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <numeric>
#include <utility>

#include "train/class_counts.h"

namespace dtrain::train {
namespace {

// confusion[true class][predicted class].
using Confusion = std::vector<std::vector<std::int64_t>>;
// Of ten thousand classes it would be a file of a gigabyte, nearly all of it zeros.
constexpr std::size_t kMostClassesOfConfusion = 500;

// Log-probabilities [n, classes] and the most likely class of each example, the first of those that are equal.
struct ClassAnswers {
  explicit ClassAnswers(const at::Tensor& logits)
      : log_probabilities(at::log_softmax(logits.to(at::kCPU, at::kDouble), 1).contiguous()),
        classes(static_cast<std::size_t>(logits.size(1))) {
    for (std::int64_t i = 0; i < logits.size(0); ++i) {
      const double* values = row(static_cast<std::size_t>(i));
      predicted.push_back(static_cast<std::size_t>(std::max_element(values, values + classes) - values));
    }
  }
  const double* row(std::size_t example) const {
    return log_probabilities.const_data_ptr<double>() + example * classes;
  }
  // The probability of the most likely class.
  double confidence(std::size_t example) const { return std::exp(row(example)[predicted[example]]); }

  at::Tensor log_probabilities;
  std::size_t classes;
  std::vector<std::size_t> predicted;
};

std::vector<std::size_t> truth_of(const at::Tensor& targets) {
  const auto plain = targets.to(at::kCPU).contiguous();
  const auto* values = plain.const_data_ptr<std::int64_t>();
  return {values, values + plain.numel()};
}

Confusion confusion_of(const ClassAnswers& answers, const std::vector<std::size_t>& truth) {
  Confusion confusion(answers.classes, std::vector<std::int64_t>(answers.classes, 0));
  for (std::size_t i = 0; i < truth.size(); ++i) ++confusion[truth[i]][answers.predicted[i]];
  return confusion;
}

// [true class, predicted class, examples] of those that occur, in the order of the classes.
std::vector<std::array<std::int64_t, 3>> confusion_pairs_of(const ClassAnswers& answers,
                                                            const std::vector<std::size_t>& truth) {
  std::map<std::pair<std::size_t, std::size_t>, std::int64_t> counts;
  for (std::size_t i = 0; i < truth.size(); ++i) ++counts[{truth[i], answers.predicted[i]}];
  std::vector<std::array<std::int64_t, 3>> pairs;
  for (const auto& [classes, count] : counts)
    pairs.push_back({static_cast<std::int64_t>(classes.first), static_cast<std::int64_t>(classes.second), count});
  return pairs;
}

ClassCounts counts_of(const ClassAnswers& answers, const std::vector<std::size_t>& truth) {
  ClassCounts counts(answers.classes);
  for (std::size_t i = 0; i < truth.size(); ++i) counts.add(truth[i], answers.predicted[i]);
  return counts;
}

// Expected calibration error over 15 bins of equal width (Guo et al., 2017).
double calibration_error(const ClassAnswers& answers, const std::vector<std::size_t>& truth) {
  constexpr int kBins = 15;
  std::array<double, kBins> confidence{};
  std::array<double, kBins> correct{};
  for (std::size_t i = 0; i < truth.size(); ++i) {
    const double probability = answers.confidence(i);
    if (std::isnan(probability)) return probability;
    // Bins (0, 1/15], (1/15, 2/15], ...
    const auto bin = static_cast<std::size_t>(std::clamp(std::ceil(probability * kBins) - 1, 0.0, kBins - 1.0));
    confidence[bin] += probability;
    correct[bin] += answers.predicted[i] == truth[i] ? 1 : 0;
  }
  double error = 0;
  for (std::size_t bin = 0; bin < kBins; ++bin)
    error += ratio(std::abs(confidence[bin] - correct[bin]), static_cast<double>(truth.size()));
  return error;
}

std::vector<double> log_losses(const ClassAnswers& answers, const std::vector<std::size_t>& truth) {
  std::vector<double> losses;
  for (std::size_t i = 0; i < truth.size(); ++i) losses.push_back(-answers.row(i)[truth[i]]);
  return losses;
}

double log_loss(const ClassAnswers& answers, const std::vector<std::size_t>& truth) {
  const auto losses = log_losses(answers, truth);
  return ratio(std::accumulate(losses.begin(), losses.end(), 0.0), static_cast<double>(losses.size()));
}

std::vector<double> balanced_class_weights(const data::Targets& training) {
  std::vector<double> counts(static_cast<std::size_t>(training.outputs()), 0);
  for (std::int64_t i = 0; i < training.size(); ++i) ++counts[static_cast<std::size_t>(training.class_of(i))];
  const auto occurring =
      static_cast<double>(counts.size()) - static_cast<double>(std::count(counts.begin(), counts.end(), 0.0));
  std::vector<double> weights;
  for (const double count : counts) weights.push_back(ratio(static_cast<double>(training.size()), occurring * count));
  return weights;
}

class SingleLabel final : public Objective {
 public:
  ProblemType type() const override { return ProblemType::single_label_classification; }

  const std::vector<MetricKind>& metric_kinds() const override {
    static const std::vector<MetricKind> kinds = {{"accuracy", "accuracy"},
                                                  {"balanced_accuracy", "balanced"},
                                                  {"macro_f1", "macro-F1"},
                                                  {"weighted_f1", "weighted F1"},
                                                  {"matthews", "Matthews", true, false},
                                                  {"log_loss", "log-loss", false, false},
                                                  {"calibration_error", "ECE", false, true}};
    return kinds;
  }
  std::string select_metric() const override { return "log_loss"; }
  std::string score_metric() const override { return "accuracy"; }
  std::vector<std::string> headline_metrics() const override { return {"log_loss", "accuracy", "macro_f1"}; }

  Loss make_loss(const LossOptions& options, const data::Targets& training, at::Device device) const override {
    Loss loss = weighted_loss(options.balanced ? balanced_class_weights(training) : options.class_weights,
                              training.outputs(), device);
    loss.label_smoothing = options.label_smoothing;
    return loss;
  }

  at::Tensor loss_sum(const at::Tensor& logits, const at::Tensor& targets, const Loss& loss) const override {
    const auto weights = loss.weights.empty() ? at::Tensor() : loss.device_weights.to(logits.scalar_type());
    return at::cross_entropy_loss(logits, targets, weights, at::Reduction::Sum, /*ignore_index=*/-100,
                                  loss.label_smoothing);
  }

  double loss_divisor(const data::Targets& targets, const std::vector<std::int64_t>& batch,
                      const Loss& loss) const override {
    if (loss.weights.empty()) return static_cast<double>(batch.size());
    double sum = 0;
    for (const std::int64_t id : batch) sum += loss.weights[static_cast<std::size_t>(targets.class_of(id))];
    return sum > 0 ? sum : 1;  // of classes that weigh nothing the loss is 0, too
  }

  Metrics metrics(const at::Tensor& logits, const at::Tensor& targets) const override {
    const ClassAnswers answers(logits);
    const auto truth = truth_of(targets);
    const ClassCounts counts = counts_of(answers, truth);
    return named(targets.size(0),
                 {counts.accuracy(), counts.balanced_accuracy(), counts.macro_f1(), counts.weighted_f1(),
                  counts.matthews(), log_loss(answers, truth), calibration_error(answers, truth)});
  }

  nlohmann::json details(const at::Tensor& logits, const at::Tensor& targets,
                         const std::vector<std::string>& labels) const override {
    const ClassAnswers answers(logits);
    const auto truth = truth_of(targets);
    const ClassCounts counts = counts_of(answers, truth);
    std::vector<LabelMetrics> classes;
    for (std::size_t c = 0; c < answers.classes; ++c) classes.push_back(counts.of_class(c));
    nlohmann::json json = {{"classes", label_metrics_json(classes, labels)}};
    if (answers.classes <= kMostClassesOfConfusion)
      json["confusion"] = confusion_of(answers, truth);
    else
      json["confusion_pairs"] = confusion_pairs_of(answers, truth);
    return json;
  }

  at::Tensor example_scores(const at::Tensor& logits, const at::Tensor& targets) const override {
    const ClassAnswers answers(logits);
    const auto truth = truth_of(targets);
    auto scores = at::empty({targets.size(0)}, at::kDouble);
    auto* values = scores.mutable_data_ptr<double>();
    for (std::size_t i = 0; i < truth.size(); ++i) values[i] = answers.predicted[i] == truth[i] ? 1 : 0;
    return scores;
  }

  std::vector<std::string> mean_metrics() const override { return {"log_loss"}; }
  at::Tensor example_values(const std::string& metric, const at::Tensor& logits,
                            const at::Tensor& targets) const override {
    if (metric != "log_loss") refuse_values(metric);
    return at::tensor(log_losses(ClassAnswers(logits), truth_of(targets)), at::kDouble);
  }

  std::vector<std::int32_t> predicted_classes(const at::Tensor& logits) const override {
    const ClassAnswers answers(logits);
    return {answers.predicted.begin(), answers.predicted.end()};
  }

  std::vector<float> confidences(const at::Tensor& logits) const override {
    const ClassAnswers answers(logits);
    std::vector<float> all;
    for (std::size_t i = 0; i < answers.predicted.size(); ++i) all.push_back(static_cast<float>(answers.confidence(i)));
    return all;
  }

  OutputColumns predictions(const at::Tensor& logits, const std::vector<std::string>& labels, bool all) const override {
    const ClassAnswers answers(logits);
    OutputColumns columns{"predicted\tprobability", {}};
    if (all) {
      for (const auto& label : labels) columns.header += "\tp(" + one_line(label) + ")";
    }
    for (std::size_t i = 0; i < answers.predicted.size(); ++i) {
      const double* row = answers.row(i);
      const std::size_t best = answers.predicted[i];
      std::string& text =
          columns.rows.emplace_back(fmt::format("{}\t{:.6f}", one_line(labels[best]), answers.confidence(i)));
      for (std::size_t c = 0; all && c < answers.classes; ++c) text += fmt::format("\t{:.6f}", std::exp(row[c]));
    }
    return columns;
  }

  OutputColumns answers(const data::Targets& targets, const std::vector<std::string>& labels) const override {
    OutputColumns columns{"label", {}};
    for (std::int64_t i = 0; i < targets.size(); ++i) {
      const std::int32_t label = targets.class_of(i);
      columns.rows.push_back(label >= 0 ? one_line(labels[static_cast<std::size_t>(label)]) : "");
    }
    return columns;
  }

 private:
  at::Tensor constant_logits(const at::Tensor& targets, std::int64_t outputs) const override {
    return at::bincount(targets.to(at::kCPU), {}, outputs).to(at::kDouble).log();
  }
};

}  // namespace

const Objective& single_label_objective() {
  static const SingleLabel objective;
  return objective;
}

}  // namespace dtrain::train
