#pragma once

#include <array>
#include <string>
#include <string_view>

namespace dtrain {

/// What a task asks for, in the words of Hugging Face's config.json (`problem_type`).
enum class ProblemType {
  /// One class of several: softmax and cross-entropy.
  single_label_classification,
  /// Any number of labels: a sigmoid each and binary cross-entropy.
  multi_label_classification,
  /// Numbers: mean squared error.
  regression,
};

inline constexpr std::array kProblemTypes = {ProblemType::single_label_classification,
                                             ProblemType::multi_label_classification, ProblemType::regression};

/// "single_label_classification" and so on.
std::string_view problem_type_name(ProblemType type);

/// Throws UsageError listing the names; `what` says where the name stands ("--problem-type").
ProblemType problem_type(std::string_view name, const std::string& what);

}  // namespace dtrain
