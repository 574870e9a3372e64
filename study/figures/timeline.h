#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace dtrain::study::figures {

/// A stretch of time in which a lane was busy.
struct Span {
  std::size_t lane = 0;
  double begin = 0;
  double end = 0;
  std::size_t style = 0;
  /// Drawn paler: of less weight than the others.
  bool pale = false;
  /// What a pointer over it shows.
  std::string name;
  /// In it, where there is room.
  std::string label = {};
};

/// Who did what when (a Gantt chart): a lane is a row, and what is white in it is idle time.
struct Timeline {
  std::string title;
  std::string description;
  /// "seconds since the study began"
  std::string axis;
  std::vector<std::string> lanes;
  std::vector<Span> spans;
  /// What the styles stand for, in the order of the legend.
  struct Kind {
    std::string name;
    std::size_t style = 0;
    bool pale = false;
  };
  std::vector<Kind> kinds;
};

/// `id`: unique on its page. Throws std::invalid_argument for a span of a lane that is not there.
std::string svg(const Timeline& timeline, const std::string& id);

}  // namespace dtrain::study::figures
