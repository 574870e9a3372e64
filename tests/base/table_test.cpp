#include "base/table.h"

#include <gtest/gtest.h>

namespace dtrain {
namespace {

TEST(TerminalTable, AlignsTheFirstColumnLeftAndTheOthersRight) {
  EXPECT_EQ(terminal_table({{"method", "N", "accuracy"}, {{"full", "1000", ".737"}, {"lora", "100", ".7"}}}),
            "method     N  accuracy\n"
            "──────  ────  ────────\n"
            "full    1000      .737\n"
            "lora     100        .7\n");
}

TEST(TerminalTable, AlignsColumnsWithWordsLeft) {
  EXPECT_EQ(terminal_table({{"method", "N", "paper"},
                            {{"lora", "7", "Hu et al."}, {"ours", "12", ""}, {"x", "1", "2"}, {"y", "3", "b"}}}),
            "method   N  paper\n"
            "──────  ──  ─────────\n"
            "lora     7  Hu et al.\n"
            "ours    12\n"
            "x        1  2\n"
            "y        3  b\n");
}

TEST(TerminalTable, CountsCodePointsNotBytes) {
  EXPECT_EQ(terminal_table({{"classe", "±"}, {{"é", "±.01"}, {"naïveté", "1"}}}),
            "classe      ±\n"
            "───────  ────\n"
            "é        ±.01\n"
            "naïveté     1\n");
}

TEST(TerminalTable, AlignsWhatIsTwoColumnsWide) {
  EXPECT_EQ(terminal_table({{"class", "rows"}, {{"動物", "12"}, {"plant", "3"}}}),
            "class  rows\n"
            "─────  ────\n"
            "動物     12\n"
            "plant     3\n");
}

TEST(TerminalTable, TakesRowsThatAreShorterThanTheHeader) {
  EXPECT_EQ(terminal_table({{"a", "b"}, {{"1"}}}), "a  b\n─  ─\n1\n");
}

TEST(MarkdownTable, SaysTheAlignment) {
  EXPECT_EQ(markdown_table({{"method", "accuracy"}, {{"full", ".7"}}}),
            "| method | accuracy |\n"
            "| ------ | -------: |\n"
            "| full   |       .7 |\n");
}

TEST(MarkdownTable, HasARuleOfAtLeastThreeForEveryColumn) {
  EXPECT_EQ(markdown_table({{"m", "N"}, {{"a", "1"}}}),
            "| m   |   N |\n"
            "| --- | --: |\n"
            "| a   |   1 |\n");
}

TEST(MarkdownTable, EscapesBars) {
  EXPECT_EQ(markdown_table({{"class", "n"}, {{"a|b||", "1"}}}),
            "| class    |   n |\n"
            "| -------- | --: |\n"
            "| a\\|b\\|\\| |   1 |\n");
}

}  // namespace
}  // namespace dtrain
