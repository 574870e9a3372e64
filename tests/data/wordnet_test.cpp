#include "data/readers/wordnet.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/atomic_file.h"
#include "base/error.h"
#include "data/readers/labelled_text.h"
#include "tests/base/failure_of.h"
#include "tests/base/temporary_directory.h"

namespace dtrain::data {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;

const fs::path kDictionary = "/usr/share/wordnet";  // Debian's wordnet-base
const fs::path kEmbedded = fs::path(DTRAIN_SHARE_DIR) / "tasks/wordnet";
constexpr const char* kSplits[] = {"train.tsv", "dev.tsv", "test.tsv"};

std::vector<std::string> lines_of(const fs::path& path) {
  std::vector<std::string> lines;
  const std::string content = read_file(path);
  for (std::size_t begin = 0; begin < content.size();) {
    const std::size_t end = std::min(content.find('\n', begin), content.size());
    lines.push_back(content.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

TEST(WordNetTask, HasEverySynsetOnceAndEveryLexicographerFile) {
  std::vector<std::size_t> sizes;
  std::set<std::string> labels;
  for (const char* split : kSplits) {
    const auto texts = read_labelled_texts(kEmbedded / split, {});
    EXPECT_THAT(texts.notes, testing::IsEmpty());
    sizes.push_back(texts.rows.size());
    for (const LabelledText& row : texts.rows) labels.insert(row.label);
  }
  EXPECT_THAT(sizes, ElementsAre(100'000, 8'000, 9'659));  // 117,659 of wnstats(7WN)
  EXPECT_EQ(labels.size(), 45U);
}

TEST(WordNetTask, IsWhatTheImporterWritesFromTheDictionary) {
  const TemporaryDirectory output;
  import_wordnet(kDictionary, output.path());
  for (const char* name : {"train.tsv", "dev.tsv", "test.tsv", "examples.tsv"})
    EXPECT_TRUE(read_file(output.path() / name) == read_file(kEmbedded / name)) << name;
}

TEST(WordNetTask, TakesItsExamplesFromTestSynsetsOnly) {
  // Each part of a gloss between quotes, and the gloss: an example must stand in the gloss of a synset of the test.
  const auto trimmed = [](std::string text) {
    text.erase(text.find_last_not_of(" \t;:,") + 1);
    return text.erase(0, std::min(text.find_first_not_of(" \t;"), text.size()));
  };
  std::multimap<std::string, std::string> glosses_of_parts;
  for (const char* part : {"data.noun", "data.verb", "data.adj", "data.adv"}) {
    for (const std::string& line : lines_of(kDictionary / part)) {
      const std::string gloss = line.substr(std::min(line.find(" | "), line.size()));
      for (std::size_t begin = 0; begin < gloss.size();) {
        const std::size_t end = std::min(gloss.find('"', begin), gloss.size());
        glosses_of_parts.emplace(trimmed(gloss.substr(begin, end - begin)), gloss);
        begin = end + 1;
      }
    }
  }
  std::multimap<std::string, std::string> definitions;  // by label and headword
  for (const LabelledText& row : read_labelled_texts(kEmbedded / "test.tsv", {}).rows)
    definitions.emplace(row.label + "\t" + row.text, row.pair.substr(0, row.pair.find(';')));
  const auto examples = read_labelled_texts(kEmbedded / "examples.tsv", {}).rows;
  EXPECT_GT(examples.size(), 3000U);
  for (const LabelledText& row : examples) {
    const auto [definition, last_definition] = definitions.equal_range(row.label + "\t" + row.text);
    const auto [gloss, last_gloss] = glosses_of_parts.equal_range(row.pair);
    const bool found =
        std::any_of(definition, last_definition, [&, first = gloss, last = last_gloss](const auto& of_test) {
          return std::any_of(first, last,
                             [&](const auto& part) { return part.second.find(of_test.second) != std::string::npos; });
        });
    ASSERT_TRUE(found) << row.text << ": " << row.pair;
  }
}

// A dictionary of enough synsets, with `lines` among its adjectives.
void write_dictionary(const TemporaryDirectory& directory, const std::string& lines) {
  std::string nouns = "  1 This software and database is being provided to you\n";
  for (int i = 0; i < 108'000; ++i) nouns += fmt::format("{:08} 03 n 01 filler 0 000 | a filler  \n", i);
  directory.file("data.noun", nouns);
  directory.file("data.verb", "");
  directory.file("data.adj", lines);
  directory.file("data.adv", "");
}

TEST(WordNetImporter, TakesHeadwordLabelAndDefinitionOfRealLines) {
  const TemporaryDirectory dictionary;
  write_dictionary(
      dictionary,
      "01552162 00 s 01 galore(ip) 0 001 & 01551633 a 0000 | in great numbers; \"daffodils galore\"  \n"
      "07614500 13 n 02 ice_cream 0 icecream 0 001 @ 07611358 n 0000 | frozen dessert containing cream and sugar and "
      "flavoring  \n"
      "10187710 18 n 02 hotdog 0 hot_dog 0 001 @ 10070711 n 0000 | someone who performs dangerous stunts to attract "
      "attention to himself  \n"
      "00077645 44 a 01 afraid(p) 0 001 ^ 00264776 a 0000 | filled with fear or apprehension; \"afraid even to turn "
      "his "
      "head\"; \"suddenly looked afraid\"  \n");
  const TemporaryDirectory output;
  import_wordnet(dictionary.path(), output.path());
  std::vector<std::string> rows;
  for (const char* split : kSplits) {
    const auto lines = lines_of(output.path() / split);
    EXPECT_EQ(lines.at(0), "label\tsentence1\tsentence2");
    rows.insert(rows.end(), lines.begin() + 1, lines.end());
  }
  EXPECT_EQ(rows.size(), 108'004U);
  std::erase(rows, "noun.Tops\tfiller\ta filler");
  EXPECT_THAT(rows, testing::UnorderedElementsAre(
                        "adj.all\tgalore\tin great numbers",
                        "noun.food\tice cream\tfrozen dessert containing cream and sugar and flavoring",
                        "noun.person\thotdog\tsomeone who performs dangerous stunts to attract attention to himself",
                        "adj.ppl\tafraid\tfilled with fear or apprehension"));
}

TEST(WordNetImporter, KeepsTheExamplesOfTheTestSynsetsAlone) {
  const TemporaryDirectory dictionary;
  std::string lines;
  for (int i = 0; i < 1000; ++i)
    lines +=
        fmt::format("0 00 s 01 word{} 0 000 | definition {}; \"example {} of it\"; \"another {}\"  \n", i, i, i, i);
  write_dictionary(dictionary, lines);
  const TemporaryDirectory output;
  import_wordnet(dictionary.path(), output.path());
  std::vector<std::string> expected{"label\tsentence1\tsentence2"};
  for (const std::string& line : lines_of(output.path() / "test.tsv")) {
    if (!line.starts_with("adj.all\tword")) continue;
    const std::string number = line.substr(12, line.find('\t', 12) - 12);
    expected.push_back(fmt::format("adj.all\tword{}\texample {} of it", number, number));
    expected.push_back(fmt::format("adj.all\tword{}\tanother {}", number, number));
  }
  EXPECT_GT(expected.size(), 1U);
  EXPECT_EQ(lines_of(output.path() / "examples.tsv"), expected);
}

TEST(WordNetImporter, NamesTheLineThatIsBroken) {
  const std::string good = "01552162 00 s 01 galore(ip) 0 000 | in great numbers  \n";
  for (const char* broken :
       {"01552162 00 s 01 galore(ip) 0 000 no gloss", "01552162 45 s 01 galore 0 000 | a gloss",
        "01552162 -1 s 01 galore 0 000 | a gloss", "01552162 x0 s 01 galore 0 000 | a gloss", "0155", ""}) {
    const TemporaryDirectory dictionary;
    write_dictionary(dictionary, good + broken + "\n" + good);
    const TemporaryDirectory output;
    EXPECT_THAT(failure_of<InputError>([&] { import_wordnet(dictionary.path(), output.path()); }),
                HasSubstr("data.adj:2: expected a WordNet 3.0 synset"))
        << broken;
    EXPECT_THAT(output.names(), testing::IsEmpty());
  }
}

TEST(WordNetImporter, RefusesADictionaryThatIsMissingOrTooSmall) {
  const TemporaryDirectory dictionary;
  const TemporaryDirectory output;
  EXPECT_THAT(failure_of<InputError>([&] { import_wordnet(dictionary.path(), output.path()); }),
              AllOf(HasSubstr("data.noun"), EndsWith("No such file or directory")));
  for (const char* part : {"data.noun", "data.verb", "data.adj", "data.adv"}) dictionary.file(part, "");
  EXPECT_THAT(failure_of<InputError>([&] { import_wordnet(dictionary.path(), output.path()); }),
              EndsWith("expected WordNet 3.0 with 117,659 synsets, found 0"));
}

}  // namespace
}  // namespace dtrain::data
