#include "study/figures/waterfall.h"

#include <fmt/format.h>

#include <algorithm>

#include "study/figures/frame.h"
#include "study/figures/markup.h"
#include "study/figures/style.h"

namespace dtrain::study::figures {
namespace {

constexpr double kFallWidth = 620;
constexpr double kFallRow = 24;
constexpr double kFallFont = 12;
constexpr double kWidestStep = 200;
// Of a bar, from the middle of its row.
constexpr double kHalfBar = 8;

bool is_level(const WaterfallRow& row) { return !std::isfinite(row.from); }

std::string waterfall_in_words(const Waterfall& waterfall) {
  std::string text = waterfall.description;
  for (const WaterfallRow& row : waterfall.rows) {
    text +=
        fmt::format(" {}: {}{}.", row.name, row.text.empty() ? fmt::format("{:.4g}", row.to) : row.text,
                    row.hollow && !waterfall.marks.hollow.empty() ? fmt::format(" [{}]", waterfall.marks.hollow) : "");
  }
  return text;
}

std::string texts_of(const WaterfallRow& row, const Frame& frame, double y) {
  const auto most = static_cast<std::size_t>(kWidestStep / text_width("n", kFallFont));
  return fmt::format(
      "<text x=\"{}\" y=\"{}\" class=\"name\" text-anchor=\"end\"><title>{}</title>{}</text>\n"
      "<text x=\"{}\" y=\"{}\" class=\"tick\">{}</text>\n",
      coordinate(frame.left - 8), coordinate(y + 4), escaped(row.name), escaped(shortened(row.name, most)),
      coordinate(frame.right + 8), coordinate(y + 4), escaped(row.text));
}

std::string bar_of(const Waterfall& waterfall, const WaterfallRow& row, const Frame& frame, double y) {
  const double begin = x_within(frame, waterfall.x, row.from);
  const double end = x_within(frame, waterfall.x, row.to);
  // Without colour a loss is told by its sign and by where the lines lead.
  const std::string series = series_class(row.to < row.from ? 1 : 0);
  return fmt::format(
      "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" class=\"{} {}\"><title>{}: {}</title></rect>\n",
      coordinate(std::min(begin, end)), coordinate(y - kHalfBar), coordinate(std::max(std::abs(end - begin), 0.5)),
      coordinate(2 * kHalfBar), row.hollow ? "hollow" : "bar search", series, escaped(row.name), escaped(row.text));
}

std::string interval_of(const Waterfall& waterfall, const WaterfallRow& row, const Frame& frame, double y) {
  if (!std::isfinite(row.low) || !std::isfinite(row.high)) return "";
  const double low = x_within(frame, waterfall.x, row.low);
  const double high = x_within(frame, waterfall.x, row.high);
  return fmt::format("<path d=\"M{} {}H{}M{} {}v6M{} {}v6\" class=\"error {}\"/>\n", coordinate(low), coordinate(y),
                     coordinate(high), coordinate(low), coordinate(y - 3), coordinate(high), coordinate(y - 3),
                     series_class(!is_level(row) && row.to < row.from ? 1 : 0));
}

std::string row_of(const Waterfall& waterfall, const WaterfallRow& row, const Frame& frame, double y) {
  std::string text = texts_of(row, frame, y);
  if (!std::isfinite(row.to)) return text;
  if (row.leads_on) {
    text += fmt::format("<path d=\"M{} {}v{}\" class=\"axis\"/>\n", coordinate(x_within(frame, waterfall.x, row.to)),
                        coordinate(y), coordinate(kFallRow));
  }
  if (!is_level(row)) return text + bar_of(waterfall, row, frame, y) + interval_of(waterfall, row, frame, y);
  return text + interval_of(waterfall, row, frame, y) +
         marker(0, x_within(frame, waterfall.x, row.to), y, 4.6, row.hollow, fmt::format("{}: {}", row.name, row.text));
}

}  // namespace

std::string svg(const Waterfall& waterfall, const std::string& id) {
  std::vector<LegendEntry> marks;
  for (const Level& level : waterfall.levels) marks.push_back({level.name, 0, LegendEntry::Kind::level});
  const bool any_hollow =
      std::any_of(waterfall.rows.begin(), waterfall.rows.end(), [](const WaterfallRow& row) { return row.hollow; });
  if (any_hollow && !waterfall.marks.hollow.empty())
    marks.push_back({waterfall.marks.hollow, 0, LegendEntry::Kind::hollow});
  const Legend names = legend(marks, 2, 0, kFallWidth - 4);
  Frame frame;
  frame.top = names.height + 4;
  frame.bottom = frame.top + 8 + kFallRow * static_cast<double>(waterfall.rows.size());
  frame.left = std::min(kWidestStep, widest_text(waterfall.rows, &WaterfallRow::name, kFallFont)) + 14;
  frame.right = kFallWidth - widest_text(waterfall.rows, &WaterfallRow::text, kFallFont) - 12;
  std::string content = names.markup + x_axis(frame, waterfall.x);
  for (const Level& level : waterfall.levels) {
    if (!waterfall.x.holds(level.at)) continue;
    content +=
        fmt::format("<path d=\"M{} {}V{}\" class=\"level\"/>\n", coordinate(x_within(frame, waterfall.x, level.at)),
                    coordinate(frame.bottom), coordinate(frame.top));
  }
  double y = frame.top + 4 + kFallRow / 2;
  for (const WaterfallRow& row : waterfall.rows) {
    content += row_of(waterfall, row, frame, y);
    y += kFallRow;
  }
  return svg_element(id, waterfall.title, waterfall_in_words(waterfall), kFallWidth, frame.bottom + kBelowAxis,
                     content);
}

}  // namespace dtrain::study::figures
