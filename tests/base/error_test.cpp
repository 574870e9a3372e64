#include "base/error.h"

#include <gtest/gtest.h>

namespace dtrain {
namespace {

TEST(Error, CarriesTheExitCodeThatTheDesignGivesItsKind) {
  EXPECT_EQ(UsageError("").exit_code(), 2);
  EXPECT_EQ(InputError("").exit_code(), 3);
  EXPECT_EQ(TrainingError("").exit_code(), 4);
  EXPECT_EQ(CommunicationError("").exit_code(), 5);
  EXPECT_EQ(Stopped("").exit_code(), 75);  // EX_TEMPFAIL of sysexits.h
}

}  // namespace
}  // namespace dtrain
