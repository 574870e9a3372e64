#pragma once

#include <memory>

#include "dist/communicator.h"
#include "train/run_context.h"

namespace dtrain::study {

/// The ranks of a study, dealt into groups of neighbours, each of which trains one trial at a time.
class Groups {
 public:
  /// Collective over the context's ranks, whose number `ranks_per_trial` divides, else std::invalid_argument. The
  /// context outlives the result.
  Groups(const train::RunContext& world, int ranks_per_trial);

  int count() const { return world_.control.size() / ranks_per_trial_; }
  int ranks_per_trial() const { return ranks_per_trial_; }
  /// The group of this rank, from 0.
  int own() const { return world_.control.rank() / ranks_per_trial_; }
  /// The first rank of a group speaks for it.
  int leader(int group) const { return group * ranks_per_trial_; }
  bool leads() const { return world_.control.rank() == leader(own()); }

  /// Of this rank's group: its communicators; the log is that of the world.
  train::RunContext context() const;

 private:
  const train::RunContext& world_;
  int ranks_per_trial_;
  // Null where the group is the world.
  std::unique_ptr<dist::Communicator> control_;
  std::unique_ptr<dist::Communicator> gradients_;
};

}  // namespace dtrain::study
