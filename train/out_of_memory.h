#pragma once

#include <exception>
#include <optional>
#include <string>

#include "base/error.h"
#include "train/run_context.h"

namespace dtrain::train {

/// Memory that ran out on one rank, and on every rank alike this error: their communicators stay of use. To a study
/// that is a result, as NotFiniteError is.
class OutOfMemoryError : public TrainingError {
 public:
  explicit OutOfMemoryError(const std::string& message) : TrainingError(message) {}
};

/// What to tell a person of an exception that is about memory that ran out, the host's or a GPU's, with
/// RunContext::memory_advice; nothing: it is about something else.
std::optional<std::string> lack_of_memory(const std::exception& error, const std::string& advice);

/// Throws OutOfMemoryError on every rank where some have found that memory ran out: `mine`, as lack_of_memory says it;
/// empty: not here. Collective.
[[noreturn]] void throw_out_of_memory(const std::string& mine, const RunContext& context);

}  // namespace dtrain::train
