// Which columns of a file are read, and when nobody can know.

#include "data/readers/column_choice.h"

#include <gmock/gmock.h>

#include "tests/data/data_file.h"

namespace dtrain::data {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;

class ColumnsOfAFile : public DataFile {};

const std::string kFour = "src\t1\t\tone\nsrc\t0\t*\ttwo\n";

Columns chosen(const std::string& text, const std::string& label, const std::string& pair = "") {
  return {.text = text, .pair = pair, .label = label};
}

TEST_F(ColumnsOfAFile, WithoutAHeaderOfMoreThanThreeMustBeChosen) {
  EXPECT_THAT(failure("a.tsv", kFour),
              AllOf(HasSubstr("a.tsv: 4 columns and no header"), HasSubstr("--label-column 2 --text-column 4"),
                    EndsWith("\n  line 1: [1] src  [2] 1  [3]   [4] one\n  line 2: [1] src  [2] 0  [3] *  [4] two")));
  const auto texts = read("a.tsv", kFour, chosen("4", "2"));
  EXPECT_THAT(rows_of(texts), ElementsAre("1|one|", "0|two|"));
  EXPECT_EQ(texts.columns, "text: column 4, label: column 2; not read: column 1, column 3");
  EXPECT_FALSE(texts.columns_assumed);
  EXPECT_THAT(rows_of(read("a.tsv", kFour, chosen("4", "2", "1"))), ElementsAre("1|one|src", "0|two|src"));
}

TEST_F(ColumnsOfAFile, AreCountedFromOne) {
  EXPECT_EQ(failure("a.tsv", kFour, chosen("5", "2")), "a.tsv: there is no column 5 (--text-column); there are 4");
  EXPECT_EQ(failure("a.tsv", kFour, chosen("0", "2")), "a.tsv: --text-column 0: columns are counted from 1");
  EXPECT_EQ(failure("a.tsv", kFour, chosen("2", "2")),
            "a.tsv: label and text are the same column, 2; --label-column and --text-column choose them");
  EXPECT_THAT(failure("a.tsv", kFour, chosen("4", "")),
              HasSubstr("a.tsv: 4 columns without a header: which one is the label? --label-column takes its number."));
  EXPECT_THAT(failure("a.tsv", kFour, chosen("", "2")), HasSubstr("which one is the text? --text-column"));
}

TEST_F(ColumnsOfAFile, OfTwoTheOneThatIsNotChosenIsTheOther) {
  EXPECT_THAT(rows_of(read("a.tsv", "one\tx\ntwo\ty\n", chosen("", "2"))), ElementsAre("x|one|", "y|two|"));
  EXPECT_THAT(rows_of(read("a.tsv", "one\tx\ntwo\ty\n", chosen("1", ""))), ElementsAre("x|one|", "y|two|"));
}

TEST_F(ColumnsOfAFile, WithAHeaderMayBeChosenByNumberButANameWins) {
  EXPECT_THAT(rows_of(read("a.csv", "id,text,label,body\n1,a,x,b\n", chosen("4", "3"))), ElementsAre("x|b|"));
  EXPECT_THAT(rows_of(read("a.csv", "id,text,label,2\n1,a,x,b\n", chosen("2", "label"))), ElementsAre("x|b|"));
  // Numbers alone say that there is no header, unless it has a known name.
  EXPECT_THAT(rows_of(read("b.csv", "one,x\ntwo,y\n", chosen("1", "2"))), ElementsAre("x|one|", "y|two|"));
  EXPECT_THAT(rows_of(read("b.csv", "text,kind\ntwo,y\n", chosen("1", "2"))), ElementsAre("y|two|"));
  EXPECT_EQ(failure("c.jsonl", R"({"text": "a", "label": "x"})", chosen("1", "2")),
            "c.jsonl: there is no column '1' (--text-column); there are: label, text");
}

TEST_F(ColumnsOfAFile, HaveAHeaderOrNotAsTheOptionSays) {
  Columns columns;
  columns.header = Header::no;
  EXPECT_THAT(rows_of(read("a.csv", "text,label\ny,two\n", columns)), ElementsAre("text|label|", "y|two|"));
  EXPECT_THAT(failure("a.csv", "text,label\ny,two\n", {.text = "text", .pair = "", .label = "", .header = Header::no}),
              HasSubstr("--text-column text: expected a column's number, since the file has no header"));
  columns = chosen("2", "1");
  columns.header = Header::yes;
  EXPECT_THAT(rows_of(read("a.tsv", "kind\tcontent\ny\ttwo\n", columns)), ElementsAre("y|two|"));
}

TEST_F(ColumnsOfAFile, ThatATaskOfPairsHasAreAPair) {
  for (const auto& [first, second] : std::vector<std::pair<std::string, std::string>>{{"sentence1", "sentence2"},
                                                                                      {"question1", "question2"},
                                                                                      {"premise", "hypothesis"},
                                                                                      {"question", "sentence"},
                                                                                      {"text", "text_pair"},
                                                                                      {"text", "pair"},
                                                                                      {"query", "passage"},
                                                                                      {"Sentence_A", "Sentence_B"}}) {
    const auto texts = read("a.tsv", fmt::format("index\t{}\t{}\tlabel\n7\tone\ttwo\tx\n", first, second));
    EXPECT_THAT(rows_of(texts), ElementsAre("x|one|two"));
    EXPECT_EQ(texts.columns, fmt::format("text: {}, pair: {}, label: label; not read: index", first, second));
  }
}

TEST_F(ColumnsOfAFile, OfAPairMayBeReadAlone) {
  const std::string content = "question\tsentence\tlabel\none\ttwo\tx\n";
  EXPECT_THAT(rows_of(read("a.tsv", content, {.text = "question", .pair = "none", .label = ""})),
              ElementsAre("x|one|"));
  EXPECT_THAT(rows_of(read("a.tsv", content, chosen("sentence", ""))), ElementsAre("x|two|"));
  EXPECT_THAT(rows_of(read("a.tsv", content, chosen("question", ""))), ElementsAre("x|one|two"));
  EXPECT_THAT(rows_of(read("a.tsv", content, chosen("", "", "sentence"))), ElementsAre("x|one|two"));
  EXPECT_THAT(rows_of(read("b.tsv", "x\tone\ttwo\n", {.text = "", .pair = "none", .label = ""})),
              ElementsAre("x|one|"));
}

TEST_F(ColumnsOfAFile, AreFoundWithOtherCaseOrBlanksInTheHeader) {
  EXPECT_THAT(rows_of(read("a.csv", "Text, Label\none,x\n")), ElementsAre("x|one|"));
  EXPECT_THAT(rows_of(read("a.tsv", "LABEL\tSentence\nx\tone\n")), ElementsAre("x|one|"));
  EXPECT_THAT(rows_of(read("b.csv", "Label,label,text\nx,y,one\n")), ElementsAre("y|one|"));
}

TEST_F(ColumnsOfAFile, OfOneNameMustBeToldApart) {
  EXPECT_THAT(failure("a.csv", "kind,kind,text\nx,y,one\n", chosen("", "kind")),
              HasSubstr("several columns are called 'kind' (--label-column)"));
}

TEST_F(ColumnsOfAFile, AreNoHeaderForAClassThatIsCalledLikeAColumn) {
  EXPECT_THAT(rows_of(read("a.tsv", "question\twhy is it so\nanswer\tit is\n")),
              ElementsAre("question|why is it so|", "answer|it is|"));
}

TEST_F(ColumnsOfAFile, OfAHeaderWithOtherNamesDoNotBecomeAClass) {
  std::string numbers = "Liked\tReview of it\n";
  std::string words = "Sentiment\tReview\n";
  for (int i = 0; i < 8; ++i) {
    numbers += fmt::format("{}\ta text of number {}\n", i % 2, i);
    words += fmt::format("{}\ta text of number {}\n", i % 2 == 0 ? "pos" : "neg", i);
  }
  EXPECT_THAT(failure("a.tsv", numbers),
              AllOf(HasSubstr("a.tsv:1: this line looks like a header"),
                    HasSubstr("--label-column 'Liked' --text-column 'Review of it'"), HasSubstr("--header no")));
  EXPECT_THAT(failure("b.tsv", words), HasSubstr("b.tsv:1: this line looks like a header"));
  EXPECT_THAT(failure("b.tsv", words, chosen("2", "1")), HasSubstr("b.tsv:1: this line looks like a header"));
  EXPECT_EQ(read("b.tsv", words, chosen("Review", "Sentiment")).rows.size(), 8U);
  Columns columns;
  columns.header = Header::no;
  EXPECT_EQ(read("b.tsv", words, columns).rows.size(), 9U);
}

TEST_F(ColumnsOfAFile, MayBeginWithARowWhoseLabelIsRare) {
  std::string content = "rare\tthis is a text like all others are\n";
  for (int i = 0; i < 8; ++i) content += fmt::format("{}\ta text of number {}\n", i % 2 == 0 ? "pos" : "neg", i);
  EXPECT_EQ(read("a.tsv", content).rows.size(), 9U);
}

}  // namespace
}  // namespace dtrain::data
