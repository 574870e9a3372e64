#pragma once

#include <fmt/format.h>

#include <string>

#include "base/error.h"

namespace dtrain::train {

/// Numbers that are not finite: what a learning rate that is too high leads to, on every rank alike. To a study that is
/// a result; every other TrainingError ends it.
class NotFiniteError : public TrainingError {
 public:
  /// `finding`: what was seen where, without a full stop.
  NotFiniteError(const std::string& finding, double learning_rate)
      : TrainingError(fmt::format("{}. Nothing after the last checkpoint is kept; a lower --lr than {} usually helps.",
                                  finding, learning_rate)),
        finding_(finding) {}

  /// That alone, for a trial of a study, which chooses its learning rates itself.
  const std::string& finding() const { return finding_; }

 private:
  std::string finding_;
};

}  // namespace dtrain::train
