#include "data/label_map.h"

#include <gmock/gmock.h>

namespace dtrain::data {
namespace {

using testing::ElementsAre;

LabelMap map_of(const std::vector<std::string>& labels) {
  std::vector<LabelledText> rows;
  for (const std::string& label : labels) rows.push_back({.text = "", .pair = "", .label = label});
  return LabelMap::from_rows(rows);
}

TEST(LabelMap, OrdersNamesByTheirBytes) {
  EXPECT_THAT(map_of({"noun", "adj", "Zulu", "noun", "école"}).names(), ElementsAre("Zulu", "adj", "noun", "école"));
}

TEST(LabelMap, OrdersWholeNumbersByTheirValue) {
  EXPECT_THAT(map_of({"10", "9", "-1", "0", "9"}).names(), ElementsAre("-1", "0", "9", "10"));
  EXPECT_THAT(map_of({"10", "9", "a"}).names(), ElementsAre("10", "9", "a"));
  EXPECT_THAT(map_of({"10", "9", "1.5", "-2"}).names(), ElementsAre("-2", "1.5", "9", "10"));
  // Codes, not numbers.
  EXPECT_THAT(map_of({"10", "09", "9"}).names(), ElementsAre("09", "10", "9"));
  EXPECT_THAT(map_of({"123456789012345678902", "123456789012345678901", "-123456789012345678901"}).names(),
              ElementsAre("-123456789012345678901", "123456789012345678901", "123456789012345678902"));
}

TEST(LabelMap, TakesEqualNumbersForOneLabelWhereAllAreNumbers) {
  const LabelMap numbers = map_of({"1.0", "0", "1", "0.00", "2.0"});
  EXPECT_THAT(numbers.names(), ElementsAre("0", "1", "2.0"));
  EXPECT_EQ(numbers.id_of("1.0"), 1);
  EXPECT_EQ(numbers.id_of("+1"), 1);
  EXPECT_EQ(numbers.id_of("-0"), 0);
  EXPECT_EQ(numbers.id_of("2"), 2);
  EXPECT_EQ(numbers.id_of("two"), -1);
  EXPECT_EQ(numbers.id_of("01"), -1);
  const LabelMap words = map_of({"1.0", "1", "one"});
  EXPECT_THAT(words.names(), ElementsAre("1", "1.0", "one"));
  EXPECT_EQ(words.id_of("1.00"), -1);
}

TEST(LabelMap, KeepsTheNamesOfAModelApart) {
  const LabelMap labels({"1.0", "1", "0"});
  EXPECT_EQ(labels.id_of("1.0"), 0);
  EXPECT_EQ(labels.id_of("1"), 1);
  EXPECT_EQ(LabelMap({"0", "1"}).id_of("1.0"), 1);
}

TEST(LabelMap, HasTheLabelsOfLists) {
  std::vector<LabelledText> rows(3);
  rows[0].labels = {"late", "rude"};
  rows[2].labels = {"kind"};
  EXPECT_THAT(LabelMap::from_rows(rows).names(), ElementsAre("kind", "late", "rude"));
}

TEST(LabelMap, DoesNotDependOnTheOrderOfTheRows) {
  EXPECT_EQ(map_of({"1", "01", "2"}).names(), map_of({"2", "01", "1"}).names());
}

TEST(LabelMap, FindsTheIdOfEachNameAndOfNoOther) {
  const LabelMap labels = map_of({"b", "a", "c"});
  ASSERT_EQ(labels.size(), 3);
  for (std::int64_t id = 0; id < labels.size(); ++id)
    EXPECT_EQ(labels.id_of(labels.names()[static_cast<std::size_t>(id)]), id);
  EXPECT_EQ(labels.id_of("d"), -1);
  EXPECT_EQ(labels.id_of(""), -1);
}

}  // namespace
}  // namespace dtrain::data
