#include "base/problem_type.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace dtrain {
namespace {

TEST(ProblemType, IsReadBackFromItsName) {
  for (const ProblemType type : kProblemTypes) EXPECT_EQ(problem_type(problem_type_name(type), "config.json"), type);
}

TEST(ProblemType, IsNamedWhereItIsUnknown) {
  try {
    problem_type("regresion", "config.json");
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_NE(std::string(error.what()).find("config.json: unknown problem type 'regresion'"), std::string::npos);
    EXPECT_NE(std::string(error.what()).find("did you mean 'regression'"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace dtrain
