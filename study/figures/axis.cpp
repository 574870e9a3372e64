#include "study/figures/axis.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>

namespace dtrain::study::figures {
namespace {

// The share of the range that is kept free on either side.
constexpr double kMargin = 0.05;
// What rounding may take from a place that lies on an end.
constexpr double kSlack = 1e-9;

// Heckbert's nicenum with rounding: the nearest of 1, 2, 5 and 10 times a power of ten.
double nice_number(double value) {
  const double power = std::pow(10, std::floor(std::log10(value)));
  const double fraction = value / power;
  return power * (fraction < 1.5 ? 1 : fraction < 3 ? 2 : fraction < 7 ? 5 : 10);
}

// The products of powers of ten and of the multiples that lie in the range.
std::vector<double> multiples(double low, double high, const std::vector<double>& factors) {
  std::vector<double> places;
  const auto last = static_cast<int>(std::floor(std::log10(high) + kSlack));
  for (auto power = static_cast<int>(std::floor(std::log10(low) - kSlack)); power <= last; ++power) {
    for (const double factor : factors) {
      const double place = factor * std::pow(10, power);
      if (place >= low * (1 - kSlack) && place <= high * (1 + kSlack)) places.push_back(place);
    }
  }
  return places;
}

std::vector<double> counting(std::vector<double> values, bool logarithmic) {
  values.erase(std::remove_if(values.begin(), values.end(),
                              [&](double value) { return !std::isfinite(value) || (logarithmic && value <= 0); }),
               values.end());
  std::sort(values.begin(), values.end());
  return values;
}

Axis fitted_log_axis(std::string title, const std::vector<double>& values) {
  Axis axis{std::move(title), true, 1, 10, {}};
  if (values.empty()) return axis;
  const double range = std::log(values.back() / values.front());
  const double margin = range > 0 ? std::exp(kMargin * range) : 2;
  axis.low = values.front() / margin;
  axis.high = values.back() * margin;
  return axis;
}

}  // namespace

std::vector<double> linear_ticks(double low, double high, int wanted) {
  if (!std::isfinite(low) || !std::isfinite(high) || low > high) throw std::invalid_argument("ticks of no range");
  if (low == high) return {low};
  const double step = nice_number((high - low) / std::max(1, wanted - 1));
  std::vector<double> places;
  const double last = std::floor(high / step + kSlack);
  // By whole numbers of steps, so that zero is zero.
  for (double number = std::ceil(low / step - kSlack); number <= last; ++number) places.push_back(number * step + 0.0);
  return places;
}

std::vector<double> log_ticks(double low, double high, int wanted) {
  if (!(low > 0) || !std::isfinite(high) || low > high) throw std::invalid_argument("logarithmic ticks of no range");
  const auto most = static_cast<std::size_t>(std::max(2, wanted));
  std::vector<double> best;
  for (const std::vector<double>& factors : std::vector<std::vector<double>>{{1}, {1, 3}, {1, 2, 5}}) {
    const auto places = multiples(low, high, factors);
    if (places.size() <= most && places.size() > best.size()) best = places;
  }
  const auto powers = multiples(low, high, {1});
  if (powers.size() > most) {
    const std::size_t each = (powers.size() + most - 1) / most;
    for (std::size_t i = 0; i < powers.size(); i += each) best.push_back(powers[i]);
  }
  return best.size() >= 2 ? best : linear_ticks(low, high, wanted);
}

std::vector<std::string> tick_labels(const std::vector<double>& ticks) {
  double step = ticks.empty() ? 1 : std::abs(ticks[0]);
  for (std::size_t i = 1; i < ticks.size(); ++i)
    step = i == 1 ? ticks[1] - ticks[0] : std::min(step, ticks[i] - ticks[i - 1]);
  const int digits = step > 0 ? std::clamp(static_cast<int>(-std::floor(std::log10(step) + kSlack)), 0, 12) : 0;
  std::vector<std::string> labels;
  for (const double tick : ticks) labels.push_back(fmt::format("{:.{}f}", tick, digits));
  return labels;
}

double Axis::position(double value) const {
  return logarithmic ? std::log(value / low) / std::log(high / low) : (value - low) / (high - low);
}

Axis linear_axis(std::string title, const std::vector<double>& all, Limits limits, int wanted) {
  Axis axis{std::move(title), false, 0, 1, {}};
  const auto values = counting(all, false);
  if (!values.empty()) {
    const double range = values.back() - values.front();
    const double margin = range > 0 ? kMargin * range : std::max(std::abs(values[0]) * kMargin, 0.5);
    axis.low = std::max(values.front() - margin, limits.low);
    axis.high = std::min(values.back() + margin, limits.high);
    if (axis.low >= axis.high) axis.high = axis.low + 1;
  }
  const auto ticks = linear_ticks(axis.low, axis.high, wanted);
  const auto labels = tick_labels(ticks);
  for (std::size_t i = 0; i < ticks.size(); ++i) axis.ticks.push_back({ticks[i], labels[i]});
  return axis;
}

Axis log_axis(std::string title, const std::vector<double>& values, const std::function<std::string(double)>& label,
              int wanted) {
  Axis axis = fitted_log_axis(std::move(title), counting(values, true));
  for (const double tick : log_ticks(axis.low, axis.high, wanted)) axis.ticks.push_back({tick, label(tick)});
  return axis;
}

Axis widened(Axis axis, double share) {
  if (axis.logarithmic) {
    const double factor = std::pow(axis.high / axis.low, share);
    axis.low /= factor;
    axis.high *= factor;
  } else {
    const double more = share * (axis.high - axis.low);
    axis.low -= more;
    axis.high += more;
  }
  return axis;
}

Axis log_axis_at(std::string title, std::vector<double> values, const std::function<std::string(double)>& label) {
  values = counting(std::move(values), true);
  Axis axis = fitted_log_axis(std::move(title), values);
  values.erase(std::unique(values.begin(), values.end()), values.end());
  for (const double value : values) axis.ticks.push_back({value, label(value)});
  return axis;
}

}  // namespace dtrain::study::figures
