#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "study/figures/axis.h"
#include "study/figures/chart.h"

namespace dtrain::study::figures {

/// A row of a waterfall: a level, which is a point, or what leads from one level to another, which is a bar.
struct WaterfallRow {
  std::string name;
  /// The level, or where the bar ends; NaN: nothing is drawn.
  double to = 0;
  /// Where the bar begins; NaN: it is a level.
  double from = std::nan("");
  /// The interval of `to` (NaN: none).
  double low = std::nan("");
  double high = std::nan("");
  /// At the right, in words: "+3.1 (1.0 to 5.2)".
  std::string text = {};
  /// An outline: it says less than the others.
  bool hollow = false;
  /// The next row goes on from where this one ends: a line leads there.
  bool leads_on = false;
};

/// What makes a level of another one, step by step, each from where the last ended (a waterfall chart). A bar that goes
/// to the left is a loss.
struct Waterfall {
  std::string title;
  /// What the picture shows, for those who cannot see it; the numbers are added to it.
  std::string description;
  Axis x;
  std::vector<WaterfallRow> rows;
  /// Vertical lines.
  std::vector<Level> levels;
  MarkNames marks = {};
};

/// `id`: unique on its page. Bars and intervals end at the figure's frame. As wide as a page's wide figures.
std::string svg(const Waterfall& waterfall, const std::string& id);

}  // namespace dtrain::study::figures
