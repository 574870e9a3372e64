// Readers under mutated files: an InputError that names the file, or rows of valid UTF-8; never anything else.

#include <gmock/gmock.h>
#include <utf8cpp/utf8.h>

#include <algorithm>
#include <chrono>
#include <random>

#include "base/error.h"
#include "data/readers/labelled_text.h"
#include "tests/base/temporary_directory.h"
#include "tests/data/small_model.h"

namespace dtrain::data {
namespace {

struct Seed {
  const char* name;
  std::string content;
};

const std::vector<Seed>& seeds() {
  static const std::vector<Seed> kSeeds = {
      {"a.tsv", "label\tsentence1\tsentence2\nnoun.plant\tash tree\tany of various deciduous trees\nb\té\t中文\r\n\n"},
      {"a.txt", "x\tone\ny\ttwo\ty\n"},
      {"a.csv", "label,text,pair\r\nx,\"a \"\"quoted\"\" word\",\"two\r\nlines\"\r\ny,,\r\n\"\",b,c\r\n"},
      {"a.jsonl",
       "{\"label\": 1, \"text\": \"\\u00e9 \\ud83d\\ude00\", \"pair\": null}\n"
       "{\"text\": \"b\", \"label\": true, \"more\": [1, {\"a\": [\"b\"]}]}\n"},
      {"b.tsv", "\"label\"\t\"text\"\r\"x\"\t\"a \"\"quoted\"\"\tword\"\r\"y\"\t\"two\r\nlines\"\r"},
      {"b.csv", "text;label\r\n\"a; b\";x \r\nc;X\r\n;-\r\n"},
      {"a.json", "[{\"text\": \"a ]}\", \"label\": [\"x\", 1]},\n {\"text\": \"b\", \"label\": []}]\n"},
      {"b.json",
       "{\"n\": [2], \"data\": [{\"sentence1\": \"a\", \"sentence2\": \"\\u00e9\", \"label\": 1.0}, "
       "{\"sentence1\": \"b\", \"sentence2\": \"\", \"label\": -1}]}"}};
  return kSeeds;
}

const std::vector<std::string> kPieces = {"\"",
                                          ",",
                                          "\t",
                                          "\n",
                                          "\r",
                                          std::string(1, '\0'),
                                          "\xEF\xBB\xBF",
                                          "\xFF",
                                          "\xE2\x82",
                                          "\xF4\x90\x80\x80",
                                          "{",
                                          "}",
                                          "[",
                                          "]",
                                          "\\",
                                          ":",
                                          "\\u0000",
                                          "\\ud800",
                                          "1e999",
                                          "null",
                                          "label",
                                          "text"};

std::string mutated(std::string content, std::mt19937& random) {
  const auto rounds = 1 + random() % 4;
  for (unsigned round = 0; round < rounds; ++round) {
    const std::size_t place = content.empty() ? 0 : random() % content.size();
    switch (random() % 6) {
      case 0:
        if (!content.empty()) content[place] = static_cast<char>(content[place] ^ (1 << random() % 8));
        break;
      case 1:
        content.resize(place);
        break;
      case 2:
        content.erase(place, 1 + random() % 5);
        break;
      case 3:
        content.insert(place, kPieces[random() % kPieces.size()]);
        break;
      case 4:
        content.insert(place, content.substr(random() % (content.size() + 1), random() % 40));
        break;
      default:
        content.insert(place, std::string(1 + random() % 3, static_cast<char>(random() % 256)));
    }
  }
  return content;
}

TEST(Readers, GiveValidTextsOrAnErrorThatNamesTheFileForAnyBytes) {
  const TemporaryDirectory directory;
  const auto tokenizer = letter_tokenizer();
  std::mt19937 random(20'061'201);
  int refused = 0;
  int read = 0;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(8);
  // A fixed number of files, in less time on a slow machine.
  for (int round = 0; round < 10'000 && std::chrono::steady_clock::now() < end; ++round) {
    const Seed& seed = seeds()[random() % seeds().size()];
    const std::string content = mutated(seed.content, random);
    const auto path = directory.file(seed.name, content);
    SCOPED_TRACE(testing::PrintToString(content));
    Columns columns;
    columns.label_required = random() % 2 == 0;
    if (random() % 4 == 0) columns.text = random() % 2 == 0 ? "text" : "2";
    if (random() % 8 == 0) columns.label = "1";
    if (random() % 8 == 0) columns.separator = ",;\t^"[random() % 4];
    if (random() % 8 == 0) columns.label_separator = " ";
    if (random() % 8 == 0) columns.header = random() % 2 == 0 ? Header::yes : Header::no;
    if (random() % 8 == 0) columns.ignored_labels = {"x", "", "1"};
    try {
      const LabelledTexts texts = read_labelled_texts(path, columns);
      ++read;
      ASSERT_FALSE(texts.rows.empty());
      std::int64_t line = 0;
      for (const LabelledText& row : texts.rows) {
        ASSERT_GE(row.line, std::max<std::int64_t>(line, 1));
        line = row.line;
        for (const std::string* text : {&row.text, &row.pair, &row.label})
          ASSERT_TRUE(utf8::is_valid(text->begin(), text->end()));
        for (const std::string& label : row.labels) ASSERT_TRUE(utf8::is_valid(label.begin(), label.end()));
        ASSERT_FALSE(columns.label_required && !texts.has_label_lists && row.label.empty());
        ASSERT_TRUE(texts.has_label_lists || row.labels.empty());
        const std::string_view pair = row.pair;
        ASSERT_LE(tokenizer->tokenize(row.text, &pair, 16).ids.size(), 16U);
      }
    } catch (const InputError& error) {
      ++refused;
      ASSERT_THAT(error.what(), testing::StartsWith(path.string() + ":"));
    }
  }
  EXPECT_GT(read, 100);
  EXPECT_GT(refused, 100);
}

}  // namespace
}  // namespace dtrain::data
