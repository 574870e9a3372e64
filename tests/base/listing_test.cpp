#include "base/listing.h"

#include <gtest/gtest.h>

namespace dtrain {
namespace {

TEST(Listing, NamesTheFirstAndCountsTheOthers) {
  EXPECT_EQ(capped_list({}), "");
  EXPECT_EQ(capped_list({"a"}), "a");
  EXPECT_EQ(capped_list({"a", "b", "c"}, 3), "a, b, c");
  EXPECT_EQ(capped_list({"a", "b", "c", "d", "e"}, 3), "a, b, c and 2 more");
  EXPECT_EQ(capped_list(std::vector<std::string>(1000, "x")), "x, x, x, x, x, x, x, x, x, x and 990 more");
}

TEST(Listing, CutsALongTextBetweenCodePoints) {
  EXPECT_EQ(shown_text("short"), "short");
  EXPECT_EQ(shown_text("abcdef", 3), "abc...");
  EXPECT_EQ(shown_text("aéb", 2), "a...");
  EXPECT_EQ(shown_text("aéb", 3), "aé...");
  EXPECT_EQ(shown_text("aéb", 4), "aéb");
  EXPECT_LT(capped_list({std::string(10'000'000, 'x'), "b"}).size(), 100U);
}

TEST(Listing, KeepsATextOnOneLine) {
  EXPECT_EQ(shown_text("a\r\nb\tc\x7F"), "a  b c ");
  EXPECT_EQ(capped_list({"a\nb", "中"}), "a b, 中");
}

}  // namespace
}  // namespace dtrain
