#include "base/log.h"

#include <gtest/gtest.h>

#include <limits>

namespace dtrain {
namespace {

TEST(DurationText, TakesTheUnitThatFits) {
  EXPECT_EQ(duration_text(0), "0 us");
  EXPECT_EQ(duration_text(0.000'012), "12 us");
  EXPECT_EQ(duration_text(0.034), "34 ms");
  EXPECT_EQ(duration_text(1), "1.0 s");
  EXPECT_EQ(duration_text(59.94), "59.9 s");
  EXPECT_EQ(duration_text(75), "1 min 15 s");
  EXPECT_EQ(duration_text(7300), "2 h 1 min");
  EXPECT_EQ(duration_text(360'000), "100 h 0 min");
  EXPECT_EQ(duration_text(-75), "-1 min 15 s");
}

TEST(DurationText, NeverShowsAWholeNextUnit) {
  EXPECT_EQ(duration_text(0.000'999'8), "1 ms");
  EXPECT_EQ(duration_text(0.999'8), "1.0 s");
  EXPECT_EQ(duration_text(59.96), "1 min 0 s");
  EXPECT_EQ(duration_text(119.7), "2 min 0 s");
  EXPECT_EQ(duration_text(3599.7), "1 h 0 min");
}

TEST(DurationText, SaysWhenItIsNotKnown) {
  EXPECT_EQ(duration_text(std::numeric_limits<double>::infinity()), "unknown");
  EXPECT_EQ(duration_text(std::numeric_limits<double>::quiet_NaN()), "unknown");
}

TEST(BytesText, TakesTheUnitThatFits) {
  EXPECT_EQ(bytes_text(0), "0 B");
  EXPECT_EQ(bytes_text(1023), "1023 B");
  EXPECT_EQ(bytes_text(1024), "1.0 KiB");
  EXPECT_EQ(bytes_text(1536), "1.5 KiB");
  EXPECT_EQ(bytes_text(90'880'000), "86.7 MiB");
  EXPECT_EQ(bytes_text(1024.0 * 1024 - 1), "1.0 MiB");
  EXPECT_EQ(bytes_text(3.0 * (1LL << 40)), "3.0 TiB");
  EXPECT_EQ(bytes_text(5000.0 * (1LL << 40)), "5000.0 TiB");
}

TEST(CountText, GroupsByThousands) {
  EXPECT_EQ(count_text(0), "0");
  EXPECT_EQ(count_text(999), "999");
  EXPECT_EQ(count_text(1000), "1,000");
  EXPECT_EQ(count_text(22'713'216), "22,713,216");
  EXPECT_EQ(count_text(-117'659), "-117,659");
  EXPECT_EQ(count_text(std::numeric_limits<long long>::min()), "-9,223,372,036,854,775,808");
}

}  // namespace
}  // namespace dtrain
