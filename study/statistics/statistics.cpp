#include "study/statistics/statistics.h"

#include <algorithm>
#include <boost/math/distributions/binomial.hpp>
#include <boost/math/distributions/normal.hpp>
#include <boost/math/distributions/students_t.hpp>
#include <boost/math/quadrature/gauss.hpp>
#include <boost/math/special_functions/gamma.hpp>
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

double normal_tail(double z) { return 0.5 * std::erfc(z * std::sqrt(0.5)); }

// P(mean of two sources of error > distance), where one is normal with variance `fixed` and the other normal with a
// variance that was estimated as `estimated` with `degrees` of freedom and is at least `least`: the mean of the normal
// tail over estimated * degrees / y^2, y being chi-distributed.
double behrens_fisher_tail(double distance, double estimated, double degrees, double least, double fixed) {
  const auto tail_of = [&](double variance) { return variance > 0 ? normal_tail(distance / std::sqrt(variance)) : 0; };
  const double scaled = estimated * degrees;
  // From here on, the variance that is drawn is below the least one.
  const double turn = least > 0 ? std::sqrt(scaled / least) : std::numeric_limits<double>::infinity();
  constexpr double kFar = 4.5;  // more than six standard deviations of y
  const double begin = std::min(turn, std::max(0.0, std::sqrt(degrees) - kFar));
  const double end = std::min(turn, std::sqrt(degrees) + kFar);
  const double normaliser = std::log(2.0) * (1 - degrees / 2) - std::lgamma(degrees / 2);
  const auto integrand = [&](double y) {
    return std::exp(normaliser + (degrees - 1) * std::log(y) - y * y / 2) * tail_of(scaled / (y * y) + fixed);
  };
  // The integrand lives where the drawn variance is as large as the distance asks for, which may be a small part.
  const double middle = std::clamp(6 * std::sqrt(scaled) / distance, begin, end);
  using Rule = boost::math::quadrature::gauss<double, 20>;
  double probability = 0;
  if (middle > begin) probability += Rule::integrate(integrand, begin, middle);
  if (end > middle) probability += Rule::integrate(integrand, middle, end);
  return probability + tail_of(least + fixed) * boost::math::gamma_q(degrees / 2, end * end / 2);
}

// Step-down adjustment where at most all but `false_ones` of the hypotheses are true.
std::vector<double> step_down(const std::vector<double>& p_values, std::size_t false_ones) {
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < p_values.size(); ++i) {
    if (!std::isnan(p_values[i])) order.push_back(i);
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t left, std::size_t right) { return p_values[left] < p_values[right]; });
  std::vector<double> adjusted = p_values;
  double largest = 0;
  for (std::size_t rank = 0; rank < order.size(); ++rank) {
    const std::size_t true_ones = std::min(order.size() - rank, p_values.size() - false_ones);
    largest = std::max(largest, std::min(1.0, p_values[order[rank]] * static_cast<double>(true_ones)));
    adjusted[order[rank]] = largest;
  }
  return adjusted;
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

double p_value_of_zero(const SeedMean& mean) {
  if (mean.seeds < 2) return kUnknown;
  if (mean.mean == 0 && mean.deviation == 0) return 1;
  if (mean.deviation <= 1e-9 * std::abs(mean.mean)) return std::exp2(1 - static_cast<double>(mean.seeds));
  const double t = std::abs(mean.mean) / (mean.deviation / std::sqrt(static_cast<double>(mean.seeds)));
  const boost::math::students_t distribution(static_cast<double>(mean.seeds - 1));
  return 2 * boost::math::cdf(boost::math::complement(distribution, t));
}

double PairedDifference::tail(double distance) const {
  if (distance <= 0) return 0.5;
  const auto n = static_cast<double>(examples);
  const double missed = distance < unit ? std::exp(n * std::log1p(-distance / unit)) : 0;
  // Squared: answers that differ by chance alone go one way a little, too, the less the more of them there are.
  const double made_up = one_way * one_way * distance * std::max(0.0, unit - distance) / n;
  return std::max(behrens_fisher_tail(distance, seed_variance, static_cast<double>(seeds - 1), rest_variance,
                                      example_variance + made_up),
                  std::min(0.5, missed));
}

double PairedDifference::probability_below(double value) const {
  if (seeds < 2) return kUnknown;
  return value < mean ? tail(mean - value) : 1 - tail(value - mean);
}

double PairedDifference::half_width(double level) const {
  if (seeds < 2) return kUnknown;
  const double wanted = (1 - level) / 2;
  double high = 1e-3 * unit;
  while (tail(high) > wanted) high *= 2;
  double low = 0;
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    (tail(middle) > wanted ? low : high) = middle;
  }
  return high;
}

Interval PairedDifference::interval(double level) const {
  const double half = half_width(level);
  return {mean - half, mean + half};
}

double PairedDifference::p_value() const { return seeds < 2 ? kUnknown : 2 * tail(std::abs(mean)); }

double PairedDifference::equivalence_bound() const { return std::abs(mean) + half_width(0.95); }

PairedDifference PairedDifference::reversed() const {
  PairedDifference result = *this;
  result.mean = -mean;
  return result;
}

PairedDifference PairedDifference::projected(std::int64_t more_seeds, double more_examples) const {
  PairedDifference result = *this;
  const double fewer = static_cast<double>(seeds) / static_cast<double>(seeds + more_seeds);
  const double seeds_alone = std::max(0.0, seed_variance - rest_variance);
  result.seeds = seeds + more_seeds;
  result.examples = static_cast<std::int64_t>(std::llround(static_cast<double>(examples) * more_examples));
  result.rest_variance = rest_variance * fewer / more_examples;
  result.seed_variance = seeds_alone * fewer + result.rest_variance;
  result.example_variance = example_variance / more_examples;
  return result;
}

PairedDifference paired_difference(const std::vector<std::vector<double>>& differences, double unit) {
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
  result.unit = unit;
  double differing = 0;
  for (const double example : example_means) differing += std::abs(example);
  if (differing > 0) result.one_way = std::min(1.0, std::abs(result.mean) * n / differing);
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

std::vector<double> holm(const std::vector<double>& p_values) { return step_down(p_values, 0); }

std::vector<double> holm_but_one(const std::vector<double>& p_values) { return step_down(p_values, 1); }

Interval proportion_interval(std::int64_t successes, std::int64_t trials, double level) {
  if (trials < 1) throw std::invalid_argument("proportion_interval: no trial");
  using Binomial = boost::math::binomial_distribution<>;
  const auto n = static_cast<double>(trials);
  const auto k = static_cast<double>(successes);
  return {Binomial::find_lower_bound_on_p(n, k, (1 - level) / 2),
          Binomial::find_upper_bound_on_p(n, k, (1 - level) / 2)};
}

double resolution(std::int64_t examples, double disagreement) {
  return boost::math::quantile(boost::math::normal(), 0.975) * std::sqrt(disagreement / static_cast<double>(examples));
}

}  // namespace dtrain::study
