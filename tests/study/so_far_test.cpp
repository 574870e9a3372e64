#include "study/report/so_far.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/study/study_case.h"

namespace dtrain::study {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

TEST(SoFar, NamesTheBestAtTheLargestCountThatHasResults) {
  const StudyPlan plan = small_plan({"full", "head"}, {100, 1000});
  FinishedTrials finished;
  EXPECT_EQ(best_so_far(plan, analyse(plan, finished)), "");
  EXPECT_EQ(table_so_far(plan, analyse(plan, finished)), "");
  finish_method(finished, plan, 0, 100, 700, 300, 30);
  finish_method(finished, plan, 1, 100, 500, 400, 2);
  EXPECT_EQ(best_so_far(plan, analyse(plan, finished)), "best so far full 70.1 at 100");
  EXPECT_THAT(table_so_far(plan, analyse(plan, finished)),
              AllOf(HasSubstr("full"), HasSubstr("70.1"), HasSubstr("head"), Not(HasSubstr("1,000"))));
  finish_method(finished, plan, 1, 1000, 600, 400, 2);
  EXPECT_EQ(best_so_far(plan, analyse(plan, finished)), "best so far head 60.1 at 1,000")
      << "the counts do not compare";
}

}  // namespace
}  // namespace dtrain::study
