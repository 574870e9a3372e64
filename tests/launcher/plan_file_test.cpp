#include "launcher/plan_file.h"

#include <gmock/gmock.h>

#include <string>

#include "base/error.h"
#include "tests/base/failure_of.h"
#include "tests/base/temporary_directory.h"

namespace dtrain::launcher {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Lt;
using testing::SizeIs;

TEST(PlanFile, OfSomebodyElseMakesNoLongMessage) {
  const TemporaryDirectory directory;
  const auto path =
      directory.file("plan.json", R"({"schema": 1, "methods": [{"method": "lora:)" + std::string(100'000, 'x') +
                                      R"(", "learning_rates": [0.1], "range": [0.1, 0.1]}]})");
  EXPECT_THAT(failure_of<InputError>([&] {
                study::StudyPlan plan;
                take_plan_file(plan, path);
              }),
              AllOf(HasSubstr("plan.json: not the plan of a study (method 'lora:xxx"), SizeIs(Lt(2000U))));
}

}  // namespace
}  // namespace dtrain::launcher
