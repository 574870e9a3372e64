#include "base/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <set>
#include <vector>

namespace dtrain {
namespace {

TEST(SplitMix64, GivesThePublishedNumbers) {
  // The first outputs for the seed 1234567, as the test of Java's SplittableRandom and Rosetta Code list them.
  SplitMix64 random(1234567);
  for (const std::uint64_t expected : {6457827717110365317ULL, 3203168211198807973ULL, 9817491932198370423ULL,
                                       4593380528125082431ULL, 16408922859458223821ULL})
    EXPECT_EQ(random.next(), expected);
}

TEST(SplitMix64, IsUniformBelowABound) {
  SplitMix64 random(1);
  std::array<int, 7> counts{};
  constexpr int kDraws = 70'000;
  for (int i = 0; i < kDraws; ++i) ++counts.at(random.below(counts.size()));
  double chi_squared = 0;
  for (const int count : counts) chi_squared += (count - 10'000.0) * (count - 10'000.0) / 10'000.0;
  EXPECT_LT(chi_squared, 22.5);  // the .999 quantile with 6 degrees of freedom
}

TEST(SplitMix64, IsNotBiasedForABoundThatDoesNotDivideItsRange) {
  // Of 3/4 of the range, without rejection, every third number would come twice as often.
  const std::uint64_t bound = 3ULL << 62;
  SplitMix64 random(2);
  int lowest_third = 0;
  std::array<int, 3> remainders{};
  for (int i = 0; i < 30'000; ++i) {
    const std::uint64_t value = random.below(bound);
    ASSERT_LT(value, bound);
    lowest_third += value < bound / 3 ? 1 : 0;
    ++remainders.at(value % 3);
  }
  EXPECT_NEAR(lowest_third, 10'000, 350);
  for (const int count : remainders) EXPECT_NEAR(count, 10'000, 350);
}

TEST(StreamSeed, DiffersForEverySeedPurposeAndStream) {
  const std::vector<Purpose> purposes = {
      Purpose::order,  Purpose::subset,  Purpose::held_out,    Purpose::evaluation_subset, Purpose::head,
      Purpose::method, Purpose::dropout, Purpose::combination, Purpose::masked_tokens};
  std::set<std::uint64_t> seeds;
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    for (const Purpose purpose : purposes) {
      for (std::uint64_t stream = 0; stream < 50; ++stream) seeds.insert(stream_seed(seed, purpose, stream));
    }
  }
  EXPECT_EQ(seeds.size(), 50U * purposes.size() * 50U);
}

TEST(Shuffle, GivesEveryOrderEquallyOften) {
  SplitMix64 random(3);
  std::array<int, 24> counts{};
  std::array<int, 4> first_order{0, 1, 2, 3};
  for (int i = 0; i < 24'000; ++i) {
    std::vector<int> values(first_order.begin(), first_order.end());
    shuffle(values, random);
    int order = 0;
    for (std::size_t a = 0; a < 4; ++a) {
      int smaller = 0;
      for (std::size_t b = a + 1; b < 4; ++b) smaller += values[b] < values[a] ? 1 : 0;
      order = order * static_cast<int>(4 - a) + smaller;
    }
    ++counts.at(static_cast<std::size_t>(order));
  }
  double chi_squared = 0;
  for (const int count : counts) chi_squared += (count - 1000.0) * (count - 1000.0) / 1000.0;
  EXPECT_LT(chi_squared, 49.7);  // the .999 quantile with 23 degrees of freedom
}

}  // namespace
}  // namespace dtrain
