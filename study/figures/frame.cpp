#include "study/figures/frame.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "study/figures/markup.h"

namespace dtrain::study::figures {
namespace {

constexpr double kTickFont = 11.5;

}  // namespace

std::string x_axis(const Frame& frame, const Axis& axis) {
  std::string grid;
  std::string labels;
  double taken = -std::numeric_limits<double>::infinity();
  for (const Tick& tick : axis.ticks) {
    if (!axis.holds(tick.at)) continue;
    const double x = frame.x(axis.position(tick.at));
    grid += fmt::format("M{} {}V{}", coordinate(x), coordinate(frame.bottom), coordinate(frame.top));
    const double half = text_width(tick.label, kTickFont) / 2;
    if (x - half < taken) continue;
    taken = x + half + 6;
    labels += fmt::format("<text x=\"{}\" y=\"{}\" class=\"tick\" text-anchor=\"middle\">{}</text>\n", coordinate(x),
                          coordinate(frame.bottom + 15), escaped(tick.label));
  }
  return fmt::format(
      "<path d=\"{}\" class=\"grid\"/>\n<path d=\"M{} {}H{}\" class=\"axis\"/>\n{}"
      "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n",
      grid, coordinate(frame.left), coordinate(frame.bottom), coordinate(frame.right), labels,
      coordinate((frame.left + frame.right) / 2), coordinate(frame.bottom + 32), escaped(axis.title));
}

std::string y_axis(const Frame& frame, const Axis& axis, double between) {
  std::string grid;
  std::string labels;
  for (const Tick& tick : axis.ticks) {
    if (!axis.holds(tick.at)) continue;
    const double y = frame.y(axis.position(tick.at));
    grid += fmt::format("M{} {}H{}", coordinate(frame.left), coordinate(y), coordinate(frame.right));
    labels += fmt::format("<text x=\"{}\" y=\"{}\" class=\"tick\" text-anchor=\"end\">{}</text>\n",
                          coordinate(frame.left - 6), coordinate(y + 4), escaped(tick.label));
  }
  return fmt::format("<path d=\"{}\" class=\"grid\"/>\n{}<text x=\"2\" y=\"{}\">{}</text>\n", grid, labels,
                     coordinate(frame.top - between - 9), escaped(axis.title));
}

double y_labels_width(const Axis& axis) {
  double widest = 0;
  for (const Tick& tick : axis.ticks) widest = std::max(widest, text_width(tick.label, kTickFont));
  return widest + 6;
}

}  // namespace dtrain::study::figures
