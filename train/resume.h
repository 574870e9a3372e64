#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "model/classifier.h"
#include "train/checkpoint.h"
#include "train/examples.h"
#include "train/options.h"
#include "train/run_context.h"

namespace dtrain::train {

/// What must be the same when a run goes on from a checkpoint, by the names that a message gives it: options, and
/// digests of the data and of the weights at the start, of which the frozen ones are in no checkpoint. To be taken
/// before the first step. Collective over the context's ranks, which begin with the same weights: the first digests
/// them.
std::map<std::string, std::string> run_identity(const TrainOptions& options, std::int64_t steps,
                                                const Examples& examples, const Examples& dev,
                                                model::Classifier& classifier, const RunContext& context);

/// The checkpoint that a run with that identity goes on from; nothing where there is none yet. Collective: the lowest
/// rank of each node reads it, `node` on this rank's. Every rank throws InputError where the nodes do not see the same
/// one, and what read_checkpoint throws on one of them.
std::optional<Checkpoint> checkpoint_to_resume(const std::filesystem::path& directory,
                                               const std::map<std::string, std::string>& identity,
                                               const RunContext& context, int node);

}  // namespace dtrain::train
