#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>

#include "study/plan/plan.h"

namespace dtrain::launcher {

/// The content of plan.json, which --plan takes: methods, learning rates, sample counts, seeds, search,
/// and whether many examples are scored.
nlohmann::json plan_file_json(const study::StudyPlan& plan);

/// Takes all of that from a file into `plan`. Throws InputError for one that is none.
void take_plan_file(study::StudyPlan& plan, const std::filesystem::path& path);

}  // namespace dtrain::launcher
