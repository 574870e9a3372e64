#pragma once

#include <filesystem>
#include <vector>

#include "data/label_map.h"

namespace dtrain::launcher {

/// The file that --class-weights names, a JSON object with a number for each label: the numbers in the order of the
/// labels' ids. Throws InputError naming the file where it is another thing, leaves a label out or has one that is none
/// of `labels`. What numbers may be weights is the objective's to say (train/objective.h).
std::vector<double> read_class_weights(const std::filesystem::path& path, const data::LabelMap& labels);

}  // namespace dtrain::launcher
