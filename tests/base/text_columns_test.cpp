#include "base/text_columns.h"

#include <gtest/gtest.h>

namespace dtrain {
namespace {

TEST(TextColumns, AreThoseOfATerminal) {
  EXPECT_EQ(text_columns(""), 0U);
  EXPECT_EQ(text_columns("noun.act"), 8U);
  EXPECT_EQ(text_columns("naïveté ±"), 9U);
  EXPECT_EQ(text_columns("日本語クラス"), 12U);
  EXPECT_EQ(text_columns("한국어"), 6U);
  EXPECT_EQ(text_columns("ａｂ"), 4U);       // full-width letters
  EXPECT_EQ(text_columns("e\u0301te"), 3U);  // an accent of its own
  EXPECT_EQ(text_columns("😀 ok"), 5U);
  EXPECT_EQ(text_columns("🚀🪐"), 4U);
  EXPECT_EQ(text_columns("Привет"), 6U);
  EXPECT_EQ(text_columns("✅⌚⭐"), 6U);  // pictographs of old blocks, whose neighbours are one wide
  EXPECT_EQ(text_columns("✓⌘☆"), 3U);
  EXPECT_EQ(text_columns("か\u3099"), 2U);  // a voiced mark of its own
  EXPECT_EQ(text_columns("\U0001FAFF"), 2U) << "not assigned in Unicode 14";
}

// The first and the last of the table, and what lies beside them.
TEST(TextColumns, AreTwoFromTheFirstWideCharacterToTheLast) {
  EXPECT_EQ(text_columns("\u10FF\u1100\u115F\u1160"), 6U);
  EXPECT_EQ(text_columns("\U0001FFFF\U00020000\U0003FFFD\U0003FFFE"), 6U);
}

TEST(TextColumns, TakeBytesThatAreNoUtf8) {
  EXPECT_EQ(text_columns("a\xff"
                         "b"),
            3U);
  EXPECT_EQ(text_columns("\xe6"), 1U);
}

}  // namespace
}  // namespace dtrain
