#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "study/figures/axis.h"
#include "study/figures/markup.h"

namespace dtrain::study::figures {

/// The rectangle that a figure's axes enclose, in user units; y grows downwards.
struct Frame {
  double left = 0;
  double right = 0;
  double top = 0;
  double bottom = 0;

  double width() const { return right - left; }
  double height() const { return bottom - top; }
  /// From a place along an axis (Axis::position).
  double x(double position) const { return left + position * width(); }
  double y(double position) const { return bottom - position * height(); }
};

/// A value's place along the axis under a frame, as far as the frame goes.
inline double x_within(const Frame& frame, const Axis& axis, double value) {
  return std::clamp(frame.x(axis.position(value)), frame.left, frame.right);
}

/// The room that the longest of a text of each row needs at a font size.
template <typename Row>
double widest_text(const std::vector<Row>& rows, std::string Row::*text, double font_size) {
  double width = 0;
  for (const Row& row : rows) width = std::max(width, text_width(row.*text, font_size));
  return width;
}

/// What labels and title of the axis under a frame take.
inline constexpr double kBelowAxis = 40;

/// The axis under a frame: line, ticks, labels as far as they do not touch, title; and the grid's vertical lines.
std::string x_axis(const Frame& frame, const Axis& axis);
/// The axis at the left: the grid's horizontal lines and labels, and the title above the frame, where it reads without
/// turning the head, with so much room `between`.
std::string y_axis(const Frame& frame, const Axis& axis, double between = 0);
/// The room that its labels need.
double y_labels_width(const Axis& axis);

}  // namespace dtrain::study::figures
