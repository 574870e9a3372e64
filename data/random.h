#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace dtrain::data {

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

/// A seed for one of many independent streams of a seed.
inline std::uint64_t stream_seed(std::uint64_t seed, std::uint64_t stream) {
  return SplitMix64(seed ^ SplitMix64(stream + 0x632BE59BD9B4E019ULL).next()).next();
}

/// Fisher and Yates' shuffle.
template <typename Value>
void shuffle(std::vector<Value>& values, SplitMix64& random) {
  for (std::size_t last = values.size(); last > 1; --last) std::swap(values[last - 1], values[random.below(last)]);
}

}  // namespace dtrain::data
