#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace dtrain::train {

/// What dev said after a step: metrics by name.
struct CurvePoint {
  std::int64_t step = 0;
  std::map<std::string, double> metrics;
};

}  // namespace dtrain::train
