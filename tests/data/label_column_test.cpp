// Labels: blanks, case, what stands for none, several of them, and a column that is hardly one of labels.

#include "data/readers/label_column.h"

#include <gmock/gmock.h>

#include "tests/data/data_file.h"

namespace dtrain::data {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class Labels : public DataFile {
 protected:
  // The doubt that check_label_column has; empty: none.
  std::string doubt(const std::string& name, const std::string& content, const Columns& columns = {},
                    const std::function<bool(const std::string&)>& is_known = nullptr) {
    const auto texts = read(name, content, columns);
    try {
      check_label_column(texts, name, is_known);
    } catch (const InputError& error) {
      return without_folder(error.what());
    }
    return "";
  }
};

Columns ignoring(std::vector<std::string> labels) {
  Columns columns;
  columns.ignored_labels = std::move(labels);
  return columns;
}

// Rows of two different texts each time.
std::string rows(int count, const std::string& form, const std::string& head = "") {
  std::string content = head;
  for (int i = 0; i < count; ++i) content += fmt::format(fmt::runtime(form), i, i % 2);
  return content;
}

TEST_F(Labels, HaveNoBlanksAroundThem) {
  EXPECT_THAT(rows_of(read("a.csv", "text,label\r\none,pos \r\ntwo, pos\r\nthree,\xC2\xA0pos\t\r\n")),
              ElementsAre("pos|one|", "pos|two|", "pos|three|"));
  EXPECT_THAT(rows_of(read("b.jsonl", R"({"text": " one ", "label": " pos\n"})")), ElementsAre("pos| one |"));
  EXPECT_THAT(failure("c.csv", "text,label\none, \n"), HasSubstr("c.csv:2: the label (column 2) is empty"));
}

TEST_F(Labels, ThatDifferByCaseOnlyAreKeptApartAndNoted) {
  const std::string content = "label\ttext\npos\t1\nPOS\t2\nneg\t3\nNEG\t4\nNeg\t5\nneg\t6\nother\t7\nÄ\t8\nä\t9\n";
  EXPECT_EQ(read("a.tsv", content).rows.at(1).label, "POS");
  EXPECT_THAT(
      notes("a.tsv", content),
      ElementsAre("a.tsv: labels that differ by case only are kept apart: 'NEG' (1 row) and 'Neg' (1 row) and 'neg' "
                  "(2 rows), 'POS' (1 row) and 'pos' (1 row), 'Ä' (1 row) and 'ä' (1 row)"));
  EXPECT_THAT(notes("b.tsv", "label\ttext\na-b\t1\nA b\t2\n"), IsEmpty());
}

TEST_F(Labels, ThatStandForNoneAreNoted) {
  const std::string content = "label\ttext\n-\tone\npos\ttwo\nnan\tthree\n-\tfour\n-1\tfive\n";
  EXPECT_THAT(
      notes("a.tsv", content),
      ElementsAre("a.tsv: 2 rows with the label '-'; --ignore-label - leaves such rows out, if it stands for no label",
                  HasSubstr("1 row with the label '-1'"), HasSubstr("1 row with the label 'nan'")));
  // Scores may be below zero.
  EXPECT_THAT(notes("b.tsv", "label\ttext\n-1\tone\n0.5\ttwo\n"), IsEmpty());
}

TEST_F(Labels, ThatAreIgnoredLeaveTheirRowsOutAndAreCounted) {
  const std::string content = "label\ttext\n-\tone\npos\ttwo\n-1.0\tthree\n-\tfour\n\tfive\n";
  const auto columns = ignoring({"-", "-1", ""});
  EXPECT_THAT(rows_of(read("a.tsv", content, columns)), ElementsAre("pos|two|"));
  EXPECT_THAT(notes("a.tsv", content, columns),
              ElementsAre("a.tsv: 4 rows left out for their label (--ignore-label -, -1, )"));
  EXPECT_EQ(failure("b.tsv", "label\ttext\n-\tone\n", columns),
            "b.tsv: every row has an ignored label (--ignore-label)");
  EXPECT_THAT(
      rows_of(
          read("c.jsonl",
               "{\"text\": \"one\", \"label\": null}\n{\"text\": \"two\", \"label\": \"x\"}\n{\"text\": \"three\"}\n",
               columns)),
      ElementsAre("x|two|"));
  EXPECT_THAT(
      rows_of(read("d.jsonl", "{\"text\": \"one\", \"label\": [\"x\", \"-\"]}\n{\"text\": \"two\", \"label\": []}\n",
                   columns)),
      ElementsAre("|two|"));
}

TEST_F(Labels, OfARowMayBeSeveralWithASeparator) {
  Columns columns;
  columns.label_separator = ";";
  const auto texts = read("a.csv", "text,label\none,late; rude\ntwo,\nthree,late;\n", columns);
  EXPECT_TRUE(texts.has_label_lists);
  EXPECT_THAT(texts.rows.at(0).labels, ElementsAre("late", "rude"));
  EXPECT_THAT(texts.rows.at(1).labels, IsEmpty());
  EXPECT_THAT(texts.rows.at(2).labels, ElementsAre("late"));
  columns.label_separator = "||";
  EXPECT_THAT(read("b.tsv", "label\ttext\nx||y|z\tone\n", columns).rows.at(0).labels, ElementsAre("x", "y|z"));
  EXPECT_THAT(read("c.jsonl", R"({"text": "one", "label": "x||y"})", columns).rows.at(0).labels, ElementsAre("x", "y"));
}

TEST_F(Labels, ThatAreListsWrittenAsTextAreRefused) {
  EXPECT_THAT(failure("a.csv", "text,label\none,\"['late', 'rude']\"\ntwo,[]\n"),
              AllOf(HasSubstr("a.csv: the labels are lists written as text"), HasSubstr("--label-separator")));
}

TEST_F(Labels, OfWhichMostOccurOnceAreDoubtedWhereNobodyHasSaidWhichColumnTheyAre) {
  EXPECT_THAT(doubt("a.tsv", rows(12, "a text of number {}\t{}\n")),
              AllOf(HasSubstr("a.tsv: 12 different labels in 12 rows: is that the label column?"),
                    HasSubstr("--label-column and --text-column choose others, by name or number"),
                    HasSubstr("\n  line 1: label 'a text of number 0', text '0'\n")));
  EXPECT_THAT(doubt("b.tsv", rows(12, "name{}\ta text\n")), HasSubstr("12 different labels"));
  EXPECT_EQ(doubt("b.tsv", rows(12, "name{}\ta text\n"), {.text = "2", .pair = "", .label = "1"}), "");
  EXPECT_EQ(doubt("c.tsv", rows(12, "name{}\ta text\n", "label\ttext\n")), "");
  EXPECT_EQ(doubt("d.tsv", rows(12, "{}.5\ta text\n")), "");
  EXPECT_EQ(doubt("e.tsv", rows(4, "name{}\ta text\n")), "");
}

TEST_F(Labels, ThatAreWholeTextsAreDoubtedWhateverChoseThem) {
  const Columns columns{.text = "kind", .pair = "", .label = "text"};
  EXPECT_THAT(doubt("a.csv", rows(12, "a text of number {},{}\n", "text,kind\n"), columns),
              HasSubstr("12 different labels in 12 rows: is that the label column?"));
  EXPECT_EQ(doubt("b.csv", rows(12, "a text of number {1},{0}\n", "text,kind\n"), columns), "");
  // Few examples of classes whose names have some words.
  EXPECT_EQ(doubt("c.csv", rows(12, "class of name {},a text that has more words than its class\n", "label,text\n")),
            "");
}

TEST_F(Labels, OfInputsAreDoubtedWhereMostAreNoneOfTheClasses) {
  Columns inputs;
  inputs.label_required = false;
  const auto known = [](const std::string& label) { return label.starts_with("name"); };
  EXPECT_THAT(doubt("a.tsv", rows(12, "a text of number {}\t{}\n"), inputs, known),
              HasSubstr("of which 12 have one that is none of the classes: is that the label column?"));
  EXPECT_EQ(doubt("b.tsv", rows(12, "name{}\ta text\n"), inputs, known), "");
  EXPECT_EQ(doubt("c.tsv", rows(12, "a text of number {}\t{}\n", "label\ttext\n"), inputs, known), "");
}

}  // namespace
}  // namespace dtrain::data
