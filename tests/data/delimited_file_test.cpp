// TSV and CSV: quotes, separators, line ends.

#include "data/readers/delimited_file.h"

#include <gmock/gmock.h>

#include "tests/data/data_file.h"

namespace dtrain::data {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class DelimitedFile : public DataFile {};

TEST_F(DelimitedFile, OfTabsIsReadAsItsQuotesSayWhereAllFieldsAreQuoted) {
  const std::string content =
      "\"text\"\t\"label\"\n\"a \"\"b\"\"\tc\"\t\"x\"\n\"two\nlines\"\t\"y\"\n\"plain\"\t\"z\"\n";
  const auto texts = read("a.tsv", content);
  EXPECT_THAT(rows_of(texts), ElementsAre("x|a \"b\"\tc|", "y|two\nlines|", "z|plain|"));
  EXPECT_EQ(texts.rows[2].line, 5);
  EXPECT_EQ(texts.format, "tab-separated, quoted as CSV is");
  // QUOTE_NONNUMERIC
  EXPECT_THAT(rows_of(read("b.tsv", "\"text\"\t\"label\"\n\"one\"\t1\n\"two\"\t0.5\n")),
              ElementsAre("1|one|", "0.5|two|"));
  EXPECT_THAT(rows_of(read("c.tsv", "1\t\"one\"\n0\t\"two\"\n")), ElementsAre("1|one|", "0|two|"));
}

TEST_F(DelimitedFile, OfTabsIsReadAsItsQuotesSayWhereJustTheFieldsThatNeedThemHaveThem) {
  EXPECT_THAT(
      rows_of(read("pandas.tsv", "label\ttext\nx\tone\ny\t\"she said \"\"two\"\" twice\"\nz\t\"a\nb\"\nz\t\"a\tb\"\n")),
      ElementsAre("x|one|", "y|she said \"two\" twice|", "z|a\nb|", "z|a\tb|"));
  // Excel's tab-delimited text quotes what holds a comma, too.
  EXPECT_THAT(rows_of(read("excel.txt", "label\ttext\r\nx\tone\r\ny\t\"two, three\"\r\n")),
              ElementsAre("x|one|", "y|two, three|"));
}

TEST_F(DelimitedFile, OfTabsKeepsQuotesThatMerelyStandInTheTexts) {
  EXPECT_THAT(rows_of(read("a.tsv", "label\ttext\nx\tsay \"one\" now\ny\t\"two\" it is\n")),
              ElementsAre("x|say \"one\" now|", "y|\"two\" it is|"));
  // Whole texts in quotes among others without: no program writes them so.
  EXPECT_THAT(rows_of(read("b.tsv", "x\tone\ny\t\"Great movie\"\n")), ElementsAre("x|one|", "y|\"Great movie\"|"));
  EXPECT_THAT(rows_of(read("c.tsv", "x\t\"open\ny\ttwo\n")), ElementsAre("x|\"open|", "y|two|"));
  // One stray quote opens, another closes: every line has its two fields.
  EXPECT_THAT(rows_of(read("d.tsv", "x\t\"open\ny\ttwo\nz\tclosed\"\n")),
              ElementsAre("x|\"open|", "y|two|", "z|closed\"|"));
  const Columns inputs{.text = "", .pair = "", .label = "", .label_required = false};
  EXPECT_THAT(rows_of(read("f.txt", "\"Hello,\" she said.\n\"Bye.\"\n", inputs)),
              ElementsAre("|\"Hello,\" she said.|", "|\"Bye.\"|"));
}

TEST_F(DelimitedFile, OfTabsWhoseHeaderIsQuotedIsRefusedWhereAQuoteIsAtFault) {
  EXPECT_EQ(failure("a.tsv", "\"text\"\t\"label\"\n\"one\"\t\"x\"\n\"two\"s\"\t\"y\"\n"),
            "a.tsv:3:6: expected a tab or a line end after the closing quote, found 's'");
  EXPECT_EQ(failure("b.tsv", "\"text\"\t\"label\"\n\"one\"\t\"x\n"),
            "b.tsv:2:7: this quote is never closed; is the file complete?");
}

TEST_F(DelimitedFile, OfTabsWithALineThatMustBeQuotedIsReadSoOrRefusedWhereAnotherCannotBe) {
  const std::string quoted = "label\ttext\nx\t\"a \"\"b\"\" c\"\n";
  EXPECT_THAT(rows_of(read("a.tsv", quoted + "y\tand \"two\"\nz\t\"needless\"\n")),
              ElementsAre("x|a \"b\" c|", "y|and \"two\"|", "z|needless|"));
  const std::string rest =
      ": this field begins with a quote and is not quoted as CSV is, which line 2 is; expected all fields of a file to "
      "be "
      "written in one way";
  EXPECT_EQ(failure("b.tsv", quoted + "y\ttwo\ny\t\"three\nz\tfour\n"), "b.tsv:4:3" + rest);
  EXPECT_EQ(failure("b.tsv", quoted + "y\t\"two\nz\t\"three\tfour\"\n"), "b.tsv:3:3" + rest);
  EXPECT_EQ(failure("c.tsv", quoted + "y\t\"two\" it is\n"), "c.tsv:3:3" + rest);
  // Every line has its two fields: the quotes of two lines are no pair.
  EXPECT_EQ(failure("d.tsv", quoted + "y\t\"two\nz\tthree\"\n"), "d.tsv:3:3" + rest);
  EXPECT_EQ(failure("e.tsv", "label\ttext\ny\t\"one\nx\t\"tab\there\"\n"),
            "e.tsv:2:3: this field begins with a quote and is not quoted as CSV is, which line 3 is; expected all "
            "fields of a "
            "file to be written in one way");
}

TEST_F(DelimitedFile, OfOtherSeparatorsIsReadByTheOneThatFits) {
  const auto semicolons = read("excel.csv", "\xEF\xBB\xBFtext;label\r\n\"one; more, too\";x\r\ntwo;y\r\n");
  EXPECT_THAT(rows_of(semicolons), ElementsAre("x|one; more, too|", "y|two|"));
  EXPECT_EQ(semicolons.format, "semicolon-separated");
  EXPECT_THAT(rows_of(read("tab.csv", "label\ttext\nx\tone, two\n")), ElementsAre("x|one, two|"));
  EXPECT_THAT(rows_of(read("bar.csv", "label|text\nx|one, two\n")), ElementsAre("x|one, two|"));
  // Names decide before widths, and the comma where nothing does.
  EXPECT_THAT(rows_of(read("a.csv", "text,label\none; two,x\nthree; four,y\n")),
              ElementsAre("x|one; two|", "y|three; four|"));
  Columns columns;
  columns.text = "Satz";
  columns.label = "Klasse";
  EXPECT_THAT(rows_of(read("b.csv", "Klasse;Satz\nx;eins, zwei\ny;drei\n", columns)),
              ElementsAre("x|eins, zwei|", "y|drei|"));
  EXPECT_THAT(failure("c.csv", "kind;content\nx;one, two\ny;three\n"), HasSubstr("There are: kind, content"));
  EXPECT_THAT(failure("d.csv", "a;b,c\nx,y;z\n"), HasSubstr("There are: a;b, c"));
}

TEST_F(DelimitedFile, IsReadByTheSeparatorThatAnOptionNames) {
  Columns columns;
  columns.separator = '^';
  EXPECT_THAT(rows_of(read("a.csv", "label^text\nx^one, two;\n", columns)), ElementsAre("x|one, two;|"));
  EXPECT_THAT(rows_of(read("a.txt", "x^\"one^two\"\ny^three\n", columns)), ElementsAre("x|one^two|", "y|three|"));
  EXPECT_EQ(failure("b.csv", "label^text\nx^\"one\" two\n", columns),
            "b.csv:2:8: expected a '^' or a line end after the closing quote, found ' '");
  columns.separator = ',';
  EXPECT_THAT(rows_of(read("c.csv", "text;x,label\none;two,y\n",
                           {.text = "text;x", .pair = "", .label = "", .separator = ','})),
              ElementsAre("y|one;two|"));
}

TEST_F(DelimitedFile, WithOneColumnIsRefusedWithWhatItWasCutBy) {
  EXPECT_THAT(
      failure("a.tsv", "x,one\ny,two\n"),
      HasSubstr("a.tsv:1: one column, found by tab-separated fields; expected a label and a text (--separator"));
}

}  // namespace
}  // namespace dtrain::data
