#pragma once

#include <functional>
#include <limits>
#include <string>
#include <vector>

namespace dtrain::study::figures {

/// Places between `low` and `high` that a person reads easily, about `wanted` of them, ascending: multiples of 1, 2 or
/// 5 times a power of ten (Heckbert, "Nice numbers for graph labels", Graphics Gems, 1990). `low` itself where the two
/// are equal. Throws std::invalid_argument for ends that are not finite, or the wrong way round.
std::vector<double> linear_ticks(double low, double high, int wanted);

/// The same for a logarithmic axis: powers of ten, or where those are few their multiples by 1 and 3, or 1, 2 and 5;
/// where the range has not even two of these, linear_ticks. Of more powers of ten than `wanted` every second, third,
/// ... Throws std::invalid_argument for ends that are not above zero.
std::vector<double> log_ticks(double low, double high, int wanted);

/// Each with as many digits after the point as the smallest step between them needs: "0.0", "0.5", "1.0".
std::vector<std::string> tick_labels(const std::vector<double>& ticks);

struct Tick {
  double at;
  std::string label;
};

/// From values to places along an edge of a figure.
struct Axis {
  std::string title;
  bool logarithmic = false;
  double low = 0;
  double high = 1;
  std::vector<Tick> ticks;

  /// 0 at the low end, 1 at the high end; outside of both for a value beyond them.
  double position(double value) const;
  bool holds(double value) const { return value >= low && value <= high; }
};

/// What an axis must not go beyond, whatever its values.
struct Limits {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
};

/// An axis around the values, with a twentieth of their range to spare on both sides. Values that are not finite count
/// for nothing; without any, from 0 to 1.
Axis linear_axis(std::string title, const std::vector<double>& values, Limits limits = {}, int wanted = 6);

/// The same on a logarithmic scale. Values that are not above zero count for nothing; without any, from 1 to 10.
Axis log_axis(std::string title, const std::vector<double>& values, const std::function<std::string(double)>& label,
              int wanted = 6);

/// The axis with so much of its range more on both sides, whatever lies there; its ticks as they are.
Axis widened(Axis axis, double share);

/// A logarithmic axis whose ticks are the values themselves, each once.
Axis log_axis_at(std::string title, std::vector<double> values, const std::function<std::string(double)>& label);

}  // namespace dtrain::study::figures
