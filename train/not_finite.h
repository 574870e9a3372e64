#pragma once

#include <string>

#include "base/error.h"

namespace dtrain::train {

/// Numbers that are not finite: what a learning rate that is too high leads to, on every rank alike. To a study that is
/// a result; every other TrainingError ends it.
class NotFiniteError : public TrainingError {
 public:
  explicit NotFiniteError(const std::string& message) : TrainingError(message) {}
};

}  // namespace dtrain::train
