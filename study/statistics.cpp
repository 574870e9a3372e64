#include "study/statistics.h"

#include <algorithm>
#include <boost/math/distributions/normal.hpp>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <limits>
#include <numeric>
#include <stdexcept>

namespace dtrain::study {
namespace {

constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

// The two-sided quantile: |t| stays below it with probability `level`.
double t_quantile(double level, double degrees) {
  return boost::math::quantile(boost::math::complement(boost::math::students_t(degrees), (1 - level) / 2));
}

double mean_of(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

// The sum of squared distances from `centre`.
double squares(const std::vector<double>& values, double centre) {
  double sum = 0;
  for (const double value : values) sum += (value - centre) * (value - centre);
  return sum;
}

}  // namespace

SeedMean mean_over_seeds(const std::vector<double>& values) {
  if (values.empty()) throw std::invalid_argument("mean_over_seeds: no value");
  const auto count = static_cast<double>(values.size());
  SeedMean result{mean_of(values), kUnknown, kUnknown, static_cast<std::int64_t>(values.size())};
  if (values.size() > 1) {
    result.deviation = std::sqrt(squares(values, result.mean) / (count - 1));
    result.half_width = t_quantile(0.95, count - 1) * result.deviation / std::sqrt(count);
  }
  return result;
}

double PairedDifference::half_width(double level) const {
  if (seeds < 2) return kUnknown;
  const auto term = [&](double degrees, double variance) {
    const double quantile = t_quantile(level, degrees);
    return quantile * quantile * variance;
  };
  const auto k = static_cast<double>(seeds);
  const auto n = static_cast<double>(examples);
  return std::sqrt(std::max(term(k - 1, seed_variance), term((k - 1) * (n - 1), rest_variance)) +
                   term(n - 1, example_variance));
}

double PairedDifference::p_value() const {
  if (seeds < 2) return kUnknown;
  if (mean == 0) return 1;
  // The interval shrinks as its level falls. Bisected on the logarithm, so that small values are exact, too.
  double low = std::log(1e-12);
  double high = 0;
  if (half_width(1 - std::exp(low)) < std::abs(mean)) return std::exp(low);
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    (half_width(1 - std::exp(middle)) > std::abs(mean) ? low : high) = middle;
  }
  return std::exp(high);
}

double PairedDifference::equivalence_bound() const { return std::abs(mean) + half_width(0.95); }

PairedDifference paired_difference(const std::vector<std::vector<double>>& differences) {
  if (differences.empty() || differences[0].size() < 2)
    throw std::invalid_argument("paired_difference: at least one seed and two examples");
  const std::size_t examples = differences[0].size();
  const auto k = static_cast<double>(differences.size());
  const auto n = static_cast<double>(examples);
  std::vector<double> seed_means;
  std::vector<double> example_means(examples, 0);
  for (const auto& row : differences) {
    if (row.size() != examples) throw std::invalid_argument("paired_difference: rows of different length");
    seed_means.push_back(mean_of(row));
    for (std::size_t i = 0; i < examples; ++i) example_means[i] += row[i] / k;
  }
  PairedDifference result;
  result.mean = mean_of(seed_means);
  result.seeds = static_cast<std::int64_t>(differences.size());
  result.examples = static_cast<std::int64_t>(examples);
  const double example_square = k * squares(example_means, result.mean) / (n - 1);
  if (differences.size() < 2) {
    result.seed_variance = kUnknown;
    result.example_variance = example_square / n;
    result.rest_variance = kUnknown;
    return result;
  }
  const double seed_square = n * squares(seed_means, result.mean) / (k - 1);
  double rest = 0;
  for (std::size_t seed = 0; seed < differences.size(); ++seed) {
    for (std::size_t i = 0; i < examples; ++i) {
      const double residual = differences[seed][i] - seed_means[seed] - example_means[i] + result.mean;
      rest += residual * residual;
    }
  }
  const double rest_square = rest / ((k - 1) * (n - 1));
  result.seed_variance = seed_square / (k * n);
  result.example_variance = std::max(0.0, example_square - rest_square) / (k * n);
  result.rest_variance = rest_square / (k * n);
  return result;
}

std::vector<double> holm(const std::vector<double>& p_values) {
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < p_values.size(); ++i) {
    if (!std::isnan(p_values[i])) order.push_back(i);
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t left, std::size_t right) { return p_values[left] < p_values[right]; });
  std::vector<double> adjusted = p_values;
  double largest = 0;
  for (std::size_t rank = 0; rank < order.size(); ++rank) {
    largest = std::max(largest, std::min(1.0, p_values[order[rank]] * static_cast<double>(order.size() - rank)));
    adjusted[order[rank]] = largest;
  }
  return adjusted;
}

double resolution(std::int64_t examples, double disagreement) {
  return boost::math::quantile(boost::math::normal(), 0.975) * std::sqrt(disagreement / static_cast<double>(examples));
}

}  // namespace dtrain::study
