#pragma once

#include <cmath>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "study/figures/axis.h"

namespace dtrain::study::figures {

/// One of the values that a mean is of: a small dot beside it.
struct Dot {
  double value = 0;
  /// A cross in place of the dot.
  bool crossed = false;
  /// "seed 3"
  std::string name = {};
};

/// What the marks of a figure stand for, in its legend and its description: only those that occur are named there.
struct MarkNames {
  std::string hollow = {};
  std::string chosen = {};
  std::string struck = {};
  std::string dot = {};
  std::string crossed_dot = {};
};

/// A measured point; `low` and `high` bound its interval (NaN: it has none). What is not finite is not drawn.
struct Point {
  double x = 0;
  double y = 0;
  double low = std::nan("");
  double high = std::nan("");
  /// Drawn as an outline: it says less than the others.
  bool hollow = false;
  /// Ringed: the one that was chosen.
  bool chosen = false;
  /// Struck out: the one that was given up.
  bool struck = false;
  /// Beside it.
  std::string note = {};
  std::vector<Dot> dots = {};
};

/// A place along x that was chosen where no point is.
struct Choice {
  double x = 0;
  /// Beside it.
  std::string note = {};
};

/// What belongs together, in the order of x. `style` tells it apart from others (style.h): the same number for the same
/// thing in every figure of a page.
struct Series {
  std::string name;
  std::size_t style = 0;
  std::vector<Point> points;
  /// Ringed over the frame, with a line down through it.
  std::optional<Choice> choice = {};
  enum class Spread { bars, band };
  /// How the intervals are drawn.
  Spread spread = Spread::bars;
  bool line = true;
  bool markers = true;
  /// Not where it belongs to another series.
  bool in_legend = true;
  /// A front: goes by steps, each at the later point, and in no series' colour.
  bool front = false;
};

/// A dotted line across the figure, with what it stands for.
struct Level {
  double at = 0;
  std::string name;
};
/// A shaded range of y.
struct Zone {
  double low = 0;
  double high = 0;
  std::string name;
};

/// Lines, bands and points with error bars over two axes. Error bars of several series at one x are drawn side by side.
struct Chart {
  std::string title;
  /// What the picture shows, for those who cannot see it; the numbers are added to it.
  std::string description;
  Axis x;
  Axis y;
  std::vector<Series> series;
  std::vector<Level> levels;
  std::vector<Zone> zones;
  MarkNames marks = {};
};

/// Whether one of them is crossed, or one is not.
bool has_dot(const std::vector<Dot>& dots, bool crossed);
/// " [each seed: 44.1, 45, 12 (collapsed)]"; empty for no dots.
std::string dots_in_words(const std::vector<Dot>& dots, const MarkNames& names);

/// `id`: unique on its page. Lines and intervals end at the figure's frame; points beyond it are not drawn.
std::string svg(const Chart& chart, const std::string& id);

}  // namespace dtrain::study::figures
