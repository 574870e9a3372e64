#include "launcher/session/job_end.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "base/error.h"

namespace dtrain::launcher {
namespace {

constexpr int kCommunication = CommunicationError::kExitCode;

// The ends of all ranks that end with these exit codes, where all come.
std::vector<JobEnd> ends_of(const std::vector<int>& exit_codes) {
  const int size = static_cast<int>(exit_codes.size());
  LowestRanks lowest{size, size};
  for (int rank = size - 1; rank >= 0; --rank) {
    if (exit_codes[static_cast<std::size_t>(rank)] != 0) lowest.failed = rank;
    if (exit_codes[static_cast<std::size_t>(rank)] == kCommunication) lowest.in_collective = rank;
  }
  std::vector<JobEnd> ends;
  for (int rank = 0; rank < size; ++rank) {
    ends.push_back(end_of_job(rank, size, exit_codes[static_cast<std::size_t>(rank)], lowest));
  }
  return ends;
}

TEST(JobEnd, IsQuietWhereAllWentWell) {
  for (const JobEnd& end : ends_of({0, 0, 0})) {
    EXPECT_FALSE(end.prints);
    EXPECT_FALSE(end.exit_code_of.has_value());
    EXPECT_FALSE(end.aborts);
  }
}

TEST(JobEnd, IsThatOfTheFirstRankThatFailed) {
  const auto ends = ends_of({0, 3, 2});
  for (const JobEnd& end : ends) {
    EXPECT_EQ(end.exit_code_of, 1);
    EXPECT_FALSE(end.aborts);
  }
  EXPECT_FALSE(ends[0].prints);
  EXPECT_TRUE(ends[1].prints && ends[1].names_rank);
  EXPECT_FALSE(ends[2].prints);
}

TEST(JobEnd, NamesNoRankWhereAllFailOrOneIsAlone) {
  const auto ends = ends_of({2, 2});
  EXPECT_TRUE(ends[0].prints);
  EXPECT_FALSE(ends[0].names_rank);
  EXPECT_FALSE(ends[1].prints);
  const auto alone = ends_of({2});
  EXPECT_TRUE(alone[0].prints);
  EXPECT_FALSE(alone[0].names_rank);
}

TEST(JobEnd, AbortsOnEveryRankAfterAFailedCollectiveOfOne) {
  for (const JobEnd& end : ends_of({0, 0, kCommunication})) EXPECT_TRUE(end.aborts);
  // All of them, and another failure before it.
  for (const JobEnd& end : ends_of({kCommunication, kCommunication})) EXPECT_TRUE(end.aborts);
  const auto ends = ends_of({3, kCommunication});
  for (const JobEnd& end : ends) {
    EXPECT_TRUE(end.aborts);
    EXPECT_EQ(end.exit_code_of, 0);
  }
  EXPECT_EQ(std::ranges::count(ends, true, &JobEnd::prints), 1);
}

TEST(JobEnd, OfARankThatWaitsInVainIsItsOwn) {
  const JobEnd failed = end_of_job(2, 4, 3, std::nullopt);
  EXPECT_TRUE(failed.prints && failed.names_rank && failed.aborts);
  EXPECT_FALSE(failed.exit_code_of.has_value());
  const JobEnd well = end_of_job(2, 4, 0, std::nullopt);
  EXPECT_FALSE(well.prints);
  EXPECT_TRUE(well.aborts);
}

}  // namespace
}  // namespace dtrain::launcher
