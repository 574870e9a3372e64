#include "base/nearest_name.h"

#include <gtest/gtest.h>

namespace dtrain {
namespace {

const std::vector<std::string> kOptions = {"train", "test", "text-column", "label-column", "learning-rate"};

TEST(NearestName, FindsATypingError) {
  EXPECT_EQ(nearest_name("trian", kOptions), "train");
  EXPECT_EQ(nearest_name("label-colum", kOptions), "label-column");
  EXPECT_EQ(nearest_name("lable-column", kOptions), "label-column");
  EXPECT_EQ(nearest_name("lerning_rate", kOptions), "learning-rate");
}

TEST(NearestName, FindsWhatANameBegins) { EXPECT_EQ(nearest_name("learn", kOptions), "learning-rate"); }

TEST(NearestName, PrefersTheNameItself) { EXPECT_EQ(nearest_name("test", {"text", "test", "tests"}), "test"); }

TEST(NearestName, DoesNotGuessWhereNothingIsNear) {
  EXPECT_EQ(nearest_name("virtual-ranks", kOptions), "");
  EXPECT_EQ(nearest_name("x", {}), "");
  EXPECT_EQ(nearest_name("1.0", {"0", "1"}), "");
  EXPECT_EQ(nearest_name("x", {"y"}), "");
}

TEST(NearestName, TakesNoTimeForATextInPlaceOfAName) {
  const std::string text(10'000'000, 'x');
  EXPECT_EQ(nearest_name(text, {text, "xxx"}), "");
  EXPECT_EQ(nearest_name("xxxx", {text, "xxx"}), "xxx");
}

TEST(NearestName, LooksAtTheFirstTenThousandNames) {
  std::vector<std::string> known(20'000, "embeddings");
  known[9'999] = "query";
  EXPECT_EQ(nearest_name("queri", known), "query");
  known[9'999] = "embeddings";
  known[10'000] = "query";
  EXPECT_EQ(nearest_name("queri", known), "");
}

TEST(DidYouMean, IsTheEndOfAMessage) {
  EXPECT_EQ(did_you_mean("trian", kOptions), "; did you mean 'train'?");
  EXPECT_EQ(did_you_mean("virtual-ranks", kOptions), "");
}

}  // namespace
}  // namespace dtrain
