#include "data/readers/number_text.h"

#include <gtest/gtest.h>

namespace dtrain::data {
namespace {

TEST(CanonicalNumber, IsOneSpellingForAllOfANumber) {
  for (const char* one : {"1", "1.0", "+1", "1.", "1e0", "10e-1", "0.1E1", "1.000"})
    EXPECT_EQ(canonical_number(one), "1");
  for (const char* half : {"-0.5", "-.5", "-.50", "-5e-1"}) EXPECT_EQ(canonical_number(half), "-0.5");
  for (const char* zero : {"0", "-0", "0.0", "-0.00", ".0", "0e5"}) EXPECT_EQ(canonical_number(zero), "0");
  EXPECT_EQ(canonical_number("1.5e3"), "1500");
  EXPECT_EQ(canonical_number("12e-4"), "0.0012");
  EXPECT_EQ(canonical_number("100"), "100");
}

TEST(CanonicalNumber, IsExact) {
  EXPECT_NE(canonical_number("123456789012345678901"), canonical_number("123456789012345678902"));
  EXPECT_EQ(canonical_number("123456789012345678901.0"), "123456789012345678901");
  EXPECT_NE(canonical_number("0.1"), canonical_number("0.10000000000000000001"));
}

TEST(CanonicalNumber, IsNothingForWhatIsNoNumber) {
  for (const char* text : {"",    "-",  "+",  ".",   "e5",  "1e",  "1e999", "01",  "-007", "00",
                           "1,5", "1 ", " 1", "nan", "inf", "0x1", "1.0.0", "one", "1-",   "--1"})
    EXPECT_EQ(canonical_number(text), std::nullopt) << text;
}

}  // namespace
}  // namespace dtrain::data
