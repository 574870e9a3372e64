#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace dtrain {

__extension__ using Wide = unsigned __int128;

/// SplitMix64 (Steele, Lea and Flood, 2014): the same numbers from the same seed with every compiler and standard
/// library, which std::shuffle does not promise.
class SplitMix64 {
 public:
  explicit SplitMix64(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next() {
    std::uint64_t mixed = state_ += 0x9E3779B97F4A7C15ULL;
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9ULL;
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EBULL;
    return mixed ^ (mixed >> 31);
  }

  /// Uniform in [0, bound), by Lemire's multiplication with rejection.
  std::uint64_t below(std::uint64_t bound) {
    while (true) {
      const Wide product = static_cast<unsigned __int128>(next()) * bound;
      if (static_cast<std::uint64_t>(product) >= (0 - bound) % bound) return static_cast<std::uint64_t>(product >> 64);
    }
  }

 private:
  std::uint64_t state_;
};

/// What random numbers are drawn for. A user's seed serves several purposes, and each has streams of its own, so that
/// no draw repeats or leans on another. The numbers are fixed: another one is another run.
enum class Purpose : std::uint64_t {
  /// The order of the training examples; a stream an epoch.
  order = 1,
  /// The training examples that --samples takes; a stream a class.
  subset = 2,
  /// The examples held out of a training file without a dev file; a stream a class.
  held_out = 3,
  /// The examples of an evaluation set that is cut; a stream a class.
  evaluation_subset = 4,
  /// The first weights of a new head.
  head = 5,
  /// The first weights of what a method adds.
  method = 6,
  /// Dropout; a stream for each step and shard.
  dropout = 7,
  /// What is dropped where adapters are combined (DARE).
  combination = 8,
  /// The tokens that are hidden to measure what a model has forgotten; a stream a text.
  masked_tokens = 9,
};

/// The seed of one of the streams that `seed` has for a purpose.
inline std::uint64_t stream_seed(std::uint64_t seed, Purpose purpose, std::uint64_t stream = 0) {
  const auto mixed = [](std::uint64_t value) { return SplitMix64(value).next(); };
  return mixed(mixed(mixed(seed) ^ static_cast<std::uint64_t>(purpose)) ^ stream);
}

/// Fisher and Yates' shuffle.
template <typename Value>
void shuffle(std::vector<Value>& values, SplitMix64& random) {
  for (std::size_t last = values.size(); last > 1; --last) std::swap(values[last - 1], values[random.below(last)]);
}

}  // namespace dtrain
