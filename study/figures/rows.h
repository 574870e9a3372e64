#pragma once

#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "study/figures/axis.h"
#include "study/figures/chart.h"

namespace dtrain::study::figures {

/// A named value with its interval (NaN: none).
struct Row {
  std::string name;
  std::size_t style = 0;
  double value = 0;
  double low = std::nan("");
  double high = std::nan("");
  /// At the right, in words: "+3.1 (1.0 to 5.2)".
  std::string text = {};
  /// Its marker is an outline: it says less than the others.
  bool hollow = false;
  /// Under it.
  std::vector<Dot> dots = {};
};

/// Values one under the other: points with error bars, or bars from zero to both sides, over one axis.
struct RowChart {
  std::string title;
  /// What the picture shows, for those who cannot see it; the numbers are added to it.
  std::string description;
  Axis x;
  std::vector<Row> rows;
  bool bars = false;
  /// Vertical lines and shaded ranges of x.
  std::vector<Level> levels;
  std::vector<Zone> zones;
  MarkNames marks = {};
};

/// `id`: unique on its page. Intervals end at the figure's frame.
std::string svg(const RowChart& chart, const std::string& id);

}  // namespace dtrain::study::figures
