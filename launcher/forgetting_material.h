#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "launcher/options.h"
#include "launcher/session/session.h"
#include "study/states/forgetting.h"

namespace dtrain::launcher {

/// What forgetting is measured on, in the terms of the base model in `base` and its tokenizer. `retain`: a file of
/// texts, or "embedded" for Debian's fortunes; at most `most` of them, evenly over the file, which is said. Queries and
/// answers are definitions and usage examples of the embedded task's test synsets, at most `most`; none where the task
/// is not there.
study::ForgettingMaterial forgetting_material(const Options& options, const Session& session,
                                              const std::filesystem::path& base, const std::string& retain,
                                              std::int64_t most);

}  // namespace dtrain::launcher
