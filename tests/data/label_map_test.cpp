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
  EXPECT_THAT(map_of({"10", "9", "1.5"}).names(), ElementsAre("1.5", "10", "9"));
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
