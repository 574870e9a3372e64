#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "launcher/options.h"
#include "launcher/session/session.h"
#include "peft/formats/trained_model.h"

namespace dtrain::launcher {

/// --labels: names of classes in the order of their ids, joined by commas or one a line in a file. Empty: not given.
/// Throws UsageError for a name that is empty or given twice.
std::vector<std::string> label_names(const Options& options);

/// What lies in `directory`, with the base model, the pooling and the names of the classes that the options give, as
/// this rank reads it.
peft::TrainedModel load_trained(const Options& options, const Session& session, const std::filesystem::path& directory,
                                at::Device device);

/// What --run names, likewise, on every rank and its device; `base` overrides what an adapter says of its base model.
/// Collective: one rank of each node reads the weights of a whole model or a base model (share_weights), and each rank
/// the adapter, which is small. Throws InputError where the ranks read other ones.
peft::TrainedModel share_trained(const Options& options, const Session& session,
                                 const std::optional<std::filesystem::path>& base);
/// With the base model that the options give.
peft::TrainedModel share_trained(const Options& options, const Session& session);

/// Where nothing names the classes of `trained`, and the labels of --input are as many: takes these for their names, in
/// the order in which training would number them, and says so.
void take_labels_of_input(const Options& options, const Session& session, peft::TrainedModel& trained);

}  // namespace dtrain::launcher
