#pragma once

#include <string>

#include "launcher/options.h"

namespace dtrain::launcher {

/// A text as a shell reads it back as one word; in quotes where it must be.
std::string shell_word(const std::string& text);

/// The options of a study that decide what one of its trainings is, as `dtrain train` takes them, each with a space
/// before it; those that are train's own defaults, the files, the method and its rate left out. A rate is found for
/// that training, and would be another's with other steps, batches or another model.
std::string training_options_of(const Options& study);

}  // namespace dtrain::launcher
