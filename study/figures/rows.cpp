#include "study/figures/rows.h"

#include <fmt/format.h>

#include <algorithm>

#include "study/figures/frame.h"
#include "study/figures/markup.h"
#include "study/figures/style.h"

namespace dtrain::study::figures {
namespace {

constexpr double kRowsWidth = 400;
constexpr double kRow = 24;
constexpr double kDenseRow = 17;
// From so many rows on they stand closer.
constexpr std::size_t kMany = 12;
constexpr double kWidestName = 164;
constexpr double kRowsFont = 12;

std::string rows_in_words(const RowChart& chart) {
  std::string text = chart.description;
  for (const Row& row : chart.rows)
    text += fmt::format(" {}: {}{}{}.", row.name, row.text.empty() ? fmt::format("{:.4g}", row.value) : row.text,
                        dots_in_words(row.dots, chart.marks),
                        row.hollow && !chart.marks.hollow.empty() ? fmt::format(" [{}]", chart.marks.hollow) : "");
  return text;
}

// What the rows stand before.
std::string vertical_marks(const RowChart& chart, const Frame& frame) {
  std::string text;
  for (const Zone& zone : chart.zones) {
    const double left = x_within(frame, chart.x, zone.low);
    text += fmt::format("<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" class=\"zone\"/>\n", coordinate(left),
                        coordinate(frame.top), coordinate(x_within(frame, chart.x, zone.high) - left),
                        coordinate(frame.height()));
  }
  text += x_axis(frame, chart.x);
  for (const Level& level : chart.levels) {
    if (!chart.x.holds(level.at)) continue;
    text += fmt::format("<path d=\"M{} {}V{}\" class=\"level\"/>\n", coordinate(frame.x(chart.x.position(level.at))),
                        coordinate(frame.bottom), coordinate(frame.top));
  }
  return text;
}

std::string row_markup(const RowChart& chart, const Frame& frame, const Row& row, double y, double height) {
  const std::string series = series_class(row.style);
  std::string text =
      fmt::format("<text x=\"{}\" y=\"{}\" class=\"name\" text-anchor=\"end\"><title>{}</title>{}</text>\n",
                  coordinate(frame.left - 8), coordinate(y + 4), escaped(row.name),
                  escaped(shortened(row.name, static_cast<std::size_t>(kWidestName / text_width("n", kRowsFont)))));
  if (!row.text.empty())
    text += fmt::format("<text x=\"{}\" y=\"{}\" class=\"tick\">{}</text>\n", coordinate(frame.right + 8),
                        coordinate(y + 4), escaped(row.text));
  if (!std::isfinite(row.value)) return text;
  const double x = x_within(frame, chart.x, row.value);
  if (chart.bars) {
    const double zero = x_within(frame, chart.x, 0);
    text += fmt::format("<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" class=\"bar search {}\"/>\n",
                        coordinate(std::min(x, zero)), coordinate(y - height * 0.34),
                        coordinate(std::max(std::abs(x - zero), 0.5)), coordinate(height * 0.68), series);
  }
  if (std::isfinite(row.low) && std::isfinite(row.high)) {
    const double low = x_within(frame, chart.x, row.low);
    const double high = x_within(frame, chart.x, row.high);
    text +=
        fmt::format("<path d=\"M{} {}H{}M{} {}v6M{} {}v6\" class=\"error {}\"/>\n", coordinate(low), coordinate(y),
                    coordinate(high), coordinate(low), coordinate(y - 3), coordinate(high), coordinate(y - 3), series);
  }
  for (const Dot& each : row.dots) {
    if (std::isfinite(each.value) && chart.x.holds(each.value))
      text += dot(row.style, frame.x(chart.x.position(each.value)), y + 0.32 * height, each.crossed,
                  fmt::format("{}, {}: {:.4g}", row.name, each.name, each.value));
  }
  return chart.bars ? text : text + marker(row.style, x, y, 4.2, row.hollow, fmt::format("{}: {}", row.name, row.text));
}

}  // namespace

std::string svg(const RowChart& chart, const std::string& id) {
  const double height = chart.rows.size() >= kMany ? kDenseRow : kRow;
  std::vector<LegendEntry> marks;
  for (const Level& level : chart.levels) {
    if (!level.name.empty()) marks.push_back({level.name, 0, LegendEntry::Kind::level});
  }
  for (const Zone& zone : chart.zones) marks.push_back({zone.name, 0, LegendEntry::Kind::zone});
  const auto mark = [&](const std::string& name, LegendEntry::Kind kind, auto occurs) {
    if (!name.empty() && std::any_of(chart.rows.begin(), chart.rows.end(), occurs)) marks.push_back({name, 0, kind});
  };
  mark(chart.marks.hollow, LegendEntry::Kind::hollow, [](const Row& row) { return row.hollow; });
  mark(chart.marks.dot, LegendEntry::Kind::dot, [](const Row& row) { return has_dot(row.dots, false); });
  mark(chart.marks.crossed_dot, LegendEntry::Kind::crossed_dot, [](const Row& row) { return has_dot(row.dots, true); });
  const Legend names = legend(marks, 2, 0, kRowsWidth - 4);
  Frame frame;
  frame.top = names.height + 4;
  frame.bottom = frame.top + 8 + height * static_cast<double>(chart.rows.size());
  frame.left = std::min(kWidestName, widest_text(chart.rows, &Row::name, kRowsFont)) + 14;
  const double texts = widest_text(chart.rows, &Row::text, kRowsFont);
  frame.right = kRowsWidth - (texts > 0 ? texts + 8 : 12);
  std::string content = names.markup + vertical_marks(chart, frame);
  double y = frame.top + 4 + height / 2;
  for (const Row& row : chart.rows) {
    content += row_markup(chart, frame, row, y, height);
    y += height;
  }
  return svg_element(id, chart.title, rows_in_words(chart), kRowsWidth, frame.bottom + kBelowAxis, content);
}

}  // namespace dtrain::study::figures
