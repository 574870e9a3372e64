#include "base/error.h"

#include <gtest/gtest.h>

#include <set>

namespace dtrain {
namespace {

TEST(Error, CarriesTheExitCodeThatTheDesignGivesItsKind) {
  EXPECT_EQ(UsageError("").exit_code(), 2);
  EXPECT_EQ(InputError("").exit_code(), 3);
  EXPECT_EQ(TrainingError("").exit_code(), 4);
  EXPECT_EQ(CommunicationError("").exit_code(), 5);
  EXPECT_EQ(Stopped("").exit_code(), 75);  // EX_TEMPFAIL of sysexits.h
}

template <typename Kind>
void expect_thrown_by_its_exit_code() {
  const Kind error("as another rank says it");
  try {
    throw_error_of(error.exit_code(), error.what());
  } catch (const Kind& thrown) {
    EXPECT_STREQ(thrown.what(), error.what());
    EXPECT_EQ(thrown.exit_code(), error.exit_code());
  }
}

template <typename... Kinds>
void expect_each_thrown(ErrorList<Kinds...>) {
  EXPECT_EQ(std::set<int>({Kinds::kExitCode...}).size(), sizeof...(Kinds));
  (expect_thrown_by_its_exit_code<Kinds>(), ...);
}

TEST(Error, IsThrownByItsExitCodeAsItsKind) {
  expect_each_thrown(ErrorKinds());
  EXPECT_THROW(throw_error_of(9, ""), Error);
}

}  // namespace
}  // namespace dtrain
