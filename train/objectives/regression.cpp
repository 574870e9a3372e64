#include "train/objectives/regression.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/error.h"

namespace dtrain::train {
namespace {

double mean_of(const std::vector<double>& values) {
  return ratio(std::accumulate(values.begin(), values.end(), 0.0), static_cast<double>(values.size()));
}

// Around a mean that is rounded, what is constant has a spread, too.
bool constant(const std::vector<double>& values) {
  return std::all_of(values.begin(), values.end(), [&](double value) { return value == values[0]; });
}

// Pearson's correlation; NaN where one side is constant.
double correlation(const std::vector<double>& left, const std::vector<double>& right) {
  const double left_mean = mean_of(left);
  const double right_mean = mean_of(right);
  double products = 0, left_squares = 0, right_squares = 0;
  for (std::size_t i = 0; i < left.size(); ++i) {
    products += (left[i] - left_mean) * (right[i] - right_mean);
    left_squares += (left[i] - left_mean) * (left[i] - left_mean);
    right_squares += (right[i] - right_mean) * (right[i] - right_mean);
  }
  if (constant(left) || constant(right)) return std::numeric_limits<double>::quiet_NaN();
  return std::clamp(products / std::sqrt(left_squares) / std::sqrt(right_squares), -1.0, 1.0);
}

// From 1; equal values share the mean of theirs.
std::vector<double> ranks(const std::vector<double>& values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [&](std::size_t left, std::size_t right) { return values[left] < values[right]; });
  std::vector<double> result(values.size());
  for (std::size_t begin = 0, end = 0; begin < order.size(); begin = end) {
    while (end < order.size() && values[order[end]] == values[order[begin]]) ++end;
    for (std::size_t i = begin; i < end; ++i) result[order[i]] = static_cast<double>(begin + end + 1) / 2;
  }
  return result;
}

std::vector<double> column(const at::Tensor& values, std::int64_t output) {
  const auto plain = values.select(1, output).to(at::kCPU, at::kDouble).contiguous();
  const auto* begin = plain.const_data_ptr<double>();
  return {begin, begin + plain.numel()};
}

// Of each example what its error leaves of 1, an error as large as the variance nothing: their mean is R². Where the
// truth is constant, all or nothing, as in scikit-learn.
std::vector<double> explained(const std::vector<double>& predicted, const std::vector<double>& truth) {
  const double mean = mean_of(truth);
  double variance = 0, error = 0;
  std::vector<double> squares;
  for (std::size_t i = 0; i < truth.size(); ++i) {
    variance += (truth[i] - mean) * (truth[i] - mean) / static_cast<double>(truth.size());
    squares.push_back((predicted[i] - truth[i]) * (predicted[i] - truth[i]));
    error += squares.back();
  }
  const bool varies = variance > 0 && !constant(truth);
  for (double& square : squares) square = varies ? 1 - square / variance : (error == 0 ? 1 : 0);
  return squares;
}

// In the order of metric_kinds.
std::vector<double> metrics_of(const std::vector<double>& predicted, const std::vector<double>& truth) {
  std::vector<double> squares, distances;
  for (std::size_t i = 0; i < truth.size(); ++i) {
    distances.push_back(std::abs(predicted[i] - truth[i]));
    squares.push_back(distances.back() * distances.back());
  }
  const bool finite =
      std::all_of(distances.begin(), distances.end(), [](double value) { return std::isfinite(value); });
  const double undefined = std::numeric_limits<double>::quiet_NaN();
  return {finite ? correlation(predicted, truth) : undefined,
          finite ? correlation(ranks(predicted), ranks(truth)) : undefined,
          mean_of(explained(predicted, truth)),
          std::sqrt(mean_of(squares)),
          mean_of(distances),
          mean_of(squares)};
}

class Regression final : public Objective {
 public:
  ProblemType type() const override { return ProblemType::regression; }

  const std::vector<MetricKind>& metric_kinds() const override {
    static const std::vector<MetricKind> kinds = {
        {"pearson", "Pearson", true, false}, {"spearman", "Spearman", true, false}, {"r2", "R²"},
        {"rmse", "RMSE", false, false},      {"mae", "MAE", false, false},          {"mse", "MSE", false, false}};
    return kinds;
  }
  std::string select_metric() const override { return "mse"; }
  std::string score_metric() const override { return "r2"; }
  std::vector<std::string> headline_metrics() const override { return {"rmse", "pearson", "spearman"}; }

  Loss make_loss(const LossOptions& options, const data::Targets&, at::Device) const override {
    if (options.balanced || !options.class_weights.empty())
      throw UsageError("--class-weights: regression has no classes; leave it out");
    if (options.label_smoothing != 0) throw UsageError("--label-smoothing: regression has no classes; leave it out");
    return {};
  }

  at::Tensor loss_sum(const at::Tensor& logits, const at::Tensor& targets, const Loss&) const override {
    return at::mse_loss(logits, targets.to(logits.scalar_type()), at::Reduction::None).mean(1).sum();
  }

  Metrics metrics(const at::Tensor& logits, const at::Tensor& targets) const override {
    std::vector<double> means(metric_kinds().size(), 0);
    for (std::int64_t output = 0; output < logits.size(1); ++output) {
      const auto values = metrics_of(column(logits, output), column(targets, output));
      for (std::size_t i = 0; i < means.size(); ++i) means[i] += values[i] / static_cast<double>(logits.size(1));
    }
    return named(targets.size(0), means);
  }

  nlohmann::json details(const at::Tensor& logits, const at::Tensor& targets,
                         const std::vector<std::string>& labels) const override {
    nlohmann::json outputs = nlohmann::json::object();
    if (logits.size(1) == 1) return outputs;
    for (std::int64_t output = 0; output < logits.size(1); ++output) {
      const auto values = metrics_of(column(logits, output), column(targets, output));
      auto of_output = metrics_json(named(targets.size(0), values));
      of_output.erase("examples");
      outputs[labels[static_cast<std::size_t>(output)]] = std::move(of_output);
    }
    return {{"outputs", outputs}};
  }

  at::Tensor example_scores(const at::Tensor& logits, const at::Tensor& targets) const override {
    auto scores = at::zeros({targets.size(0)}, at::kDouble);
    for (std::int64_t output = 0; output < logits.size(1); ++output)
      scores += at::tensor(explained(column(logits, output), column(targets, output)), at::kDouble);
    return scores / static_cast<double>(logits.size(1));
  }

  std::vector<std::string> mean_metrics() const override { return {"mae", "mse"}; }
  at::Tensor example_values(const std::string& metric, const at::Tensor& logits,
                            const at::Tensor& targets) const override {
    const auto errors = logits.to(at::kCPU, at::kDouble) - targets.to(at::kCPU, at::kDouble);
    if (metric == "mse") return errors.square().mean(1);
    if (metric != "mae") refuse_values(metric);
    return errors.abs().mean(1);
  }

  OutputColumns predictions(const at::Tensor& logits, const std::vector<std::string>& labels, bool) const override {
    OutputColumns columns{header("predicted", labels),
                          std::vector<std::string>(static_cast<std::size_t>(logits.size(0)))};
    for (std::int64_t output = 0; output < logits.size(1); ++output) {
      const auto values = column(logits, output);
      for (std::size_t i = 0; i < values.size(); ++i)
        columns.rows[i] += fmt::format("{}{:.9g}", output > 0 ? "\t" : "", values[i]);
    }
    return columns;
  }

  OutputColumns answers(const data::Targets& targets, const std::vector<std::string>& labels) const override {
    OutputColumns columns{header("label", labels), {}};
    for (std::int64_t i = 0; i < targets.size(); ++i) {
      std::vector<std::string> fields;
      for (const double number : targets.numbers_of(i))
        fields.push_back(std::isnan(number) ? "" : fmt::format("{}", number));
      columns.rows.push_back(fmt::format("{}", fmt::join(fields, "\t")));
    }
    return columns;
  }

 private:
  // One column is called by what it is, several also by their outputs.
  static std::string header(const std::string& name, const std::vector<std::string>& labels) {
    if (labels.size() == 1) return name;
    std::string text;
    for (const auto& label : labels) text += fmt::format("{}{}({})", text.empty() ? "" : "\t", name, one_line(label));
    return text;
  }

  at::Tensor constant_logits(const at::Tensor& targets, std::int64_t) const override {
    return targets.to(at::kCPU, at::kDouble).mean(0);
  }
};

}  // namespace

const Objective& regression_objective() {
  static const Regression objective;
  return objective;
}

}  // namespace dtrain::train
