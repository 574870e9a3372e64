// JSON under either ending: lines, arrays, an array within an object.

#include "data/readers/json_records.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "tests/data/data_file.h"

namespace dtrain::data {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

class JsonRecords : public DataFile {};

const std::string kFirst = R"({"text": "one", "label": "x"})";
const std::string kSecond = R"({"label": 2, "text": "t \"]} [{,"})";

TEST_F(JsonRecords, MayBeLinesOrAnArrayUnderEitherEnding) {
  for (const char* name : {"a.json", "a.jsonl"}) {
    for (const std::string& content :
         {kFirst + "\n" + kSecond + "\n", "[" + kFirst + "," + kSecond + "]",
          "\n[\n " + kFirst + ",\n" + kSecond + " ]\n",
          "{\"version\": [1, 2], \"data\": [" + kFirst + ", " + kSecond + "], \"more\": [{}]}",
          "{\"count\": 2, \"rows\": [" + kFirst + ", " + kSecond + "]}"})
      EXPECT_THAT(rows_of(read(name, content)), ElementsAre("x|one|", "2|t \"]} [{,|")) << name << content;
  }
  EXPECT_EQ(read("a.json", "[" + kFirst + "]").format, "a JSON array");
  EXPECT_EQ(read("a.json", kFirst).format, "JSON lines");
}

TEST_F(JsonRecords, OfWhichEachHasAKeyOfItsOwnAreRefused) {
  std::string content;
  for (int row = 0; row < 100'000; ++row) content += fmt::format("{{\"text\": \"a\", \"key{}\": 1}}\n", row);
  EXPECT_THAT(failure("a.jsonl", content), AllOf(HasSubstr(" different keys in "), HasSubstr("expected a table")));
  std::string sparse;
  for (int row = 0; row < 5'000; ++row)
    sparse += fmt::format("{{\"text\": \"a\", \"label\": {}, \"key{}\": 1}}\n", row % 2, row % 100);
  EXPECT_EQ(read("b.jsonl", sparse).rows.size(), 5'000U);
}

TEST_F(JsonRecords, MayBeOneObjectOverSeveralLines) {
  EXPECT_THAT(rows_of(read("a.json", "{\n \"text\": \"one\",\n \"label\": \"x\"\n}\n")), ElementsAre("x|one|"));
}

TEST_F(JsonRecords, KeepsTheLineOnWhichEachObjectOfAnArrayBegins) {
  const auto texts =
      read("a.json", "[\n" + kFirst + ",\n{\n\"text\": \"two\",\n\"label\": 1},\r\n\r\n" + kSecond + "]");
  EXPECT_EQ(texts.rows.at(0).line, 2);
  EXPECT_EQ(texts.rows.at(1).line, 3);
  EXPECT_EQ(texts.rows.at(2).line, 7);
  EXPECT_THAT(failure("b.json", "[" + kFirst + ", {\"text\": \"two\"}]"),
              StartsWith("b.json:1 (row 2): expected a string, a number or a list of them in 'label'"));
}

TEST_F(JsonRecords, ThatIsBrokenIsRefusedWhereItBreaks) {
  EXPECT_THAT(failure("a.json", "[\n" + kFirst + ",\n{\"text\": \"two\", \"la"),
              AllOf(StartsWith("a.json:3:20: not valid JSON: syntax error"), HasSubstr("quote"),
                    EndsWith("; is the file complete?")));
  EXPECT_EQ(failure("b.json", "[\n" + kFirst), "b.json:1:1: this array is never closed; is the file complete?");
  EXPECT_EQ(failure("c.json", "[\n" + kFirst + "\n" + kSecond + "]"),
            "c.json:3:1: expected ',' or ']' after an object, found '{'");
  EXPECT_EQ(failure("d.json", "[" + kFirst + ",]"), "d.json:1:32: expected an object after the comma, found ']'");
  EXPECT_EQ(failure("e.json", "[" + kFirst + "]\n,"),
            "e.json:2:1: expected the end of the file after the array, found ','");
  EXPECT_EQ(failure("f.json", "[1, 2]"), "f.json:1:2: expected a JSON object, found number");
  EXPECT_EQ(failure("g.json", "[]"), "g.json: there are no rows in it");
  EXPECT_EQ(failure("h.json", "[{}]"), "h.json: its objects are empty");
  EXPECT_THAT(failure("i.json", "[{\"text\": }]"),
              AllOf(StartsWith("i.json:1:11: not valid JSON: syntax error"), Not(HasSubstr("complete"))));
  EXPECT_THAT(failure("j.json", "[}"), StartsWith("j.json:1:2: not valid JSON: "));
  const std::string deep(200, '[');
  EXPECT_EQ(failure("k.json", "[" + kFirst + ",\n{\"text\": " + deep + std::string(200, ']') + "}]"),
            "k.json:2:109: nests deeper than 100 levels, which no such file does");
}

TEST_F(JsonRecords, OfWholeColumnsIsRefusedWithHowToWriteRows) {
  for (const std::string content :
       {R"({"text": {"0": "one"}, "label": {"0": "x"}})", R"({"text": ["one"], "label": ["x"]})"})
    EXPECT_THAT(failure("a.json", content), AllOf(HasSubstr("one JSON object that holds whole columns"),
                                                  HasSubstr("to_json(FILE, orient='records', lines=True)")));
}

TEST_F(JsonRecords, WithListsOfLabelsIsMultiLabel) {
  const auto texts = read("a.jsonl",
                          "{\"text\": \"one\", \"label\": [\"late\", \" rude\"], \"other\": [1]}\n"
                          "{\"text\": \"two\", \"label\": []}\n"
                          "{\"text\": \"three\", \"label\": [3, 0.5, true]}\n");
  EXPECT_TRUE(texts.has_label_lists);
  EXPECT_THAT(texts.rows.at(0).labels, ElementsAre("late", "rude"));
  EXPECT_THAT(texts.rows.at(1).labels, IsEmpty());
  EXPECT_THAT(texts.rows.at(2).labels, ElementsAre("3", "0.5", "true"));
  for (const LabelledText& row : texts.rows) EXPECT_EQ(row.label, "");
}

TEST_F(JsonRecords, WithListsOfLabelsBesideSingleOnesIsRefusedWithBothLines) {
  const std::string list = R"({"text": "one", "label": ["x"]})";
  EXPECT_EQ(failure("a.jsonl", list + "\n" + kFirst + "\n"),
            "a.jsonl:2: expected a list of labels, as a.jsonl:1 has, found a single label");
  EXPECT_EQ(failure("a.jsonl", kFirst + "\n\n" + list + "\n"),
            "a.jsonl:3: expected a single label, as a.jsonl:1 has, found a list of labels");
  EXPECT_THAT(failure("a.jsonl", R"({"text": "one", "label": [["x"]]})"), EndsWith("found array"));
}

}  // namespace
}  // namespace dtrain::data
