#include "study/statistics/crossover.h"

#include <algorithm>
#include <boost/math/distributions/fisher_f.hpp>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>

namespace dtrain::study {
namespace {

// The variance of a point around the line, and what it is known with.
struct PointError {
  double variance;
  double degrees;
};

PointError point_error(const std::vector<DifferenceAt>& points, double residual_squares) {
  double seed_variance = 0;
  double seed_degrees = 0;
  for (const DifferenceAt& point : points) {
    const auto degrees = static_cast<double>(point.difference.seeds - 1);
    // The rest is what seeds without any effect scatter: no point is known better.
    seed_variance += degrees * std::max(point.difference.seed_variance, point.difference.rest_variance);
    seed_degrees += degrees;
  }
  seed_variance /= seed_degrees;
  const double fit_degrees = static_cast<double>(points.size()) - 2;
  const double fit_variance = residual_squares / fit_degrees;
  const boost::math::fisher_f ratio(fit_degrees, seed_degrees);
  const bool misfits = fit_variance > seed_variance * boost::math::quantile(boost::math::complement(ratio, 0.05));
  return misfits ? PointError{fit_variance, fit_degrees} : PointError{seed_variance, seed_degrees};
}

}  // namespace

std::optional<Crossover> crossover(const std::vector<DifferenceAt>& points, double level) {
  if (points.size() < 3) return std::nullopt;
  const auto count = static_cast<double>(points.size());
  double mean_x = 0;
  double mean_y = 0;
  double example_variance = 0;
  for (const DifferenceAt& point : points) {
    if (point.difference.seeds < 2) return std::nullopt;
    mean_x += std::log(static_cast<double>(point.samples)) / count;
    mean_y += point.difference.mean / count;
    example_variance += point.difference.example_variance / count;
  }
  double xx = 0;
  double xy = 0;
  for (const DifferenceAt& point : points) {
    const double x = std::log(static_cast<double>(point.samples)) - mean_x;
    xx += x * x;
    xy += x * (point.difference.mean - mean_y);
  }
  const double slope = xy / xx;
  if (slope == 0) return std::nullopt;
  double residual_squares = 0;
  for (const DifferenceAt& point : points) {
    const double x = std::log(static_cast<double>(point.samples)) - mean_x;
    residual_squares += std::pow(point.difference.mean - mean_y - slope * x, 2);
  }
  const double height = mean_y - level;
  Crossover result;
  result.samples = std::exp(mean_x - height / slope);

  // Where (height + slope x)^2 <= t^2 (variance / count + variance x^2 / xx + example_variance).
  const PointError error = point_error(points, residual_squares);
  const double t = boost::math::quantile(boost::math::students_t(error.degrees), 0.975);
  const double a = slope * slope - t * t * error.variance / xx;
  const double b = slope * height;
  const double c = height * height - t * t * (error.variance / count + example_variance);
  const double discriminant = b * b - a * c;
  if (a > 0 && discriminant >= 0) {
    const double root = std::sqrt(discriminant);
    result.interval = Interval{std::exp(mean_x + (-b - root) / a), std::exp(mean_x + (-b + root) / a)};
  }
  return result;
}

}  // namespace dtrain::study
