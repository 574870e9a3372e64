#include "launcher/options.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <cstdlib>

#include "base/error.h"
#include "launcher/placement.h"

namespace dtrain::launcher {
namespace {

using testing::HasSubstr;

Options parsed(const std::vector<std::string>& arguments) {
  std::vector<const char*> argv = {"dtrain"};
  for (const auto& argument : arguments) argv.push_back(argument.c_str());
  return parse_options(static_cast<int>(argv.size()), argv.data());
}

// What parsing the arguments refuses with; empty where it accepts them.
std::string refusal(const std::vector<std::string>& arguments) {
  try {
    parsed(arguments);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "";
}

struct Case {
  std::vector<std::string> arguments;
  std::vector<std::string> says;
};

TEST(Placement, SharesOutWhatRanksHaveInCommonAndLeavesThemTheirOwn) {
  const auto places = [](const std::vector<std::string>& texts) {
    std::string found;
    for (int rank = 0; rank < static_cast<int>(texts.size()); ++rank) {
      const Place place = place_among_equals(texts, rank);
      found += fmt::format("{}/{} ", place.index, place.count);
    }
    return found;
  };
  EXPECT_EQ(places({"0: a,b", "0: a,b", "0: a,b"}), "0/3 1/3 2/3 ");
  EXPECT_EQ(places({"0: a", "0: b"}), "0/1 0/1 ");
  // Two sockets of two ranks each, and a second node.
  EXPECT_EQ(places({"0: a", "0: b", "0: a", "0: b", "4: a"}), "0/2 0/2 1/2 1/2 0/1 ");
}

// One test over all: a process for each would start LibTorch dozens of times.
TEST(Options, NameAWrongOneWithWhatWasExpectedAndFound) {
  const std::vector<Case> cases = {
      {{"trian"}, {"unknown command 'trian'", "did you mean 'train'?", "evaluate"}},
      {{"train", "--epoch", "3"}, {"unknown option 'epoch'", "did you mean 'epochs'?", "dtrain train --help"}},
      {{"train", "--input", "x"}, {"no option 'input'", "evaluate, predict"}},
      {{"train", "--lr", "0"}, {"--lr: expected a number above 0, found '0'"}},
      {{"train", "--lr", "-1e-3"}, {"--lr: expected a number above 0, found '-1e-3'"}},
      {{"train", "--lr", "nan"}, {"--lr: expected a number above 0, found 'nan'"}},
      {{"train", "--lr", "fast"}, {"--lr: expected a number above 0, found 'fast'"}},
      {{"train", "--lr", "1e-3x"}, {"--lr: expected a number above 0, found '1e-3x'"}},
      {{"compare", "--lrs", "1e-3,0"}, {"--lrs: expected a number above 0, found '0'"}},
      {{"train", "--samples", "many"}, {"--samples: expected whole numbers from 2, found 'many'"}},
      {{"train", "--samples", "1.5"}, {"--samples: expected whole numbers from 2, found '1.5'"}},
      {{"train", "--samples", "0"}, {"--samples: expected whole numbers from 2, found '0'"}},
      {{"train", "--epochs", "0"}, {"--epochs: expected a number above 0, found 0"}},
      {{"train", "--epochs", "inf"}, {"--epochs: expected a number above 0, found inf"}},
      {{"train", "--epochs", "two"}, {"--epochs: expected a number, found 'two'"}},
      {{"train", "--batch-size", "0"}, {"--batch-size: expected at least 1, found 0"}},
      {{"train", "--batch-size", "2.5"}, {"--batch-size: expected a whole number, found '2.5'"}},
      {{"train", "--max-steps", "-1"}, {"--max-steps: expected 0 or more, found -1"}},
      {{"train", "--test-samples", "-1"}, {"--test-samples: expected 0 or more, found -1"}},
      {{"train", "--seed", "-1"}, {"--seed: expected a whole number from 0, found '-1'"}},
      {{"train", "--threads", "99999999999"}, {"--threads: expected a whole number, found '99999999999'"}},
      {{"train", "--virtual-ranks", "-2"}, {"--virtual-ranks: expected 0 or more, found -2"}},
      {{"train", "--warmup-ratio", "1"}, {"--warmup-ratio: expected from 0 to below 1, found 1"}},
      {{"train", "--max-length", "2"}, {"--max-length: expected at least 3, found 2"}},
      {{"train", "--comm-timeout", "0"}, {"--comm-timeout: expected seconds above 0, found 0"}},
      {{"train", "--cache-memory", "5Q"}, {"--cache-memory: expected", "found '5Q'"}},
      {{"train", "--overlap", "maybe"}, {"--overlap: expected true or false, found 'maybe'"}},
      {{"train", "--precision", "fp61"}, {"expected one of auto, fp32, bf16, found 'fp61'", "did you mean"}},
      {{"train", "--select-metric", "acuracy"}, {"found 'acuracy'", "did you mean 'accuracy'?"}},
      {{"train", "--pooling", "max"}, {"'max'", "pooler", "cls", "mean"}},
      {{"train", "--method", "lor"}, {"unknown method 'lor'", "did you mean 'lora'?"}},
      {{"train", "--method", "lora:rank=4"}, {"method 'lora' has no setting 'rank'", "it has:", "lora_alpha"}},
      {{"train", "--method", "lora:r=0"}, {"method 'lora': r must be a whole number from 1, found '0'"}},
      {{"train", "--ood", "file.tsv"}, {"--ood: expected NAME=FILE, found 'file.tsv'"}},
      {{"train", "--lr"}, {"--lr"}},
      {{"train", "somewhere"}, {"too many positional options"}},
      {{"train", "--seed", "1", "--seed", "2"}, {"--seed", "more than once"}},
  };
  for (const auto& [arguments, says] : cases) {
    SCOPED_TRACE(testing::PrintToString(arguments));
    const std::string message = refusal(arguments);
    for (const auto& words : says) EXPECT_THAT(message, HasSubstr(words));
  }
}

TEST(Options, ThatContradictEachOtherAreRefused) {
  for (const auto& [one, other] : std::vector<std::pair<std::vector<std::string>, std::vector<std::string>>>{
           {{"--epochs", "2"}, {"--max-steps", "5"}},
           {{"--task", "wordnet"}, {"--train", "x"}},
           {{"--resume"}, {"--overwrite"}}}) {
    std::vector<std::string> both = {"train"};
    both.insert(both.end(), one.begin(), one.end());
    EXPECT_EQ(refusal(both), "");
    both.insert(both.end(), other.begin(), other.end());
    EXPECT_EQ(refusal(both), one[0] + " and " + other[0] + ": expected one of them, found both");
  }
}

TEST(Options, OfNoCommandAreThoseOfCompare) {
  EXPECT_EQ(parsed({}).command, "compare");
  EXPECT_EQ(parsed({"--seeds", "4"}).seeds, 4);
}

TEST(Options, TakeTheirDefaultsFromTheDesign) {
  const Options options = parsed({"train"});
  EXPECT_EQ(options.epochs, 3);
  EXPECT_EQ(options.training.min_steps, 150);
  EXPECT_EQ(options.training.batch_size, 32);
  EXPECT_EQ(options.max_length, 128);
  EXPECT_EQ(options.comm_timeout, 600);
  EXPECT_EQ(options.training.virtual_ranks, 0);
  EXPECT_FALSE(options.training.learning_rate);
}

TEST(Options, ReadBytesWithUnits) {
  EXPECT_EQ(parsed({"train", "--cache-memory", "1.5K"}).training.cache_memory, 1536);
  EXPECT_EQ(parsed({"train", "--cache-memory", "2g"}).training.cache_memory, std::int64_t{2} << 30);
  EXPECT_EQ(parsed({"train", "--cache-memory", "0"}).training.cache_memory, 0);
}

TEST(Help, ShowsEveryOptionOfEveryCommandWithWhatItIs) {
  for (const CommandInfo& command : commands()) {
    SCOPED_TRACE(command.name);
    const std::vector<const char*> argv = {"dtrain", command.name.c_str(), "--help"};
    std::istringstream text(help_text(3, argv.data()));
    int options = 0;
    for (std::string line; std::getline(text, line);) {
      EXPECT_LE(line.size(), 100u) << line;
      if (!line.starts_with("  --")) continue;
      ++options;
      // "  --name VALUE (=default)   what it is"
      EXPECT_NE(line.find("  ", 3), std::string::npos) << line;
    }
    EXPECT_GE(options, 2);
  }
}

}  // namespace
}  // namespace dtrain::launcher
