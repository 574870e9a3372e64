#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <vector>

#include "base/log.h"
#include "data/task.h"
#include "dist/communicator.h"
#include "model/formats/classifier_files.h"
#include "model/formats/model_weights.h"

namespace dtrain::launcher {

/// The task that `load` gives on one rank of each node, on all ranks: the others of the node map its tokens and read no
/// file of it. Where a rank cannot map those of the cache, as in a container of its own, tokens are sent to all, which
/// is said. `node`: the lowest rank on this rank's node. Collective over `control`, where a rank waits `patience`
/// longer than its timeout (reading_time). Where `load` throws an Error on some node, every rank throws that of the
/// lowest.
data::Task share_task(dist::Communicator& control, int node, std::chrono::milliseconds patience,
                      const std::function<data::Task()>& load, const Log& log);

/// Likewise the weights that load_classifier reads for `options` (whose own `weights` do not count): read and seen to
/// be finite on one rank of each node, the same pages of memory for all of the node, and kept for any number of
/// classifiers. A rank alone on its node keeps what it has read. Throws InputError where nodes read other weights.
std::shared_ptr<const model::ModelWeights> share_weights(dist::Communicator& control, int node,
                                                         model::LoadOptions options);

/// What reading these files may take, tokenizing and a slow network included: a second a MiB. A folder counts with the
/// files in it; what is not there, or is no file, as nothing.
std::chrono::milliseconds reading_time(const std::vector<std::filesystem::path>& paths);

}  // namespace dtrain::launcher
