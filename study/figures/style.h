#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace dtrain::study::figures {

/// What tells the series of a figure apart: a colour, and without colour the marker and the dashes. The colours are the
/// page's (CSS variables --series-0 to --series-7).
inline constexpr std::size_t kColours = 8;

/// class attribute of a series: "series-3".
std::string series_class(std::size_t series);
/// stroke-dasharray attribute, with a leading space; empty for the first, which is solid.
std::string dash_attribute(std::size_t series);
/// A marker of the series' shape and of about `radius`, around (x, y), filled; hollow: its outline alone. `title` is
/// what a pointer over it shows (may be empty).
std::string marker(std::size_t series, double x, double y, double radius, bool hollow, const std::string& title);

/// A small dot in the series' colour, or a cross.
std::string dot(std::size_t series, double x, double y, bool crossed, const std::string& title);
/// The ring around what was chosen, and the strokes through what was given up.
std::string ring(double x, double y);
std::string strike(double x, double y);

/// An entry of a legend. From `hollow` on they are of no series.
struct LegendEntry {
  enum class Kind { line, marker, fill, outline, level, zone, hollow, ring, strike, dot, crossed_dot };
  std::string name;
  std::size_t series = 0;
  Kind kind = Kind::line;
};

/// Entries in lines that are no wider than `width`, from (x, y) on.
struct Legend {
  std::string markup;
  double height = 0;
};
Legend legend(const std::vector<LegendEntry>& entries, double x, double y, double width);

/// The figure's element: it fills the width it is given, up to the page's limit, and says in <title> and <desc> what it
/// shows. `id` must be the page's only one of that name.
std::string svg_element(const std::string& id, const std::string& title, const std::string& description, double width,
                        double height, const std::string& content);

/// The rules of the figures' classes, for the page's style sheet.
std::string style_rules();

}  // namespace dtrain::study::figures
