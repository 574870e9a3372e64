#pragma once

#include <cstddef>
#include <optional>
#include <vector>

namespace dtrain::train {

/// Looks for a rank that computes much slower than the others, and for which they wait in every step: a node that is
/// throttled, or that somebody else works on, too.
class SlowRankWatch {
 public:
  /// Steps that are looked at together, by their medians.
  static constexpr std::size_t kWindow = 50;
  /// Times the median of the others' medians, and seconds a step above it, from which on a rank is much slower.
  static constexpr double kFactor = 1.5;
  static constexpr double kLeastSeconds = 0.01;

  struct Found {
    std::size_t rank;
    /// Medians of the window: of this rank, and of the others.
    double seconds;
    double others;
  };

  /// A step's computing, a number a rank. The slowest rank of a window that has become full, where it is that slow;
  /// nothing after the first that was found. Alike on all ranks that are given the same.
  std::optional<Found> add(const std::vector<double>& seconds);

 private:
  std::vector<std::vector<double>> window_;  // [step][rank]
  bool found_ = false;
};

}  // namespace dtrain::train
