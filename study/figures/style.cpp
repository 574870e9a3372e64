#include "study/figures/style.h"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <utility>

#include "study/figures/markup.h"

namespace dtrain::study::figures {
namespace {

constexpr double kLegendFont = 12;
constexpr double kLegendLine = 17;
constexpr double kLegendSample = 26;

constexpr double kDot = 1.7;
constexpr double kRing = 7.6;

constexpr std::array kDashes = {"", "7 3", "2 2.5", "9 3 2 3", "4 3", "12 4", "6 2 2 2 2 2"};

constexpr std::size_t kMarkers = 7;

std::string polygon(double x, double y, double radius, int corners, double first_degrees, double stretch) {
  std::string points;
  for (int i = 0; i < corners; ++i) {
    const double angle = (first_degrees + 360.0 * i / corners) * 3.14159265358979 / 180;
    points += fmt::format("{}{},{}", i == 0 ? "" : " ", coordinate(x + stretch * radius * std::cos(angle)),
                          coordinate(y + stretch * radius * std::sin(angle)));
  }
  return points;
}

// Two strokes that cross.
std::string saltire(double x, double y, double radius) {
  return fmt::format("M{} {}L{} {}M{} {}L{} {}", coordinate(x - radius), coordinate(y - radius), coordinate(x + radius),
                     coordinate(y + radius), coordinate(x - radius), coordinate(y + radius), coordinate(x + radius),
                     coordinate(y - radius));
}

std::string dot_markup(double x, double y, bool crossed, const std::string& style_class, const std::string& content) {
  if (crossed)
    return fmt::format("<path d=\"{}\" class=\"cross {}\">{}</path>\n", saltire(x, y, 1.8 * kDot), style_class,
                       content);
  return fmt::format("<circle cx=\"{}\" cy=\"{}\" r=\"{}\" class=\"dot {}\">{}</circle>\n", coordinate(x),
                     coordinate(y), coordinate(kDot), style_class, content);
}

// A legend's sample of what is filled.
std::string box(double x, double y, const std::string& style_class) {
  return fmt::format("<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"10\" class=\"{}\"/>\n", coordinate(x + 4),
                     coordinate(y - 5), coordinate(kLegendSample - 8), style_class);
}

}  // namespace

std::string series_class(std::size_t series) { return fmt::format("series-{}", series % kColours); }

std::string dash_attribute(std::size_t series) {
  // The eighth series has the first one's marker, and other dashes: without colour, too, 49 are told apart.
  const char* dashes = kDashes[(series + series / kMarkers) % kDashes.size()];
  return *dashes == '\0' ? "" : fmt::format(" stroke-dasharray=\"{}\"", dashes);
}

std::string dot(std::size_t series, double x, double y, bool crossed, const std::string& title) {
  return dot_markup(x, y, crossed, series_class(series),
                    title.empty() ? "" : fmt::format("<title>{}</title>", escaped(title)));
}

std::string ring(double x, double y) {
  return fmt::format("<circle cx=\"{}\" cy=\"{}\" r=\"{}\" class=\"ring\"/>\n", coordinate(x), coordinate(y),
                     coordinate(kRing));
}

std::string strike(double x, double y) {
  return fmt::format("<path d=\"{}\" class=\"strike\"/>\n", saltire(x, y, 0.8 * kRing));
}

std::string marker(std::size_t series, double x, double y, double radius, bool hollow, const std::string& title) {
  const std::string rest = fmt::format(" class=\"marker{} {}\"", hollow ? " hollow" : "", series_class(series));
  const std::string content = title.empty() ? "" : fmt::format("<title>{}</title>", escaped(title));
  const auto shape = [&](const std::string& points) {
    return fmt::format("<polygon points=\"{}\"{}>{}</polygon>\n", points, rest, content);
  };
  switch (series % kMarkers) {
    case 0:
      return fmt::format("<circle cx=\"{}\" cy=\"{}\" r=\"{}\"{}>{}</circle>\n", coordinate(x), coordinate(y),
                         coordinate(radius), rest, content);
    case 1:
      return shape(polygon(x, y, radius, 4, 45, 1.25));  // a square
    case 2:
      return shape(polygon(x, y, radius, 3, -90, 1.35));  // a triangle
    case 3:
      return shape(polygon(x, y, radius, 4, 0, 1.35));  // a diamond
    case 4:
      return shape(polygon(x, y, radius, 3, 90, 1.35));  // a triangle upside down
    case 5:
      return shape(polygon(x, y, radius, 5, -90, 1.2));
    default: {
      // A plus sign.
      const double a = 1.2 * radius;
      const double b = 0.4 * radius;
      std::string points;
      const std::vector<std::pair<double, double>> corners = {{b, a},   {b, b},   {a, b},   {a, -b}, {b, -b}, {b, -a},
                                                              {-b, -a}, {-b, -b}, {-a, -b}, {-a, b}, {-b, b}, {-b, a}};
      for (const auto& [dx, dy] : corners) points += fmt::format("{},{} ", coordinate(x + dx), coordinate(y + dy));
      points.pop_back();
      return shape(points);
    }
  }
}

Legend legend(const std::vector<LegendEntry>& entries, double x, double y, double width) {
  Legend result;
  double at = x;
  double line = y + kLegendLine / 2;
  for (const LegendEntry& entry : entries) {
    const auto most = static_cast<std::size_t>((width - kLegendSample - 12) / text_width("n", kLegendFont));
    const std::string name = shortened(entry.name, most);
    const double size = kLegendSample + 6 + text_width(name, kLegendFont);
    if (at > x && at + size > x + width) {
      at = x;
      line += kLegendLine;
    }
    const double middle = at + kLegendSample / 2;
    switch (entry.kind) {
      case LegendEntry::Kind::line:
        result.markup +=
            fmt::format("<path d=\"M{} {}h{}\" class=\"line {}\"{}/>\n", coordinate(at), coordinate(line),
                        coordinate(kLegendSample), series_class(entry.series), dash_attribute(entry.series)) +
            marker(entry.series, middle, line, 3.6, false, "");
        break;
      case LegendEntry::Kind::marker:
        result.markup += marker(entry.series, middle, line, 4.5, false, "");
        break;
      case LegendEntry::Kind::level:
        result.markup += fmt::format("<path d=\"M{} {}h{}\" class=\"level\"/>\n", coordinate(at), coordinate(line),
                                     coordinate(kLegendSample));
        break;
      case LegendEntry::Kind::zone:
        result.markup += box(at, line, "zone");
        break;
      case LegendEntry::Kind::fill:
        result.markup += box(at, line, "bar " + series_class(entry.series));
        break;
      case LegendEntry::Kind::outline:
        result.markup += box(at, line, "bar search " + series_class(entry.series));
        break;
      case LegendEntry::Kind::hollow:
        result.markup += fmt::format("<circle cx=\"{}\" cy=\"{}\" r=\"4\" class=\"marker hollow plain\"/>\n",
                                     coordinate(middle), coordinate(line));
        break;
      case LegendEntry::Kind::ring:
        result.markup += ring(middle, line);
        break;
      case LegendEntry::Kind::strike:
        result.markup += strike(middle, line);
        break;
      case LegendEntry::Kind::dot:
      case LegendEntry::Kind::crossed_dot:
        result.markup += dot_markup(middle, line, entry.kind == LegendEntry::Kind::crossed_dot, "plain", "");
        break;
    }
    result.markup += fmt::format("<text x=\"{}\" y=\"{}\" class=\"legend\">{}</text>\n",
                                 coordinate(at + kLegendSample + 6), coordinate(line + 4), escaped(name));
    at += size + 16;
  }
  result.height = entries.empty() ? 0 : line + kLegendLine / 2 - y + 4;
  return result;
}

std::string svg_element(const std::string& id, const std::string& title, const std::string& description, double width,
                        double height, const std::string& content) {
  return fmt::format(
      "<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-labelledby=\"{}-title {}-desc\" class=\"figure\">\n"
      "<title id=\"{}-title\">{}</title>\n<desc id=\"{}-desc\">{}</desc>\n{}</svg>\n",
      coordinate(width), coordinate(height), id, id, id, escaped(title), id, escaped(description), content);
}

std::string style_rules() {
  std::string rules;
  for (std::size_t i = 0; i < kColours; ++i)
    rules += fmt::format("svg .series-{} {{ --series: var(--series-{}); }}\n", i, i);
  return rules + R"(svg.figure { display: block; width: 100%; height: auto; overflow: visible; }
svg.figure text { font: 11.5px system-ui, -apple-system, "Segoe UI", "Liberation Sans", "DejaVu Sans", sans-serif; fill: var(--ink); }
svg.figure .tick { fill: var(--muted); }
svg.figure .name, svg.figure .legend { font-size: 12px; }
svg.figure .grid { stroke: var(--grid); stroke-width: 1; fill: none; }
svg.figure .axis { stroke: var(--muted); stroke-width: 1; fill: none; }
svg.figure .level { stroke: var(--muted); stroke-width: 1.2; stroke-dasharray: 2 3; fill: none; }
svg.figure .zone { fill: var(--zone); stroke: var(--rule); stroke-width: .6; }
svg.figure .inside { font-size: 10.5px; fill: var(--page); pointer-events: none; }
svg.figure .inside.pale { fill: var(--ink); }
svg.figure .note { font-size: 10.5px; fill: var(--muted); }
svg.figure .line { stroke: var(--series); stroke-width: 2; fill: none; stroke-linejoin: round; }
svg.figure .choice { stroke: var(--series); stroke-width: 1.3; fill: none; }
svg.figure .thin { stroke-width: 1.3; }
svg.figure .band { fill: var(--series); fill-opacity: .14; stroke: none; }
svg.figure .error { stroke: var(--series); stroke-width: 1.5; fill: none; }
svg.figure .marker { fill: var(--series); stroke: var(--page); stroke-width: .8; }
svg.figure .hollow { fill: var(--page); stroke: var(--series); stroke-width: 1.6; }
svg.figure .dot { fill: var(--series); stroke: var(--page); stroke-width: .4; }
svg.figure .cross { fill: none; stroke: var(--series); stroke-width: 1.6; }
svg.figure .plain { --series: var(--muted); }
svg.figure .strike { fill: none; stroke: var(--ink); stroke-width: 1.4; }
svg.figure .ring { fill: none; stroke: var(--ink); stroke-width: 1.4; }
svg.figure .bar { fill: var(--series); stroke: var(--series); stroke-width: 1; }
svg.figure .search { fill-opacity: .22; }
svg.figure .halo { stroke: var(--page); stroke-width: 3; stroke-linejoin: round; paint-order: stroke; }
)";
}

}  // namespace dtrain::study::figures
