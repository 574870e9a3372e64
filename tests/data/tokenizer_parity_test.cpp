// The ids of dtrain's tokenizers against those of transformers, which tokenizer_reference.py has written.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "data/readers/labelled_text.h"
#include "data/tokenizers/tokenizer.h"
#include "tests/data/reference_file.h"

namespace dtrain::data {
namespace {

namespace fs = std::filesystem;

const fs::path kReference = DTRAIN_REFERENCE;
const fs::path kShare = DTRAIN_SHARE_DIR;

// The tokenizers of the reference's folder models/.
const std::vector<std::string> kOnTheTask = {"minilm", "roberta", "roberta-files-prefix-space"};
const std::vector<std::string> kOthers = {"bert-lower",
                                          "bert-lower-keep-accents",
                                          "bert-cased",
                                          "bert-cased-strip-accents",
                                          "bert-lower-chinese-whole",
                                          "bert-lower-added",
                                          "bert-cased-added-cut-left",
                                          "roberta-prefix-space",
                                          "roberta-files",
                                          "roberta-files-added",
                                          "roberta-files-decoder",
                                          "roberta-added",
                                          "roberta-bytes-missing",
                                          "generic",
                                          "generic-unknown",
                                          "generic-unknown-fused"};

std::unique_ptr<Tokenizer> tokenizer_named(const std::string& name) {
  return load_tokenizer(kReference / "models" / name);
}

std::string without_dashes(std::string name) {
  std::erase(name, '-');
  return name;
}

struct Row {
  std::string text;
  std::optional<std::string> pair;
};

// Compares the ids of one row with the next of the reference.
bool agrees(const Tokenizer& tokenizer, const Row& row, ReferenceFile& reference, std::string& difference) {
  const std::int32_t max_length = reference.number();
  const std::int32_t second_segment = reference.number();
  const std::vector<std::int32_t> ids = reference.numbers(reference.number());
  const std::string_view pair = row.pair ? std::string_view(*row.pair) : std::string_view();
  const TokenizedText found = tokenizer.tokenize(row.text, row.pair ? &pair : nullptr, max_length);
  if (found.ids == ids && found.second_segment == second_segment) return true;
  difference =
      fmt::format("text {}\npair {}\nmax_length {}\nexpected {} | {}\nfound    {} | {}",
                  testing::PrintToString(row.text), testing::PrintToString(row.pair), max_length, second_segment,
                  testing::PrintToString(ids), found.second_segment, testing::PrintToString(found.ids));
  return false;
}

class Comparison {
 public:
  void add(const Tokenizer& tokenizer, const Row& row, ReferenceFile& reference) {
    ++rows_;
    std::string difference;
    if (!agrees(tokenizer, row, reference, difference) && ++different_ == 1) first_ = difference;
  }
  void expect_equal(std::int64_t least_rows) const {
    EXPECT_GE(rows_, least_rows);
    EXPECT_EQ(different_, 0) << "of " << rows_ << " rows; the first:\n" << first_;
  }

 private:
  std::int64_t rows_ = 0;
  std::int64_t different_ = 0;
  std::string first_;
};

struct Split {
  const char* file;
  int max_length;
  std::int64_t rows;
};
void PrintTo(const Split& split, std::ostream* out) { *out << split.file << " " << split.max_length; }

class TokensOfTheEmbeddedTask : public testing::TestWithParam<std::tuple<std::string, Split>> {};

TEST_P(TokensOfTheEmbeddedTask, AreThoseOfTransformers) {
  const auto& [name, split] = GetParam();
  const auto tokenizer = tokenizer_named(name);
  ReferenceFile reference(kReference / fmt::format("{}-{}-{}.reference", name, split.file, split.max_length));
  Comparison comparison;
  const fs::path texts = kShare / "tasks/wordnet" / fmt::format("{}.tsv", split.file);
  const auto rows = read_labelled_texts(texts, {}).rows;
  const std::int32_t every = reference.number();
  for (std::size_t i = 0; i < rows.size(); i += static_cast<std::size_t>(every))
    comparison.add(*tokenizer, {rows[i].text, rows[i].pair}, reference);
  EXPECT_TRUE(reference.at_end());
  comparison.expect_equal(split.rows / every);
}

std::string name_of(const testing::TestParamInfo<std::string>& parameter) { return without_dashes(parameter.param); }
std::string name_and_split_of(const testing::TestParamInfo<std::tuple<std::string, Split>>& parameter) {
  const auto& [name, split] = parameter.param;
  return fmt::format("{}On{}CutAt{}", without_dashes(name), split.file, split.max_length);
}

INSTANTIATE_TEST_SUITE_P(WordNet, TokensOfTheEmbeddedTask,
                         testing::Combine(testing::ValuesIn(kOnTheTask),
                                          testing::Values(Split{"train", 128, 100'000}, Split{"dev", 128, 8'000},
                                                          Split{"test", 128, 9'659}, Split{"test", 16, 9'659},
                                                          Split{"test", 9, 9'659}, Split{"examples", 128, 3'000},
                                                          Split{"examples", 16, 3'000}, Split{"examples", 9, 3'000})),
                         name_and_split_of);

void compare_case(const std::string& name, const std::string& texts, std::int64_t least_rows) {
  const auto tokenizer = tokenizer_named(name);
  ReferenceFile reference(kReference / fmt::format("{}-{}.reference", name, texts));
  Comparison comparison;
  while (!reference.at_end()) {
    const std::string text = reference.text().value();
    comparison.add(*tokenizer, {text, reference.text()}, reference);
  }
  comparison.expect_equal(least_rows);
}

class SingleTexts : public testing::TestWithParam<std::string> {};

TEST_P(SingleTexts, HaveTheTokensOfTransformers) { compare_case(GetParam(), "definitions", 8'000); }

INSTANTIATE_TEST_SUITE_P(OnTheTask, SingleTexts, testing::ValuesIn(kOnTheTask), name_of);

class Truncation : public testing::TestWithParam<std::string> {};

TEST_P(Truncation, IsThatOfTransformersForEveryPairOfSmallSizes) { compare_case(GetParam(), "truncations", 2'880); }

INSTANTIATE_TEST_SUITE_P(OnTheTask, Truncation, testing::ValuesIn(kOnTheTask), name_of);

class UnicodeFuzz : public testing::TestWithParam<std::string> {};

TEST_P(UnicodeFuzz, HasTheTokensOfTransformers) { compare_case(GetParam(), "fuzz", 5'000); }

INSTANTIATE_TEST_SUITE_P(OnTheTask, UnicodeFuzz, testing::ValuesIn(kOnTheTask), name_of);
INSTANTIATE_TEST_SUITE_P(Others, UnicodeFuzz, testing::ValuesIn(kOthers), name_of);

}  // namespace
}  // namespace dtrain::data
