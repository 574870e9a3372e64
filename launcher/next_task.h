#pragma once

#include <map>
#include <memory>
#include <string>

#include "launcher/options.h"
#include "launcher/session/session.h"
#include "model/formats/model_weights.h"
#include "study/run/next_task.h"

namespace dtrain::launcher {

/// The task of --then, and what of it decides the numbers of a study.
struct LoadedNextTask {
  /// Null where --then is not given.
  std::shared_ptr<const study::NextTask> task;
  std::map<std::string, std::string> identity;
};

/// Reads the files train, dev and test (data::data_file_endings) of the folder that --then names; without dev a
/// part of train is held out. What a person should know of it is said. Throws InputError where a file is missing or is
/// there twice. `options` and `session` outlive the result. `weights`: base_weights. Collective.
LoadedNextTask load_next_task(const Options& options, const Session& session,
                              const std::shared_ptr<const model::ModelWeights>& weights);

}  // namespace dtrain::launcher
