#include "launcher/shown_commands.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

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
}

}  // namespace
}  // namespace dtrain::launcher
