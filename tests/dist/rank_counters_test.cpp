#include "dist/rank_counters.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace dtrain::dist {
namespace {

TEST(RankCounters, CountFromOne) {
  RankCounters::Counter mine{0};
  RankCounters counters({&mine}, {0}, 0);
  EXPECT_EQ(counters.start(), 1);
  EXPECT_EQ(counters.start(), 2);
  EXPECT_EQ(counters.last(), 2);
}

TEST(RankCounters, NameTheRanksThatAreBehindByWhereTheyAre) {
  RankCounters::Counter counts[] = {17, 16, 17, 16};
  const RankCounters counters({&counts[0], &counts[1], &counts[2], &counts[3]}, {0, 1, 2, 3}, 0);
  EXPECT_EQ(counters.who_did_not_come(17), "ranks 1, 3 did not come (they are at #16)");
  counts[3] = 12;
  EXPECT_EQ(counters.who_did_not_come(17), "rank 3 did not come (it is at #12); rank 1 did not come (it is at #16)");
  EXPECT_EQ(counters.who_did_not_come(12), "every rank seen from here has started it");
}

TEST(RankCounters, NameTheRankThatStartedAndStandsStill) {
  RankCounters::Counter counts[] = {5, 5, 5};
  RankCounters::Counter beats[] = {0, 7, 9};
  const RankCounters counters({&counts[0], &counts[1], &counts[2]}, {0, 1, 2}, 0, {&beats[0], &beats[1], &beats[2]});
  RankCounters other({&counts[0], &counts[1], &counts[2]}, {0, 1, 2}, 2, {&beats[0], &beats[1], &beats[2]});
  std::atomic<bool> asked{false};
  std::jthread waits([&] {
    while (!asked) other.beat();
  });
  EXPECT_EQ(counters.who_did_not_come(5), "rank 1 started it and stands still since");
  asked = true;
  waits.join();
  other.give_up();
  EXPECT_EQ(counters.who_did_not_come(5), "rank 1 started it and stands still since") << "who gave up is not to blame";
}

TEST(RankCounters, SayThatRanksOfOtherNodesAreUnknownAndWhereTheyRun) {
  RankCounters::Counter counts[] = {5, 4};
  const RankCounters counters({&counts[0], &counts[1], nullptr, nullptr, nullptr}, {2, 3, 6, 7, 9}, 0, {},
                              {"n1", "n1", "n2", "n2", "n3"});
  EXPECT_EQ(counters.who_did_not_come(5),
            "rank 3 did not come (it is at #4); on other nodes: unknown (ranks 6, 7 on n2; rank 9 on n3)");
  EXPECT_EQ(counters.where_is(1), "rank 3 is at #4");
  EXPECT_EQ(counters.where_is(3), "rank 7 is on n2, another node: unknown where");
}

}  // namespace
}  // namespace dtrain::dist
