#pragma once

#include <cstdint>
#include <vector>

#include "dist/gradient_reducer.h"
#include "dist/shard_layout.h"
#include "train/flat_parameters.h"
#include "train/options.h"
#include "train/run_context.h"

namespace dtrain::train {

/// Which rank's optimiser updates which elements of the flat buffers. Sharded (ZeRO stage 1; Rajbhandari et al., 2020),
/// each rank keeps the moments of its share alone, updates it, and the ranks gather the values; else each does all of
/// it.
///
/// The values outside of lookup tables are dealt by the layout. Of a lookup table each rank has rows that follow each
/// other, as the rows that a step reaches are reduced to every rank.
class Sharding {
 public:
  /// Not sharded, and nobody needs the gradients.
  explicit Sharding(const FlatParameters& parameters);
  /// `context` must outlive it. Where somebody needs the gradients they are reduced to every rank, and the optimiser is
  /// not sharded.
  Sharding(const FlatParameters& parameters, const TrainOptions& options, const RunContext& context,
           bool needs_gradients);

  bool on() const { return context_ != nullptr; }
  /// Whether somebody reads the gradients, summed and clipped, after the optimiser's step.
  bool needs_gradients() const { return needs_gradients_; }
  /// What a rank has of the gradients after they are reduced: those of virtual ranks are the same on every rank.
  dist::ReducedTo reduced_to() const { return reduced_to_; }
  /// What lies outside of lookup tables.
  const std::vector<dist::Stretch>& dense() const { return dense_; }
  const dist::ShardLayout& layout() const { return layout_; }
  /// Of the optimiser: where it is not sharded, each is the only one.
  int rank() const { return on() ? context_->gradients.rank() : 0; }
  int ranks() const { return on() ? context_->gradients.size() : 1; }
  /// The rows of a table of `rows` that are a rank's.
  dist::Stretch rows_of(std::int64_t rows, int rank) const;
  /// Where it is on.
  const RunContext& context() const { return *context_; }

 private:
  const RunContext* context_ = nullptr;  // null: off
  bool needs_gradients_ = false;
  dist::ReducedTo reduced_to_ = dist::ReducedTo::every_rank;
  std::vector<dist::Stretch> dense_;
  dist::ShardLayout layout_;
};

}  // namespace dtrain::train
