#include "data/readers/labelled_text.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <chrono>

#include "tests/data/data_file.h"

namespace dtrain::data {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;

TEST_F(DataFile, WithAHeaderIsReadByHuggingFacesNames) {
  const auto texts = read("a.tsv", "idx\tsentence2\tlabel\tsentence1\n0\tpair\tyes\ttext\n");
  EXPECT_THAT(rows_of(texts), ElementsAre("yes|text|pair"));
  EXPECT_TRUE(texts.has_pairs);
  EXPECT_TRUE(texts.has_labels);
  EXPECT_THAT(rows_of(read("b.csv", "text,label\n\"a, b\",1\n")), ElementsAre("1|a, b|"));
  EXPECT_THAT(rows_of(read("c.jsonl", R"({"sentence": "s", "label": 3})")), ElementsAre("3|s|"));
}

TEST_F(DataFile, OfTabsWithoutAHeaderHoldsLabelTextAndSecondText) {
  EXPECT_THAT(rows_of(read("a.tsv", "x\tone\ny\ttwo\n")), ElementsAre("x|one|", "y|two|"));
  EXPECT_THAT(rows_of(read("b.txt", "x\tone\tpair\n")), ElementsAre("x|one|pair"));
}

TEST_F(DataFile, OfInputsWithoutLabelsIsReadWhereTheyAreNotRequired) {
  const Columns inputs{.text = "", .pair = "", .label = "", .label_required = false};
  const auto texts = read("a.tsv", "just a text\nanother\n", inputs);
  EXPECT_THAT(rows_of(texts), ElementsAre("|just a text|", "|another|"));
  EXPECT_FALSE(texts.has_labels);
  EXPECT_THAT(rows_of(read("b.csv", "text\none\n", inputs)), ElementsAre("|one|"));
  EXPECT_THAT(rows_of(read("c.csv", "text,label\none,1\n", inputs)), ElementsAre("1|one|"));
}

TEST_F(DataFile, IsReadByTheColumnsThatTheOptionsName) {
  const Columns columns{.text = "title", .pair = "body", .label = "topic", .label_required = true};
  EXPECT_THAT(rows_of(read("a.csv", "topic,label,body,title\nA,B,C,D\n", columns)), ElementsAre("A|D|C"));
}

TEST_F(DataFile, KeepsTheLineOnWhichEachRowBegins) {
  const auto texts = read("a.csv", "text,label\n\"one\r\nand more\",x\n\ntwo,y\n");
  ASSERT_EQ(texts.rows.size(), 2U);
  EXPECT_EQ(texts.rows[0].line, 2);
  EXPECT_EQ(texts.rows[0].text, "one\r\nand more");
  EXPECT_EQ(texts.rows[1].line, 5);
}

TEST_F(DataFile, MayHaveCarriageReturnsAByteOrderMarkAndNoLastLineEnd) {
  EXPECT_THAT(rows_of(read("a.tsv", "\xEF\xBB\xBFlabel\ttext\r\nx\tone\r\ny\ttwo")), ElementsAre("x|one|", "y|two|"));
  EXPECT_THAT(rows_of(read("a.csv", "\xEF\xBB\xBFlabel,text\r\nx,one\r\ny,two")), ElementsAre("x|one|", "y|two|"));
  EXPECT_THAT(rows_of(read("a.jsonl", "\xEF\xBB\xBF{\"label\":\"x\",\"text\":\"one\"}\r\n")), ElementsAre("x|one|"));
}

TEST_F(DataFile, MayEndItsLinesWithCarriageReturnsAlone) {
  EXPECT_THAT(rows_of(read("a.tsv", "text\tlabel\rone\tx\rtwo\ty\r")), ElementsAre("x|one|", "y|two|"));
  EXPECT_THAT(rows_of(read("a.csv", "text,label\rone,x\rtwo,y")), ElementsAre("x|one|", "y|two|"));
  EXPECT_THAT(rows_of(read("a.jsonl", "{\"text\":\"one\",\"label\":1}\r{\"text\":\"two\",\"label\":2}\r")),
              ElementsAre("1|one|", "2|two|"));
  const auto mixed = read("b.tsv", "text\tlabel\rone\tx\r\n\r\ntwo\ty\nthree\tz\r");
  EXPECT_THAT(rows_of(mixed), ElementsAre("x|one|", "y|two|", "z|three|"));
  EXPECT_EQ(mixed.rows[1].line, 4);
  EXPECT_EQ(mixed.rows[2].line, 5);
  EXPECT_EQ(failure("c.csv", "label,text\rx,one\ry,\"two"),
            "c.csv:3:3: this quote is never closed; is the file complete?");
  EXPECT_THAT(notes("d.tsv", "label\ttext\rx\tcaf\xE9\ry\tth\xE9"),
              ElementsAre("d.tsv:2:6: invalid UTF-8, replaced by U+FFFD (2 lines in all)"));
}

TEST_F(DataFile, ThatIsMissingIsNamed) {
  const auto path = directory.path() / "missing.tsv";
  EXPECT_EQ(failure_of<InputError>([&] { read_labelled_texts(path, {}); }),
            "cannot read " + path.string() + ": No such file or directory");
}

TEST_F(DataFile, OfAnUnknownKindIsRefusedWithTheKnownOnes) {
  EXPECT_EQ(
      failure("a.xlsx", "x"),
      "a.xlsx: a spreadsheet or ZIP archive, which dtrain does not read; save the sheet as CSV in UTF-8, or unpack "
      "the archive");
  EXPECT_EQ(failure("a.data", "x"),
            "a.data: unknown kind of data file; expected a name that ends in .tsv, .txt, .csv, .jsonl, .json");
}

TEST_F(DataFile, OfAKnownForeignKindIsRefusedByItsNameOrContentWithItsConversion) {
  using namespace std::string_view_literals;
  EXPECT_THAT(failure("a.parquet", "PAR1xxxxPAR1"),
              AllOf(HasSubstr("a.parquet: a Parquet file"),
                    HasSubstr("pandas.read_parquet('a.parquet').to_json('a.jsonl', orient='records', lines=True)")));
  EXPECT_THAT(failure("b.csv", "PAR1xxxxPAR1"), HasSubstr("b.csv: a Parquet file"));
  EXPECT_THAT(failure("c.arrow", "ARROW1\0\0"sv),
              AllOf(HasSubstr("c.arrow: an Arrow file"), HasSubstr("Dataset.from_file")));
  EXPECT_THAT(failure("d.csv", "PK\x03\x04\x14\0\x06\0"sv), HasSubstr("d.csv: a spreadsheet"));
  EXPECT_THAT(failure("e.csv.gz", "\x1F\x8B\x08\0"sv), HasSubstr("gzip -dk 'e.csv.gz'"));
  EXPECT_THAT(rows_of(read("f.tsv", "BZh\tis a text\n")), ElementsAre("BZh|is a text|"));
}

TEST_F(DataFile, ThatIsEmptyIsRefused) {
  for (const char* name : {"a.tsv", "a.csv", "a.jsonl"}) {
    EXPECT_EQ(failure(name, ""), fmt::format("{}: the file is empty", name));
    EXPECT_EQ(failure(name, " \r\n\t\n"), fmt::format("{}: the file is empty", name));
  }
  EXPECT_EQ(failure("a.tsv", "label\ttext\n"), "a.tsv: there are no rows below the header");
  EXPECT_EQ(failure("a.csv", "label,text\n"), "a.csv: there are no rows below the header");
}

TEST_F(DataFile, ThatIsBinaryIsRefusedWhereItsFirstNulByteIs) {
  using namespace std::string_view_literals;
  EXPECT_THAT(failure("a.tsv", "label\ttext\nx\ta\0b\n"sv),
              AllOf(HasSubstr("a.tsv:2:4: a NUL byte"), HasSubstr("binary")));
  EXPECT_EQ(failure("a.csv", "\xFF\xFEl\0a\0"sv), "a.csv:1:1: the file is UTF-16; save it as UTF-8");
}

TEST_F(DataFile, ThatIsCutInAQuotedFieldIsRefusedWhereTheQuoteOpens) {
  EXPECT_EQ(failure("a.csv", "label,text\nx,one\ny,\"two\nthree"),
            "a.csv:3:3: this quote is never closed; is the file complete?");
}

TEST_F(DataFile, WithTextAfterAClosingQuoteIsRefusedThere) {
  EXPECT_EQ(failure("a.csv", "label,text\nx,\"a\nb\" c\n"),
            "a.csv:3:3: expected a comma or a line end after the closing quote, found ' '");
}

TEST_F(DataFile, WithBrokenJsonIsRefusedWhereItBreaks) {
  const std::string good = "{\"label\": \"x\", \"text\": \"one\"}\n";
  EXPECT_THAT(
      failure("a.jsonl", good + "{\"label\": \"x\", \"te"),
      AllOf(HasSubstr("a.jsonl:2:19: not valid JSON: "), HasSubstr("missing closing quote"), HasSubstr("complete?")));
  EXPECT_EQ(failure("a.jsonl", good + "[1, 2]\n"), "a.jsonl:2:1: expected a JSON object, found array");
  EXPECT_THAT(failure("a.jsonl", good + "{\"label\": 1e999, \"text\": \"\"}\n"),
              HasSubstr("a.jsonl:2:1: not valid JSON: number overflow"));
  EXPECT_THAT(failure("a.jsonl", good + R"({"label": "x", "text": "\ud800"})"), HasSubstr("a.jsonl:2:"));
}

TEST_F(DataFile, WithALineOfTooFewColumnsIsRefusedWithThatLine) {
  EXPECT_EQ(failure("a.tsv", "label\ttext\nx\tone\n\ny\n"), "a.tsv:4: expected at least 2 columns, found 1");
  EXPECT_EQ(failure("b.csv", "id,text,label\n1,\"a\nb\",x\n2,c\n"), "b.csv:4: expected at least 3 columns, found 2");
  EXPECT_EQ(failure("c.tsv", "x\tone\tpair\ny\ttwo\n"), "c.tsv:2: expected at least 3 columns, found 2");
}

TEST_F(DataFile, WithAJsonRowThatHoldsNoTextIsRefusedWithThatLine) {
  const std::string good = "{\"text\": \"one\", \"label\": \"x\"}\n";
  EXPECT_THAT(failure("a.jsonl", good + "{\"label\": \"x\"}\n"),
              AllOf(HasSubstr("a.jsonl:2: "), EndsWith("found missing")));
  EXPECT_THAT(failure("a.jsonl", "{\"label\": \"x\"}\n" + good),
              AllOf(HasSubstr("a.jsonl:1: "), EndsWith("found missing")));
  EXPECT_THAT(failure("a.jsonl", good + R"({"text": ["a"], "label": "x"})"),
              EndsWith("a.jsonl:2: expected a string in 'text' (text), found array"));
  EXPECT_THAT(failure("a.jsonl", good + R"({"text": "a", "label": {}})"), EndsWith("(label), found object"));
}

TEST_F(DataFile, OfJsonMayHoldWhatIsNotReadAndNumbersOrBooleansAsLabels) {
  EXPECT_THAT(rows_of(read("a.jsonl",
                           "{\"text\": \"one\", \"label\": 12, \"spans\": [[1, {\"a\": 2}]]}\n"
                           "{\"text\": \"two\", \"label\": true}\n"
                           "{\"text\": null, \"label\": -0.5, \"late\": {}}\n")),
              ElementsAre("12|one|", "true|two|", "-0.5||"));
}

TEST_F(DataFile, OfDeeplyNestedJsonIsRefusedWhereItNestsTooDeep) {
  const std::size_t depth = 1'000'000;
  const std::string nested = std::string(depth, '[') + std::string(depth, ']');
  EXPECT_EQ(failure("a.jsonl", "{\"text\": \"one\", \"label\": \"x\", \"tree\": " + nested + "}\n"),
            "a.jsonl:1:138: nests deeper than 100 levels, which no such file does");
}

TEST_F(DataFile, WithoutTheColumnThatAnOptionNamesIsRefusedWithTheNearest) {
  Columns columns;
  columns.label = "lable";
  EXPECT_EQ(failure("a.csv", "label,text\nx,one\n", columns),
            "a.csv: there is no column 'lable' (--label-column); did you mean 'label'?; there are: label, text");
  EXPECT_EQ(
      failure("a.csv", "a,b\nx,one\n"),
      "a.csv: no column named text, sentence or sentence1; --text-column takes its name or number; --header no, where "
      "the first line is a row. There are: a, b");
  EXPECT_EQ(
      failure("a.csv", "kind,text\nx,one\n"),
      "a.csv: no column named label; --label-column takes its name or number; --header no, where the first line is a "
      "row. There are: kind, text");
  EXPECT_EQ(failure("a.jsonl", R"({"kind": "x", "text": "one"})"),
            "a.jsonl: no column named label; --label-column takes its name. There are: kind, text");
  // However many and long they are.
  std::string header = "text";
  for (int i = 0; i < 1000; ++i) header += fmt::format(",{}{}", std::string(1000, 'x'), i);
  const std::string message = failure("b.csv", header + "\n" + header + "\n");
  EXPECT_THAT(message, EndsWith("... and 991 more"));
  EXPECT_LT(message.size(), 1000U);
}

TEST_F(DataFile, WithAnEmptyLabelIsRefusedWithThatLine) {
  const std::string rest = " is empty; --ignore-label \"\" leaves such rows out";
  EXPECT_EQ(failure("a.tsv", "text\tlabel\none\tx\ntwo\t\n"), "a.tsv:3: the label (column 2)" + rest);
  EXPECT_EQ(failure("b.tsv", "x\tone\n\t\n"), "b.tsv:2: the label (column 1)" + rest);
  EXPECT_EQ(failure("c.jsonl", R"({"text": "one", "label": null})"), "c.jsonl:1: the label ('label')" + rest);
}

TEST_F(DataFile, WithInvalidUtf8IsReadWithReplacementsThatAreCountedByLine) {
  const std::string content = "label\ttext\nx\tcaf\xE9\ny\tfine\nx\t\xC3\x28 \xED\xA0\x80 \xF5\nx\tend \xE2\x82";
  EXPECT_THAT(rows_of(read("a.tsv", content)),
              ElementsAre("x|caf\uFFFD|", "y|fine|", "x|\uFFFD( \uFFFD \uFFFD|", "x|end \uFFFD|"));
  EXPECT_THAT(notes("a.tsv", content), ElementsAre("a.tsv:2:6: invalid UTF-8, replaced by U+FFFD (3 lines in all)"));
}

TEST_F(DataFile, WithTextsOfControlCharactersAloneIsReadAndTheyAreCounted) {
  EXPECT_THAT(notes("a.csv", "label,text\nx,\x01\x02\x7F\nx,\xC2\x85\xE2\x80\x8B\ny,é\ny,\"\"\n"),
              ElementsAre("a.csv: 3 rows without a visible character (kept)"));
  EXPECT_THAT(notes("b.csv", "label,text,pair\nx,\x01,seen\n"), IsEmpty());
}

TEST_F(DataFile, WithMoreColumnsThanItsHeaderIsReadAndTheRowsAreCounted) {
  EXPECT_THAT(notes("a.tsv", "label\ttext\nx\tone\ny\ttwo\tand a tab\ny\tthree\t\t\n"),
              ElementsAre("a.tsv: 2 rows with more than 2 columns, the first on line 3; the others are not read"));
}

TEST_F(DataFile, WhoseSurplusFieldsMayHaveMovedALabelIsRefused) {
  const std::string rest =
      ", so that nobody can tell which is which; expected a field that holds the separator to be in quotes, and a name "
      "over every column (R's write.table: col.names = NA)";
  EXPECT_EQ(failure("a.csv", "text,label\none,x\ntwo, three,y\nfour,z\n'five, six','y'\n"),
            "a.csv:3: more fields than the 2 columns (2 such rows of 4)" + rest);
  EXPECT_EQ(failure("b.tsv", "title\ttext\tlabel\nx\tone\ty\tz\nx\ttwo\ty\n"),
            "b.tsv:2: more fields than the 3 columns (1 such row of 2)" + rest);
  EXPECT_THAT(rows_of(read("c.csv", "text,label\none,x,\ntwo,y,, \n")), ElementsAre("x|one|", "y|two|"));
  EXPECT_THAT(rows_of(read("d.csv", "label,hypothesis,premise\nx,one,two\ny,three,four, five\n")),
              ElementsAre("x|two|one", "y|four|three"));
}

TEST_F(DataFile, WithAColumnWithoutANameInEveryRowIsRefused) {
  EXPECT_THAT(failure("a.tsv", "label\ttext\n1\tx\tone\n2\ty\ttwo\n"),
              HasSubstr("a.tsv:2: more fields than the 2 columns (2 such rows of 2)"));
  EXPECT_THAT(rows_of(read("b.csv", "label,text\nx,one, two\n")), ElementsAre("x|one|"));
}

TEST_F(DataFile, MayHaveAnEndingInCapitals) {
  EXPECT_THAT(rows_of(read("A.CSV", "label,text\nx,one\n")), ElementsAre("x|one|"));
  EXPECT_THAT(rows_of(read("A.Jsonl", R"({"label": "x", "text": "one"})")), ElementsAre("x|one|"));
  EXPECT_THAT(failure("A.XLSX", "PK"), HasSubstr("a spreadsheet or ZIP archive"));
}

TEST_F(DataFile, WithBlankLinesIsReadAndTheyAreCounted) {
  EXPECT_THAT(notes("a.tsv", "label\ttext\n\nx\tone\n  \ny\ttwo\n\n\n"), ElementsAre("a.tsv: 2 blank lines skipped"));
  EXPECT_THAT(notes("a.csv", "label,text\n\nx,one\n"), ElementsAre("a.csv: 1 blank line skipped"));
  EXPECT_THAT(notes("a.jsonl", "\n{\"label\": 1, \"text\": \"\xC3\xA9\"}\n"),
              ElementsAre("a.jsonl: 1 blank line skipped"));
}

TEST_F(DataFile, OfOneLineOfTenMegabytesIsReadExactlyAndQuickly) {
  std::string text;
  while (text.size() < 10'000'000) text += "word \"quoted\" ";
  std::string doubled;
  for (const char byte : text) doubled += byte == '"' ? "\"\"" : std::string(1, byte);
  std::string escaped;
  for (const char byte : text) escaped += byte == '"' ? "\\\"" : std::string(1, byte);
  const auto start = std::chrono::steady_clock::now();
  EXPECT_TRUE(read("a.tsv", "x\t" + text + "\n").rows.at(0).text == text);
  EXPECT_TRUE(read("a.csv", "label,text\nx,\"" + doubled + "\"\n").rows.at(0).text == text);
  EXPECT_TRUE(read("a.jsonl", R"({"label": "x", "text": ")" + escaped + "\"}").rows.at(0).text == text);
  // A second on any machine; minutes if a step were quadratic.
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
}

}  // namespace
}  // namespace dtrain::data
