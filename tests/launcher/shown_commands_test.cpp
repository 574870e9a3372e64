#include "launcher/shown_commands.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <boost/program_options/options_description.hpp>
#include <set>
#include <string>
#include <vector>

#include "launcher/option_groups.h"

namespace dtrain::launcher {
namespace {

std::string text_for(const std::vector<std::string>& arguments) {
  std::vector<const char*> argv = {"dtrain", "compare"};
  for (const auto& argument : arguments) argv.push_back(argument.c_str());
  return training_options_of(parse_options(static_cast<int>(argv.size()), argv.data()));
}

TEST(ShellWord, IsReadBackAsItWas) {
  EXPECT_EQ(shell_word("out/config.ini"), "out/config.ini");
  EXPECT_EQ(shell_word("my study/config.ini"), "'my study/config.ini'");
  EXPECT_EQ(shell_word("it's \"$HOME\""), "'it'\\''s \"$HOME\"'");
  EXPECT_EQ(shell_word("日本"), "'日本'");
  EXPECT_EQ(shell_word(""), "''");
}

TEST(TrainingOptions, AreThoseThatMakeAStudysTrainingAnother) {
  EXPECT_EQ(text_for({"--samples", "100", "--seeds", "2", "--output", "out", "--metric", "macro_f1"}), "");
  EXPECT_EQ(text_for({"--model", "my model", "--max-steps", "8", "--batch-size", "16", "--seed", "3"}),
            " --batch-size 16 --max-steps 8 --model 'my model'");
  EXPECT_EQ(text_for({"--ignore-label", "-", "--ignore-label", "none", "--drop-unknown-labels"}),
            " --drop-unknown-labels --ignore-label - --ignore-label none");
  EXPECT_EQ(text_for({"--precision", "bf16", "--reduce-precision", "bf16"}),
            " --precision bf16 --reduce-precision bf16");
  EXPECT_EQ(text_for({"--text-column", "true", "--label-column", "false"}), " --label-column false --text-column true");
}

std::set<std::string> options_of(const std::string& name) {
  const auto command =
      std::find_if(commands().begin(), commands().end(), [&](const CommandInfo& known) { return known.name == name; });
  Options ignored;
  const auto described = describe_options(*command, ignored);
  std::set<std::string> names;
  for (const auto& option : described.options()) names.insert(option->long_name());
  return names;
}

// Whoever adds an option to both commands says here, or there, what it is.
TEST(TrainingOptions, AreAllThatBothCommandsHaveButThese) {
  const std::set<std::string> left_out = {
      // Which examples, which of a study's trainings, and what only its search does.
      "task", "train", "dev", "samples", "subset-seed", "test", "test-samples", "ood", "ood-samples", "seed",
      "patience",
      // How it is computed, to the same numbers but for the order of sums.
      "micro-batch-size", "virtual-ranks", "device", "backend", "threads", "comm-timeout", "cache-memory",
      "token-cache", "bucket-bytes", "overlap", "shard-optimizer",
      // Where it is kept, and how long it takes.
      "output", "overwrite", "resume", "max-time", "tensorboard", "config", "help"};
  const auto of_study = options_of("compare");
  std::set<std::string> left_out_here;
  for (const std::string& name : options_of("train")) {
    if (of_study.count(name) == 0) continue;
    Options study;
    study.resolved = name + " = 7\n";
    const std::string shown = training_options_of(study);
    if (shown.empty()) left_out_here.insert(name);
    EXPECT_TRUE(shown.empty() || shown == " --" + name || shown == " --" + name + " 7") << shown;
  }
  EXPECT_EQ(left_out_here, left_out);
}

}  // namespace
}  // namespace dtrain::launcher
