#include "study/figures/timeline.h"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

#include "study/figures/axis.h"
#include "study/figures/frame.h"
#include "study/figures/markup.h"
#include "study/figures/style.h"

namespace dtrain::study::figures {
namespace {

constexpr double kTimelineWidth = 760;
constexpr double kLane = 24;
constexpr double kGap = 5;

}  // namespace

std::string svg(const Timeline& timeline, const std::string& id) {
  double end = 0;
  for (const Span& span : timeline.spans) end = std::max(end, span.end);
  const Axis axis = linear_axis(timeline.axis, {0, end > 0 ? end : 1}, {0, end > 0 ? end : 1}, 8);
  std::vector<LegendEntry> entries;
  for (const Timeline::Kind& kind : timeline.kinds)
    entries.push_back({kind.name, kind.style, kind.pale ? LegendEntry::Kind::outline : LegendEntry::Kind::fill});
  const Legend names = legend(entries, 2, 0, kTimelineWidth - 4);
  double labels = 0;
  for (const std::string& lane : timeline.lanes) labels = std::max(labels, text_width(lane, 12));
  Frame frame{labels + 12, kTimelineWidth - 14, names.height + 6, 0};
  frame.bottom = frame.top + kLane * static_cast<double>(timeline.lanes.size());
  std::string content = names.markup + x_axis(frame, axis);
  for (std::size_t lane = 0; lane < timeline.lanes.size(); ++lane)
    content += fmt::format(
        "<text x=\"{}\" y=\"{}\" class=\"name\" text-anchor=\"end\">{}</text>\n", coordinate(frame.left - 8),
        coordinate(frame.top + kLane * (static_cast<double>(lane) + 0.5) + 4), escaped(timeline.lanes[lane]));
  for (const Span& span : timeline.spans) {
    if (span.lane >= timeline.lanes.size()) throw std::invalid_argument("a span of a lane that is not there");
    const double left = frame.x(axis.position(span.begin));
    // A little less, so that neighbours are told apart.
    const double width = std::max(0.8, frame.x(axis.position(span.end)) - left - 0.8);
    content += fmt::format(
        "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" class=\"bar{} {}\"><title>{}</title></rect>\n",
        coordinate(left), coordinate(frame.top + kLane * static_cast<double>(span.lane) + kGap / 2), coordinate(width),
        coordinate(kLane - kGap), span.pale ? " search" : "", series_class(span.style), escaped(span.name));
    if (!span.label.empty() && text_width(span.label, 10.5) + 4 < width)
      content += fmt::format("<text x=\"{}\" y=\"{}\" class=\"inside{}\" text-anchor=\"middle\">{}</text>\n",
                             coordinate(left + width / 2),
                             coordinate(frame.top + kLane * (static_cast<double>(span.lane) + 0.5) + 3.5),
                             span.pale ? " pale" : "", escaped(span.label));
  }
  return svg_element(id, timeline.title, timeline.description, kTimelineWidth, frame.bottom + kBelowAxis, content);
}

}  // namespace dtrain::study::figures
