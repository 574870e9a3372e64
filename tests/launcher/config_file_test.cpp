#include "launcher/config_file.h"

#include <gmock/gmock.h>

#include <boost/program_options/value_semantic.hpp>
#include <sstream>
#include <utility>
#include <vector>

#include "base/error.h"
#include "tests/base/failure_of.h"

namespace dtrain::launcher {
namespace {

namespace po = boost::program_options;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

std::vector<std::pair<std::string, std::string>> options_in(const std::string& text) {
  po::options_description known;
  known.add_options()("train", po::value<std::string>(), "")("lr", po::value<std::string>(), "");
  std::istringstream file(text);
  std::vector<std::pair<std::string, std::string>> options;
  for (const auto& option : read_config_file(file, known).options)
    options.emplace_back(option.string_key, option.value.at(0));
  return options;
}

TEST(ConfigFile, TakesANumberSignForACommentWhereALineBeginsAndBehindWhiteSpace) {
  EXPECT_THAT(options_in("# train = a\n  # train = b\ntrain = c#.tsv # of three\n#\nlr=1e-3\t#fast\n"),
              ElementsAre(Pair("train", "c#.tsv"), Pair("lr", "1e-3")));
}

TEST(ConfigFile, HasItsEntriesInTheirOrder) {
  EXPECT_THAT(config_entries("# dtrain train --config THIS-FILE\n" + config_line("ood", "a=x = y.tsv") +
                             config_line("ood", "b=c#.tsv") + config_line("lr", "0.001")),
              ElementsAre(Pair("ood", "a=x = y.tsv"), Pair("ood", "b=c#.tsv"), Pair("lr", "0.001")));
}

TEST(ConfigFile, GivesBackWhatItsLinesAreMadeOf) {
  for (const std::string value : {"c#.tsv", "a b#c#", "x=y", "\"#\"", "[1]"})
    EXPECT_THAT(options_in(config_line("train", value)), ElementsAre(Pair("train", value)));
}

TEST(ConfigFile, HasNoLineForWhatWouldNotComeBack) {
  for (const std::string value : {"#N/A", "a #1.tsv", "a\t#1.tsv", " a", "a ", "a\nb"})
    EXPECT_THAT(failure_of<UsageError>([&] { config_line("train", value); }),
                AllOf(HasSubstr("--train: config.ini could not give this value back"), HasSubstr("'" + value + "'")));
}

}  // namespace
}  // namespace dtrain::launcher
