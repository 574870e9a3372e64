// What a study says of the costs that not every machine tells.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <string>

#include "study/findings/analysis.h"
#include "study/report/report.h"
#include "study/report/tables.h"
#include "tests/study/study_case.h"

namespace dtrain::study {
namespace {

using testing::Contains;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;

class CostsOfOneMethod : public testing::Test {
 protected:
  CostsOfOneMethod() { finish_method(finished_, plan_, 0, 100, 700, 300, 30); }

  Cost& cost(std::uint64_t seed) {
    return finished_.at(Trial{Trial::Phase::result, "full", 100, 0.003, seed}.key()).second.cost;
  }
  void take(double joules, const std::string& of) {
    for (const std::uint64_t seed : plan_.result_seeds) {
      cost(seed).energy_joules = joules * static_cast<double>(seed);
      cost(seed).energy_of = of;
    }
  }
  Cost mean() const { return analyse(plan_, finished_).cell("full", 100)->cost; }
  std::vector<std::vector<std::string>> rows() const { return cost_table(analyse(plan_, finished_)).rows; }
  std::vector<std::string> header() const { return cost_table(analyse(plan_, finished_)).header; }
  std::string csv() const { return trials_csv(make_report(plan_, finished_)); }

  StudyPlan plan_ = small_plan({"full"}, {100});
  FinishedTrials finished_;
};

TEST_F(CostsOfOneMethod, HaveEnergyAndSayWhereGpusAreInIt) {
  EXPECT_THAT(header(), Not(Contains("energy")));
  EXPECT_THAT(csv(), Not(HasSubstr("energy_of")));
  take(100, "cpu");
  EXPECT_THAT(header(), Contains("energy"));
  EXPECT_THAT(rows().at(0), Contains("200 J"));
  take(100, "cpu+gpu");
  EXPECT_THAT(rows().at(0), Contains("200 J (cpu+gpu)"));
  EXPECT_THAT(csv(), HasSubstr(",stored_bytes,energy_of,"));
  EXPECT_THAT(csv(), HasSubstr(",5000,cpu+gpu,"));
  EXPECT_EQ(mean().energy_of, "cpu+gpu");
  // Measured by a few steps of the method, which are too short for energy.
  const auto found = analyse(plan_, finished_, {{"full", {{100, Cost{}}}}});
  EXPECT_EQ(found.cell("full", 100)->cost.energy_of, "cpu+gpu");
}

TEST_F(CostsOfOneMethod, HaveNoMeanOfEnergyOfDifferentThings) {
  take(100, "gpu");
  EXPECT_EQ(mean().energy_joules, 200);
  cost(3).energy_of = "cpu+gpu";
  EXPECT_TRUE(std::isnan(mean().energy_joules));
  EXPECT_EQ(mean().energy_of, "");
}

TEST_F(CostsOfOneMethod, HaveTheHostsMemoryBesideAGpusAlone) {
  EXPECT_THAT(header(), Not(Contains("host memory")));
  EXPECT_THAT(csv(), Not(HasSubstr("peak_host_memory_bytes")));
  for (const std::uint64_t seed : plan_.result_seeds)
    cost(seed).peak_host_memory_bytes = static_cast<std::int64_t>(seed) << 20;
  EXPECT_THAT(header(), Contains("host memory"));
  EXPECT_THAT(rows().at(0), Contains("3.0 MiB")) << "the largest";
  EXPECT_THAT(csv(), HasSubstr(",stored_bytes,peak_host_memory_bytes,"));
  EXPECT_THAT(csv(), HasSubstr(",5000,3145728,"));
}

}  // namespace
}  // namespace dtrain::study
