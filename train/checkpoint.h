#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/image.h"
#include "base/log.h"
#include "train/metrics.h"

namespace dtrain::train {

/// Of Checkpoint::identity what earlier versions did not write.
inline constexpr const char* kDevData = "dev data";
inline constexpr const char* kModelConfiguration = "configuration of the model";
inline constexpr const char* kReducePrecision = "reduce precision";

/// All that a run needs to go on at the exact step: trainable weights, optimiser, position, best so far. Random numbers
/// follow from the step.
struct Checkpoint {
  std::int64_t step = 0;
  /// Whether the run was stopped before the evaluation on dev after `step`, which is made up for when it goes on.
  bool evaluation_due = false;
  at::Tensor values;  // [n], as the three below
  at::Tensor first_moments;
  at::Tensor second_moments;
  /// The best weights so far; undefined before the first evaluation.
  at::Tensor best_values;
  std::int64_t best_step = 0;
  double best_metric = 0;
  /// BestStep::passed_over.
  std::int64_t passed_over = 0;
  double train_seconds = 0;
  /// Of the steps so far, of all ranks.
  double flop = 0;
  /// What must be the same when the run goes on (options, digests of the data and the model), by name.
  std::map<std::string, std::string> identity;
  /// Of the method's hooks, by name.
  std::vector<std::pair<std::string, at::Tensor>> hooks;

  /// For another process of this machine: as part of an image, while this lives, and out of one, of whose bytes the
  /// tensors of [n] then are.
  void add_to(ImageWriter& image) const;
  static Checkpoint from(ImageReader& image);
};

/// Writes `directory`/step-N as a whole (under a temporary name until it is complete) and removes all but the last two.
void write_checkpoint(const std::filesystem::path& directory, const Checkpoint& checkpoint);

/// The newest readable checkpoint, or nothing. One that is damaged, also where it is a bit in the middle (a digest
/// tells), is a warning, and the one before it is taken. Throws
/// UsageError naming what differs when `identity` is not the checkpoint's.
std::optional<Checkpoint> read_checkpoint(const std::filesystem::path& directory,
                                          const std::map<std::string, std::string>& identity, const Log& log);

}  // namespace dtrain::train
