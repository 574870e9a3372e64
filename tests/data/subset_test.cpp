#include "data/subset.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <set>

#include "base/error.h"
#include "tests/base/failure_of.h"

namespace dtrain::data {
namespace {

struct Labels {
  std::vector<std::int32_t> of_examples;
  std::int64_t classes;

  std::vector<std::int64_t> counts(const std::vector<std::int64_t>& examples) const {
    std::vector<std::int64_t> found(static_cast<std::size_t>(classes), 0);
    for (const std::int64_t example : examples)
      ++found[static_cast<std::size_t>(of_examples[static_cast<std::size_t>(example)])];
    return found;
  }
  std::vector<std::int64_t> counts() const {
    std::vector<std::int64_t> found(static_cast<std::size_t>(classes), 0);
    for (const std::int32_t label : of_examples) ++found[static_cast<std::size_t>(label)];
    return found;
  }
};

// Classes of very different sizes, in random order; some have a single example, some none.
Labels unbalanced(std::uint32_t seed) {
  std::mt19937 random(seed);
  Labels labels{{}, 2 + static_cast<std::int64_t>(random() % 40)};
  for (std::int32_t c = 0; c < labels.classes; ++c) {
    const std::size_t size = random() % 5 == 0 ? random() % 2 : 1U << (random() % 9);
    labels.of_examples.insert(labels.of_examples.end(), size, c);
  }
  std::shuffle(labels.of_examples.begin(), labels.of_examples.end(), random);
  return labels;
}

class StratifiedSubset : public testing::TestWithParam<std::uint32_t> {
 protected:
  const Labels labels = unbalanced(GetParam());
  const std::int64_t total = static_cast<std::int64_t>(labels.of_examples.size());
  std::vector<std::int64_t> draw(std::int64_t count, std::uint64_t seed = 7) const {
    return stratified_subset(labels.of_examples, labels.classes, count, seed);
  }
};

TEST_P(StratifiedSubset, HoldsTheWishedNumberOfExamplesOnceEachInOrder) {
  for (std::int64_t count = 0; count <= total; count += 1 + total / 50) {
    const auto subset = draw(count);
    ASSERT_EQ(std::set<std::int64_t>(subset.begin(), subset.end()).size(), static_cast<std::size_t>(count));
    ASSERT_TRUE(std::is_sorted(subset.begin(), subset.end()));
  }
}

TEST_P(StratifiedSubset, IsContainedInEveryLargerOne) {
  std::vector<std::int64_t> smaller;
  for (std::int64_t count = 0; count <= total; count += 1 + total / 50) {
    const auto larger = draw(count);
    ASSERT_TRUE(std::includes(larger.begin(), larger.end(), smaller.begin(), smaller.end())) << count;
    smaller = larger;
  }
}

TEST_P(StratifiedSubset, HoldsEveryClassWhereItIsLargeEnoughElseTheLargest) {
  const auto whole = labels.counts();
  const auto existing = static_cast<std::int64_t>(whole.size()) - std::count(whole.begin(), whole.end(), 0);
  for (const std::int64_t count : {existing, existing + 1, total}) {
    if (count > total) continue;
    const auto counts = labels.counts(draw(count));
    for (std::size_t c = 0; c < whole.size(); ++c) ASSERT_EQ(counts[c] > 0, whole[c] > 0) << "class " << c;
  }
  const auto few = labels.counts(draw(existing / 2));
  std::int64_t smallest_in = total;
  std::int64_t largest_out = 0;
  for (std::size_t c = 0; c < whole.size(); ++c) {
    if (few[c] > 0) smallest_in = std::min(smallest_in, whole[c]);
    if (few[c] == 0) largest_out = std::max(largest_out, whole[c]);
  }
  EXPECT_GE(smallest_in, largest_out);
}

TEST_P(StratifiedSubset, HasTheClassSharesOfTheWholeToWithinTheOneThatEveryClassGets) {
  const auto whole = labels.counts();
  for (std::int64_t count = labels.classes; count <= total; count += 1 + total / 50) {
    const auto counts = labels.counts(draw(count));
    // What the smallest classes hold above their share is missing elsewhere.
    double surplus = 0;
    for (const std::int64_t members : whole) {
      if (members > 0) surplus += std::max(0.0, 1 - static_cast<double>(members * count) / static_cast<double>(total));
    }
    for (std::size_t c = 0; c < whole.size(); ++c) {
      const double share = static_cast<double>(whole[c] * count) / static_cast<double>(total);
      ASSERT_LE(static_cast<double>(counts[c]), std::max(share, 1.0) + 1) << "class " << c << " of " << count;
      ASSERT_GE(static_cast<double>(counts[c]), share - 1 - surplus) << "class " << c << " of " << count;
    }
  }
}

TEST_P(StratifiedSubset, FollowsFromItsSeedAlone) {
  const std::int64_t count = total / 2;
  EXPECT_EQ(draw(count, 1), draw(count, 1));
  EXPECT_NE(draw(count, 1), draw(count, 2));
}

TEST_P(StratifiedSubset, IsAnotherForAnotherPurpose) {
  const std::int64_t count = total / 2;
  EXPECT_NE(stratified_subset(labels.of_examples, labels.classes, count, 1, Purpose::held_out), draw(count, 1));
}

INSTANTIATE_TEST_SUITE_P(OfUnbalancedClasses, StratifiedSubset, testing::Range(0U, 12U));

TEST(StratifiedSubset, LargerThanTheDataIsRefusedWithBothNumbers) {
  EXPECT_EQ(failure_of<UsageError>([] {
              stratified_subset({0, 1, 0}, 2, 4, 0);
            }),
            "--samples 4 is more than the 3 training examples there are");
}

TEST(StratifiedSubset, TakesEachExampleOfAClassEquallyOften) {
  const std::vector<std::int32_t> labels{0, 0, 0, 0, 1, 1};
  std::vector<int> taken(labels.size(), 0);
  for (std::uint64_t seed = 0; seed < 4000; ++seed) {
    for (const std::int64_t example : stratified_subset(labels, 2, 3, seed)) ++taken[static_cast<std::size_t>(example)];
  }
  for (const int count : taken) EXPECT_NEAR(count, 2000, 160);  // five standard deviations
}

}  // namespace
}  // namespace dtrain::data
