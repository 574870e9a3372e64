#include "study/figures/chart.h"

#include <fmt/format.h>

#include <algorithm>

#include "study/figures/frame.h"
#include "study/figures/markup.h"
#include "study/figures/style.h"

namespace dtrain::study::figures {
namespace {

constexpr double kChartWidth = 400;
constexpr double kPlotHeight = 200;
constexpr double kRadius = 3.8;
// Between the error bars of two series at one x.
constexpr double kBeside = 5;

bool is_drawn(const Point& point) { return std::isfinite(point.x) && std::isfinite(point.y); }
bool has_interval(const Point& point) { return std::isfinite(point.low) && std::isfinite(point.high); }

std::string number(double value) { return fmt::format("{:.4g}", value); }

// The numbers, for those who cannot see the picture.
std::string chart_in_words(const Chart& chart) {
  std::string text = chart.description;
  for (const Series& series : chart.series) {
    if (!series.in_legend) continue;
    text += fmt::format(" {}:", series.name);
    for (const Point& point : series.points) {
      if (!is_drawn(point)) continue;
      text += fmt::format(" {} at {}", number(point.y), number(point.x));
      if (has_interval(point)) text += fmt::format(" ({} to {})", number(point.low), number(point.high));
      if (!point.note.empty()) text += fmt::format(" [{}]", point.note);
      text += point.chosen ? " [chosen]," : ",";
    }
    text.back() = '.';
  }
  return text;
}

class Drawing {
 public:
  Drawing(const Chart& chart, const Frame& frame, const std::string& id)
      : chart_(chart), frame_(frame), clip_(id + "-clip") {}

  std::string draw() {
    std::string text = fmt::format(
        "<clipPath id=\"{}\"><rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/></clipPath>\n", clip_,
        coordinate(frame_.left), coordinate(frame_.top), coordinate(frame_.width()), coordinate(frame_.height()));
    for (const Zone& zone : chart_.zones) text += zone_markup(zone);
    text += y_axis(frame_, chart_.y) + x_axis(frame_, chart_.x);
    for (const Level& level : chart_.levels) text += level_markup(level);
    text += fmt::format("<g clip-path=\"url(#{})\">\n", clip_);
    for (const Series& series : chart_.series) {
      if (series.spread == Series::Spread::band) text += band(series);
    }
    for (std::size_t i = 0; i < chart_.series.size(); ++i) {
      if (chart_.series[i].spread == Series::Spread::bars) text += error_bars(i);
      if (chart_.series[i].line) text += line(i);
    }
    text += "</g>\n";
    for (std::size_t i = 0; i < chart_.series.size(); ++i) text += points(i);
    return text;
  }

 private:
  double x_of(std::size_t series, double x) const { return frame_.x(chart_.x.position(x)) + shift(series); }
  double y_of(double y) const { return frame_.y(chart_.y.position(y)); }

  // Series with error bars stand side by side, or they would hide each other.
  double shift(std::size_t series) const {
    std::vector<std::size_t> with_bars;
    for (std::size_t i = 0; i < chart_.series.size(); ++i) {
      const Series& other = chart_.series[i];
      if (other.line && other.spread == Series::Spread::bars &&
          std::any_of(other.points.begin(), other.points.end(), has_interval))
        with_bars.push_back(i);
    }
    const auto found = std::find(with_bars.begin(), with_bars.end(), series);
    if (found == with_bars.end()) return 0;
    return kBeside * (static_cast<double>(found - with_bars.begin()) - (static_cast<double>(with_bars.size()) - 1) / 2);
  }

  std::string zone_markup(const Zone& zone) const {
    const double top = y_of(std::min(zone.high, chart_.y.high));
    const double bottom = y_of(std::max(zone.low, chart_.y.low));
    if (!(bottom > top)) return "";
    return fmt::format("<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" class=\"zone\"/>\n", coordinate(frame_.left),
                       coordinate(top), coordinate(frame_.width()), coordinate(bottom - top));
  }

  std::string level_markup(const Level& level) const {
    if (!chart_.y.holds(level.at)) return "";
    const double y = y_of(level.at);
    return fmt::format("<path d=\"M{} {}H{}\" class=\"level\"/>\n", coordinate(frame_.left), coordinate(y),
                       coordinate(frame_.right));
  }

  // Between the low ends and the high ends; only points that have both.
  std::string band(const Series& series) const {
    std::string there;
    std::string back;
    for (const Point& point : series.points) {
      if (!is_drawn(point) || !has_interval(point)) continue;
      const std::string x = coordinate(frame_.x(chart_.x.position(point.x)));
      there += fmt::format("{}{} {}", there.empty() ? "M" : "L", x, coordinate(y_of(point.high)));
      back.insert(0, fmt::format("L{} {}", x, coordinate(y_of(point.low))));
    }
    if (there.empty()) return "";
    return fmt::format("<path d=\"{}{}Z\" class=\"band {}\"/>\n", there, back, series_class(series.style));
  }

  std::string line(std::size_t index) const {
    const Series& series = chart_.series[index];
    std::string path;
    double last = 0;
    for (const Point& point : series.points) {
      if (!is_drawn(point)) continue;
      const double x = x_of(index, point.x);
      const double y = y_of(point.y);
      if (path.empty()) {
        path = fmt::format("M{} {}", coordinate(x), coordinate(y));
      } else {
        if (series.front) path += fmt::format("L{} {}", coordinate(x), coordinate(last));
        path += fmt::format("L{} {}", coordinate(x), coordinate(y));
      }
      last = y;
    }
    if (path.find('L') == std::string::npos) return "";
    if (series.front) return fmt::format("<path d=\"{}\" class=\"level\"/>\n", path);
    return fmt::format("<path d=\"{}\" class=\"line {}\"{}/>\n", path, series_class(series.style),
                       dash_attribute(series.style));
  }

  std::string error_bars(std::size_t index) const {
    const Series& series = chart_.series[index];
    std::string path;
    for (const Point& point : series.points) {
      if (!is_drawn(point) || !has_interval(point)) continue;
      const double x = x_of(index, point.x);
      path += fmt::format("M{} {}V{}M{} {}h6M{} {}h6", coordinate(x), coordinate(y_of(point.low)),
                          coordinate(y_of(point.high)), coordinate(x - 3), coordinate(y_of(point.low)),
                          coordinate(x - 3), coordinate(y_of(point.high)));
    }
    return path.empty() ? "" : fmt::format("<path d=\"{}\" class=\"error {}\"/>\n", path, series_class(series.style));
  }

  std::string points(std::size_t index) const {
    const Series& series = chart_.series[index];
    std::string text;
    for (const Point& point : series.points) {
      if (!is_drawn(point) || !chart_.x.holds(point.x) || !chart_.y.holds(point.y)) continue;
      const double x = x_of(index, point.x);
      const double y = y_of(point.y);
      if (series.markers || point.chosen) {
        const std::string interval =
            has_interval(point) ? fmt::format(" ({} to {})", number(point.low), number(point.high)) : "";
        text += marker(series.style, x, y, kRadius, point.hollow,
                       fmt::format("{}: {}{} at {}", series.name, number(point.y), interval, number(point.x)));
      }
      if (point.chosen)
        text += fmt::format("<circle cx=\"{}\" cy=\"{}\" r=\"{}\" class=\"ring\"/>\n", coordinate(x), coordinate(y),
                            coordinate(2 * kRadius));
      if (!point.note.empty()) {
        const bool left = x > frame_.left + 0.7 * frame_.width();
        text += fmt::format("<text x=\"{}\" y=\"{}\" class=\"note halo\"{}>{}</text>\n",
                            coordinate(left ? x - 2.6 * kRadius : x + 2.6 * kRadius), coordinate(y - 5),
                            left ? " text-anchor=\"end\"" : "", escaped(point.note));
      }
    }
    return text;
  }

  const Chart& chart_;
  const Frame& frame_;
  std::string clip_;
};

}  // namespace

std::string svg(const Chart& chart, const std::string& id) {
  std::vector<LegendEntry> entries;
  for (const Series& series : chart.series) {
    if (!series.in_legend) continue;
    entries.push_back({series.name, series.style, series.line ? LegendEntry::Kind::line : LegendEntry::Kind::marker});
  }
  for (const Level& level : chart.levels) entries.push_back({level.name, 0, LegendEntry::Kind::level});
  for (const Zone& zone : chart.zones) entries.push_back({zone.name, 0, LegendEntry::Kind::zone});
  const Legend names = legend(entries, 2, 0, kChartWidth - 4);
  Frame frame;
  frame.top = names.height + 24;  // the y axis' title
  frame.bottom = frame.top + kPlotHeight;
  frame.left = y_labels_width(chart.y) + 8;
  frame.right = kChartWidth - 12;
  const std::string content = names.markup + Drawing(chart, frame, id).draw();
  return svg_element(id, chart.title, chart_in_words(chart), kChartWidth, frame.bottom + kBelowAxis, content);
}

}  // namespace dtrain::study::figures
