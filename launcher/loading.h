#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>

#include "base/problem_type.h"
#include "data/task.h"
#include "launcher/options.h"
#include "launcher/session/session.h"
#include "model/formats/model_weights.h"
#include "model/pooling.h"
#include "peft/formats/trained_model.h"
#include "study/journal/identity.h"
#include "train/examples.h"
#include "train/options.h"

namespace dtrain::launcher {

/// --pooling, unset for auto.
std::optional<model::Pooling> pooling_option(const Options& options);

/// Throws UsageError where --max-length is more than a model has positions besides those of a method's virtual tokens.
void check_length(const Options& options, std::int64_t positions, std::int64_t virtual_tokens,
                  const std::filesystem::path& model);

/// --problem-type, unset for auto.
std::optional<ProblemType> problem_type_option(const Options& options);

data::TokenizeOptions tokenize_options(const Options& options, const Session& session);

/// Where training starts: a model to fine-tune, or what an earlier run trained.
struct Start {
  /// The model to fine-tune, or that of the adapter.
  std::filesystem::path model;
  std::filesystem::path tokenizer;
  /// Virtual tokens of the method, the most where there are several.
  std::int64_t virtual_tokens = 0;
  /// Empty: the training data decides.
  data::LabelMap labels = {};
  /// False: they are numbers, which other names in the training data replace.
  bool labels_have_names = true;
  /// Word embeddings of the model; 0: as many as its config.json says.
  std::int64_t vocabulary_size = 0;
  /// Unset: --problem-type, or the training data.
  std::optional<ProblemType> problem_type = std::nullopt;
};
/// --model, or the embedded one, with the methods that the options name.
Start start_of(const Options& options);

/// The task the options name, tokenized for the model, with what a person should know about it said. With --dev absent
/// a part of the training file is held out and said (data::TaskFiles::hold_out_dev).
/// Collective (Session::have_loaded): one rank of each node reads and tokenizes (share_task).
data::Task load_task(const Options& options, const Session& session, const Start& start);

/// What of the task decides the numbers of a study on it.
study::TaskIdentity identity_of(const data::Task& task);

/// The weights of the model to fine-tune, for classifiers of the task (model::LoadOptions::weights). Collective: one
/// rank of each node reads them (share_weights).
std::shared_ptr<const model::ModelWeights> base_weights(const Options& options, const Session& session,
                                                        const data::Task& task);

/// What the options say of the loss and of the metric that chooses, in the terms of a task: --class-weights by its
/// labels, --select-metric by its objective. Throws UsageError for what the objective does not have.
train::TrainOptions training_options(const Options& options, const data::Task& task);

/// The examples of --input, or of the embedded task's test set, in a trained model's terms: its tokenizer, its classes.
/// What a person should know about them is said. Collective (Session::have_loaded): one rank of each node, so also the
/// first, reads the texts and tokenizes them; the others have the examples alone.
data::LabelledSet scoring_set(const Options& options, const Session& session, const peft::TrainedModel& trained,
                              bool labels_required = true);

/// The training examples of a run of `samples` (0: all), a stratified draw.
train::Examples training_examples(const data::Task& task, std::int64_t samples, std::uint64_t subset_seed);

/// Says, and adds to the task's notes, which classes are missing or single in a draw of `samples`. They are the same
/// for every seed: how many examples of a class are drawn follows from the sizes of the classes alone.
void note_classes(data::Task& task, std::int64_t samples, const Log& log);

/// The output of the run that --run names: itself, or the directory that keeps it as its model or adapter.
std::filesystem::path run_directory(const std::filesystem::path& run);

/// Says where --reduce-precision has no effect: one rank has nothing to exchange.
void note_reduce_precision(const Options& options, int ranks, const Log& log);

/// A seeded stratified draw of `count` examples of a test set; 0, or more than there are: all.
data::TokenDataset capped(const data::TokenDataset& examples, std::int64_t count, std::uint64_t seed);

/// Bytes for frozen features: --cache-memory, or a quarter of the GPU's, or of the node's memory over its ranks.
std::int64_t cache_memory(const Options& options, const Session& session);

}  // namespace dtrain::launcher
