#include "launcher/finished_run.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <sstream>
#include <string>

#include "base/error.h"
#include "launcher/options.h"
#include "tests/base/failure_of.h"
#include "tests/base/temporary_directory.h"

namespace dtrain::launcher {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Lt;
using testing::Not;
using testing::SizeIs;
using testing::UnorderedElementsAre;

TEST(FinishedRun, DiffersByEveryOptionThatChangesAResult) {
  EXPECT_THAT(option_differences("# dtrain train\nlr = 1e-3\nseed = 0\nepochs = 3\nmethod = lora\n",
                                 "lr = 1e-2\nseed = 1\nmax-steps = 5\nmethod = head\n", true),
              UnorderedElementsAre("lr was '1e-3' and is now '1e-2'", "seed was '0' and is now '1'",
                                   "epochs was '3' and is now not given", "max-steps was not given and is now '5'",
                                   "method was 'lora' and is now 'head'"));
  EXPECT_THAT(option_differences("ood = a=x.tsv\nood = b=y.tsv\n", "ood = a=x.tsv\n", true),
              ElementsAre("ood was 'a=x.tsv, b=y.tsv' and is now 'a=x.tsv'"));
}

TEST(FinishedRun, IsTheSameWhereOnlyTheWayOfComputingDiffers) {
  EXPECT_THAT(
      option_differences("output = a\nthreads = 1\nbackend = mpi\nlog-steps = 1\nlr = 1e-3\nmodel = /tmp\n",
                         "output = b\nthreads = 2\nbackend = auto\nsave-steps = 9\nlr = 0.001\nmodel = /tmp/.\n", true),
      IsEmpty());
  EXPECT_THAT(option_differences("train = a.tsv\n", "train = ./a.tsv\n", false), IsEmpty());
  EXPECT_THAT(option_differences("train = a.tsv\n", "train = b.tsv\n", true),
              ElementsAre("train was 'a.tsv' and is now 'b.tsv'"));
}

TEST(FinishedRun, HadTheDefaultOfAnOptionThatItsVersionDidNotHave) {
  const std::string all = default_options("train");
  std::istringstream lines(all);
  std::size_t options = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with('#')) continue;
    ++options;
    std::string before = all;
    before.erase(before.find("\n" + line + "\n"), line.size() + 1);
    EXPECT_THAT(option_differences(before, all, true), IsEmpty()) << line;
  }
  EXPECT_GT(options, 20U);
  EXPECT_THAT(option_differences("lr = 0.1\n", "lr = 0.1\nreduce-precision = bf16\n", true),
              ElementsAre("reduce-precision was 'fp32' and is now 'bf16'"));
  EXPECT_THAT(option_differences("max-steps = 5\n", "max-steps = 5\n", true), IsEmpty())
      << "steps and epochs are not given both";
}

TEST(FinishedRun, DiffersByTheKindOfItsClassWeightsWhateverIsInTheirFile) {
  EXPECT_THAT(option_differences("class-weights = a.json\n", "class-weights = b.json\n", false), IsEmpty());
  EXPECT_THAT(option_differences("class-weights = a.json\n", "class-weights = b.json\n", true),
              ElementsAre("class-weights was 'a.json' and is now 'b.json'"));
  EXPECT_THAT(option_differences("class-weights = balanced\n", "class-weights = b.json\n", false),
              ElementsAre("class-weights was 'balanced' and is now 'b.json'"));
  EXPECT_THAT(option_differences("", "class-weights = balanced\n", false),
              ElementsAre("class-weights was not given and is now 'balanced'"));
}

class FinishedRunFiles : public testing::Test {
 protected:
  FinishedRunFiles() {
    directory.file("config.ini", "lr = 0.1\ntrain = a.tsv\n");
    directory.file("results.json", R"({"data": {"train": "01", "test": "02"}})");
  }
  std::string refusal(const std::string& now, const std::map<std::string, std::string>& digests) {
    return failure_of<UsageError>([&] { check_finished_run(directory.path(), now, digests); });
  }

  const TemporaryDirectory directory;
};

TEST_F(FinishedRunFiles, AreComparedByTheContentOfTheData) {
  EXPECT_NO_THROW(
      check_finished_run(directory.path(), "lr = 0.1\ntrain = moved.tsv\n", {{"train", "01"}, {"test", "02"}}));
  EXPECT_THAT(refusal("lr = 0.2\ntrain = a.tsv\n", {{"train", "03"}, {"ood.b", "04"}}),
              AllOf(HasSubstr("lr was '0.1' and is now '0.2'"), HasSubstr("its train data were others"),
                    HasSubstr("it had test data"), HasSubstr("it had no ood.b data"), HasSubstr("--overwrite"),
                    Not(HasSubstr("a.tsv"))));
  directory.file("results.json", R"({"data": {"train": "01", "class-weights": "02"}})");
  const std::string now = "lr = 0.1\ntrain = a.tsv\nclass-weights = w.json\n";
  directory.file("config.ini", now);
  EXPECT_NO_THROW(check_finished_run(directory.path(), now, {{"train", "01"}, {"class-weights", "02"}}));
  EXPECT_THAT(refusal(now, {{"train", "01"}, {"class-weights", "03"}}),
              HasSubstr("its class weights of a file were others"));
}

TEST_F(FinishedRunFiles, ThatAreDamagedAreRefusedByName) {
  for (const char* content : {"torn", "[1]", R"({"data": 3})", R"({"data": {"train": 3}})"}) {
    directory.file("results.json", content);
    EXPECT_THAT(failure_of<InputError>([&] { check_finished_run(directory.path(), "", {}); }),
                HasSubstr("results.json: "))
        << content;
  }
}

TEST_F(FinishedRunFiles, OfSomebodyElseMakeNoLongMessages) {
  std::string options = "method = lora:r\n";
  for (int i = 0; i < 1000; ++i) options += fmt::format("option-{} = {}\n", i, std::string(1000, 'x'));
  directory.file("config.ini", options);
  directory.file("results.json", R"({"data": {")" + std::string(100'000, 'y') + R"(": "01"}})");
  EXPECT_THAT(refusal("method = lora\n", {}),
              AllOf(SizeIs(Lt(20'000U)), HasSubstr("method was 'lora:r' and is now 'lora'"),
                    HasSubstr("; and 982 more. Give its own options")));
}

TEST_F(FinishedRunFiles, OfARunThatKeptNoDigestsAreComparedByName) {
  directory.file("results.json", "{}");
  EXPECT_NO_THROW(check_finished_run(directory.path(), "lr = 0.1\ntrain = a.tsv\n", {{"train", "01"}}));
  EXPECT_THAT(refusal("lr = 0.1\ntrain = b.tsv\n", {{"train", "01"}}), HasSubstr("train was 'a.tsv'"));
}

TEST(DataDigests, AreOfTheContentAlone) {
  const TemporaryDirectory directory;
  data::TaskFiles files;
  files.train = directory.file("a.tsv", "x\ty\n");
  files.ood = {{"other", directory.file("b.tsv", "x\ty\n")}};
  const std::string weights = directory.file("w.json", "x\ty\n");
  const auto digests = data_digests(files, weights);
  EXPECT_EQ(digests.size(), 3);
  EXPECT_EQ(digests.at("train"), digests.at("class-weights"));
  EXPECT_EQ(digests.at("train"), digests.at("ood.other"));
  files.train = directory.file("a.tsv", "x\tz\n");
  EXPECT_NE(data_digests(files, "balanced").at("train"), digests.at("train"));
  EXPECT_EQ(data_digests(files, "balanced").size(), 2);
}

}  // namespace
}  // namespace dtrain::launcher
