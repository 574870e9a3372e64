#include "base/problem_type.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <vector>

#include "base/error.h"
#include "base/nearest_name.h"

namespace dtrain {

std::string_view problem_type_name(ProblemType type) {
  switch (type) {
    case ProblemType::single_label_classification:
      return "single_label_classification";
    case ProblemType::multi_label_classification:
      return "multi_label_classification";
    case ProblemType::regression:
      return "regression";
  }
  return "";
}

ProblemType problem_type(std::string_view name, const std::string& what) {
  std::vector<std::string> names;
  for (const ProblemType type : kProblemTypes) {
    names.emplace_back(problem_type_name(type));
    if (name == problem_type_name(type)) return type;
  }
  throw UsageError(fmt::format("{}: unknown problem type '{}'{}; there are: {}", what, name,
                               did_you_mean(std::string(name), names), fmt::join(names, ", ")));
}

}  // namespace dtrain
