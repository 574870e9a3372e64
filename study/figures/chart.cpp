#include "study/figures/chart.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>
#include <set>
#include <utility>

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
// The same where each has its dots to the right of its bar.
constexpr double kBesideWithDots = 10.5;
// A row of choices over the frame.
constexpr double kChoiceRow = 19;
constexpr double kNoteFont = 10.5;

bool is_drawn(const Point& point) { return std::isfinite(point.x) && std::isfinite(point.y); }
bool has_interval(const Point& point) { return std::isfinite(point.low) && std::isfinite(point.high); }

std::string number(double value) { return fmt::format("{:.4g}", value); }

// The numbers, for those who cannot see the picture.
std::string chart_in_words(const Chart& chart) {
  std::string text = chart.description;
  for (const Series& series : chart.series) {
    if (series.front) continue;
    text += fmt::format(" {}:", series.name);
    for (const Point& point : series.points) {
      if (!is_drawn(point)) continue;
      text += fmt::format(" {} at {}", number(point.y), number(point.x));
      if (has_interval(point)) text += fmt::format(" ({} to {})", number(point.low), number(point.high));
      text += dots_in_words(point.dots, chart.marks);
      for (const auto& [is_marked, name] :
           {std::pair(!point.note.empty(), point.note), std::pair(point.chosen, chart.marks.chosen),
            std::pair(point.struck, chart.marks.struck), std::pair(point.hollow, chart.marks.hollow)}) {
        if (is_marked && !name.empty()) text += fmt::format(" [{}]", name);
      }
      text += ",";
    }
    if (series.choice) {
      text += fmt::format(" {}: {}, where no point is", chart.marks.chosen, number(series.choice->x));
      text += series.choice->note.empty() ? "," : fmt::format(" [{}],", series.choice->note);
    }
    text.back() = '.';
  }
  return text;
}

// Series with error bars stand side by side, or they would hide each other.
struct SideBySide {
  /// Which of all series.
  std::vector<std::size_t> members;
  /// From one to the next.
  double pitch = 0;
  /// From a bar to its dots.
  double to_dots = 0;

  double half_width() const {
    return members.size() < 2 && to_dots == 0
               ? 0
               : pitch * (static_cast<double>(members.size()) - 1) / 2 + to_dots + kRadius;
  }
};

SideBySide side_by_side(const Chart& chart, double width) {
  SideBySide result;
  std::set<double> places;
  bool has_dots = false;
  for (std::size_t i = 0; i < chart.series.size(); ++i) {
    const Series& series = chart.series[i];
    if (!series.line || series.spread != Series::Spread::bars ||
        std::none_of(series.points.begin(), series.points.end(), has_interval))
      continue;
    result.members.push_back(i);
    for (const Point& point : series.points) {
      if (is_drawn(point)) places.insert(chart.x.position(point.x));
      has_dots |= !point.dots.empty();
    }
  }
  if (result.members.empty()) return result;
  result.pitch = has_dots ? kBesideWithDots : kBeside;
  // Groups do not run into each other, with half a group's room at either end.
  const auto count = static_cast<double>(result.members.size());
  for (auto place = places.begin(); place != places.end() && std::next(place) != places.end(); ++place) {
    const double gap = 0.9 * (*std::next(place) - *place) / (*places.rbegin() - *places.begin());
    result.pitch = std::min(result.pitch, width * gap / (1 + gap) / count);
  }
  if (has_dots) result.to_dots = 0.45 * result.pitch;
  return result;
}

// Where a series' choice stands over the frame.
struct ChoicePlace {
  /// Which of all series.
  std::size_t series = 0;
  double x = 0;
  /// From the frame upwards.
  std::size_t row = 0;
  /// Its note is at the left of it.
  bool note_left = false;
  /// What it takes of its row.
  double left = 0;
  double right = 0;
};

// None hides another.
std::vector<ChoicePlace> choice_places(const Chart& chart, const Frame& frame) {
  std::vector<ChoicePlace> places;
  for (std::size_t i = 0; i < chart.series.size(); ++i) {
    const auto& choice = chart.series[i].choice;
    if (!choice || !chart.x.holds(choice->x)) continue;
    ChoicePlace place;
    place.series = i;
    place.x = frame.x(chart.x.position(choice->x));
    const double note = choice->note.empty() ? 0 : text_width(choice->note, kNoteFont) + 6;
    place.note_left = place.x + 0.5 * kChoiceRow + note > frame.right;
    place.left = place.x - 0.5 * kChoiceRow - (place.note_left ? note : 0);
    place.right = place.x + 0.5 * kChoiceRow + (place.note_left ? 0 : note);
    const auto is_taken = [&](const ChoicePlace& other) {
      return other.row == place.row && other.left < place.right && place.left < other.right;
    };
    while (std::any_of(places.begin(), places.end(), is_taken)) ++place.row;
    places.push_back(place);
  }
  return places;
}

// The room that they take over the frame.
double choices_height(const std::vector<ChoicePlace>& places) {
  std::size_t rows = 0;
  for (const ChoicePlace& place : places) rows = std::max(rows, place.row + 1);
  return kChoiceRow * static_cast<double>(rows);
}

// The axis with room for the groups at its ends.
Axis with_room(const Chart& chart, const SideBySide& group, double width) {
  double first = 1;
  double last = 0;
  for (const std::size_t i : group.members) {
    for (const Point& point : chart.series[i].points) {
      if (!is_drawn(point)) continue;
      first = std::min(first, chart.x.position(point.x));
      last = std::max(last, chart.x.position(point.x));
    }
  }
  const double wanted = std::min(0.4, group.half_width() / width);
  const double missing = wanted - std::min(first, 1 - last);
  return missing > 0 && first <= last ? widened(chart.x, missing / (1 - 2 * wanted)) : chart.x;
}

class Drawing {
 public:
  /// `chart` and `frame` must outlive it.
  Drawing(const Chart& chart, const Frame& frame, const std::string& id, SideBySide group,
          std::vector<ChoicePlace> choices)
      : chart_(chart), frame_(frame), clip_(id + "-clip"), group_(std::move(group)), choices_(std::move(choices)) {}

  std::string draw() {
    std::string text = fmt::format(
        "<clipPath id=\"{}\"><rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/></clipPath>\n", clip_,
        coordinate(frame_.left), coordinate(frame_.top), coordinate(frame_.width()), coordinate(frame_.height()));
    for (const Zone& zone : chart_.zones) text += zone_markup(zone);
    text += y_axis(frame_, chart_.y, choices_height(choices_)) + x_axis(frame_, chart_.x);
    for (const Level& level : chart_.levels) text += level_markup(level);
    for (const ChoicePlace& place : choices_) text += choice_line(place);
    for (const ChoicePlace& place : choices_) text += choice_mark(place);
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

  double shift(std::size_t series) const {
    const auto found = std::find(group_.members.begin(), group_.members.end(), series);
    if (found == group_.members.end()) return 0;
    const auto place = static_cast<double>(found - group_.members.begin());
    return group_.pitch * (place - (static_cast<double>(group_.members.size()) - 1) / 2);
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

  double choice_y(const ChoicePlace& place) const {
    return frame_.top - (static_cast<double>(place.row) + 0.5) * kChoiceRow;
  }

  std::string choice_line(const ChoicePlace& place) const {
    const std::size_t style = chart_.series[place.series].style;
    return fmt::format("<path d=\"M{} {}V{}\" class=\"choice {}\"{}/>\n", coordinate(place.x),
                       coordinate(choice_y(place)), coordinate(frame_.bottom), series_class(style),
                       dash_attribute(style));
  }

  std::string choice_mark(const ChoicePlace& place) const {
    const Series& series = chart_.series[place.series];
    const Choice& choice = *series.choice;
    const double y = choice_y(place);
    std::string text = marker(series.style, place.x, y, kRadius, false,
                              fmt::format("{}: {}, {}", series.name, chart_.marks.chosen, number(choice.x))) +
                       ring(place.x, y);
    if (!choice.note.empty())
      text += note(place.x + (place.note_left ? -0.5 : 0.5) * kChoiceRow, y + 3.5, place.note_left, choice.note);
    return text;
  }

  // Ends, or begins, at x.
  static std::string note(double x, double y, bool ends, const std::string& text) {
    return fmt::format("<text x=\"{}\" y=\"{}\" class=\"note halo\"{}>{}</text>\n", coordinate(x), coordinate(y),
                       ends ? " text-anchor=\"end\"" : "", escaped(text));
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
      if (!is_drawn(point) || !chart_.x.holds(point.x)) continue;
      const double x = x_of(index, point.x);
      for (const Dot& each : point.dots) {
        if (std::isfinite(each.value) && chart_.y.holds(each.value))
          text += dot(series.style, x + group_.to_dots, y_of(each.value), each.crossed,
                      fmt::format("{}, {}: {}", series.name, each.name, number(each.value)));
      }
      if (!chart_.y.holds(point.y)) continue;
      const double y = y_of(point.y);
      if (series.markers || point.chosen) {
        const std::string interval =
            has_interval(point) ? fmt::format(" ({} to {})", number(point.low), number(point.high)) : "";
        text += marker(series.style, x, y, kRadius, point.hollow,
                       fmt::format("{}: {}{} at {}", series.name, number(point.y), interval, number(point.x)));
      }
      if (point.chosen) text += ring(x, y);
      if (point.struck) text += strike(x, y);
      if (!point.note.empty()) {
        const bool left = x > frame_.left + 0.7 * frame_.width();
        text += note(left ? x - 2.6 * kRadius : x + 2.6 * kRadius, y - 5, left, point.note);
      }
    }
    return text;
  }

  const Chart& chart_;
  const Frame& frame_;
  std::string clip_;
  SideBySide group_;
  std::vector<ChoicePlace> choices_;
};

// What its points are marked with, as far as it has a name.
std::vector<LegendEntry> mark_entries(const Chart& chart) {
  std::vector<LegendEntry> entries;
  const auto add = [&](const std::string& name, LegendEntry::Kind kind, auto occurs, bool is_there = false) {
    const bool any = is_there || std::any_of(chart.series.begin(), chart.series.end(), [&](const Series& series) {
                       return std::any_of(series.points.begin(), series.points.end(), occurs);
                     });
    if (any && !name.empty()) entries.push_back({name, 0, kind});
  };
  const bool any_choice = std::any_of(chart.series.begin(), chart.series.end(),
                                      [](const Series& series) { return series.choice.has_value(); });
  add(chart.marks.hollow, LegendEntry::Kind::hollow, [](const Point& point) { return point.hollow; });
  add(
      chart.marks.chosen, LegendEntry::Kind::ring, [](const Point& point) { return point.chosen; }, any_choice);
  add(chart.marks.struck, LegendEntry::Kind::strike, [](const Point& point) { return point.struck; });
  add(chart.marks.dot, LegendEntry::Kind::dot, [](const Point& point) { return has_dot(point.dots, false); });
  add(chart.marks.crossed_dot, LegendEntry::Kind::crossed_dot,
      [](const Point& point) { return has_dot(point.dots, true); });
  return entries;
}

}  // namespace

bool has_dot(const std::vector<Dot>& dots, bool crossed) {
  return std::any_of(dots.begin(), dots.end(), [&](const Dot& each) { return each.crossed == crossed; });
}

std::string dots_in_words(const std::vector<Dot>& dots, const MarkNames& names) {
  std::vector<std::string> values;
  for (const Dot& each : dots) {
    if (std::isfinite(each.value))
      values.push_back(number(each.value) + (each.crossed ? fmt::format(" ({})", names.crossed_dot) : ""));
  }
  return values.empty() ? "" : fmt::format(" [{}: {}]", names.dot, fmt::join(values, ", "));
}

std::string svg(const Chart& chart, const std::string& id) {
  std::vector<LegendEntry> entries;
  for (const Series& series : chart.series) {
    if (!series.in_legend) continue;
    entries.push_back({series.name, series.style, series.line ? LegendEntry::Kind::line : LegendEntry::Kind::marker});
  }
  for (const Level& level : chart.levels) entries.push_back({level.name, 0, LegendEntry::Kind::level});
  for (const Zone& zone : chart.zones) entries.push_back({zone.name, 0, LegendEntry::Kind::zone});
  const auto marks = mark_entries(chart);
  entries.insert(entries.end(), marks.begin(), marks.end());
  const Legend names = legend(entries, 2, 0, kChartWidth - 4);
  Frame frame;
  frame.left = y_labels_width(chart.y) + 8;
  frame.right = kChartWidth - 12;
  const SideBySide group = side_by_side(chart, frame.width());
  Chart drawn = chart;
  drawn.x = with_room(chart, group, frame.width());
  const auto choices = choice_places(drawn, frame);
  frame.top = names.height + 24 + choices_height(choices);  // under the y axis' title
  frame.bottom = frame.top + kPlotHeight;
  const std::string content = names.markup + Drawing(drawn, frame, id, group, choices).draw();
  return svg_element(id, chart.title, chart_in_words(chart), kChartWidth, frame.bottom + kBelowAxis, content);
}

}  // namespace dtrain::study::figures
