// The ids of dtrain's tokenizer against those of transformers, which tokenizer_reference.py has written.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "data/labelled_text.h"
#include "data/tokenizer.h"
#include "tests/data/reference_file.h"

namespace dtrain::data {
namespace {

namespace fs = std::filesystem;

const fs::path kReference = DTRAIN_REFERENCE;
const fs::path kShare = DTRAIN_SHARE_DIR;
const fs::path kEmbeddedModel = kShare / "models/minilm-l6-h384";

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

struct EmbeddedCase {
  const char* file;
  int max_length;
  std::int64_t rows;
};
void PrintTo(const EmbeddedCase& embedded, std::ostream* out) { *out << embedded.file << " " << embedded.max_length; }

class EmbeddedTaskTokens : public testing::TestWithParam<EmbeddedCase> {};

TEST_P(EmbeddedTaskTokens, AreThoseOfTransformersOnEveryLine) {
  const auto [file, max_length, rows] = GetParam();
  const auto tokenizer = load_tokenizer(kEmbeddedModel);
  ReferenceFile reference(kReference / fmt::format("{}-{}.reference", file, max_length));
  Comparison comparison;
  for (const LabelledText& row : read_labelled_texts(kShare / "tasks/wordnet" / fmt::format("{}.tsv", file), {}).rows)
    comparison.add(*tokenizer, {row.text, row.pair}, reference);
  EXPECT_TRUE(reference.at_end());
  comparison.expect_equal(rows);
}

INSTANTIATE_TEST_SUITE_P(WordNet, EmbeddedTaskTokens,
                         testing::Values(EmbeddedCase{"train", 128, 100'000}, EmbeddedCase{"dev", 128, 8'000},
                                         EmbeddedCase{"test", 128, 9'659}, EmbeddedCase{"test", 16, 9'659},
                                         EmbeddedCase{"test", 9, 9'659}, EmbeddedCase{"examples", 128, 3'000},
                                         EmbeddedCase{"examples", 16, 3'000}, EmbeddedCase{"examples", 9, 3'000}),
                         [](const auto& parameter) {
                           return fmt::format("{}CutAt{}", parameter.param.file, parameter.param.max_length);
                         });

void compare_case(const std::string& name, const fs::path& model, std::int64_t least_rows) {
  const auto tokenizer = load_tokenizer(model);
  ReferenceFile reference(kReference / (name + ".reference"));
  Comparison comparison;
  while (!reference.at_end()) {
    const std::string text = reference.text().value();
    comparison.add(*tokenizer, {text, reference.text()}, reference);
  }
  comparison.expect_equal(least_rows);
}

TEST(Truncation, IsThatOfTransformersForEveryPairOfSmallSizes) { compare_case("truncations", kEmbeddedModel, 2'880); }

TEST(UnicodeFuzz, HasTheTokensOfTransformers) { compare_case("fuzz", kEmbeddedModel, 5'000); }

class UnicodeFuzzByCharacter : public testing::TestWithParam<const char*> {};

TEST_P(UnicodeFuzzByCharacter, HasTheTokensOfTransformersUnderEveryOption) {
  compare_case(fmt::format("fuzz-{}", GetParam()), kReference / "models" / GetParam(), 5'000);
}

INSTANTIATE_TEST_SUITE_P(Options, UnicodeFuzzByCharacter,
                         testing::Values("lower", "lower-keep-accents", "cased", "cased-strip-accents",
                                         "lower-chinese-whole"),
                         [](const auto& parameter) {
                           std::string name = parameter.param;
                           std::erase(name, '-');
                           return name;
                         });

}  // namespace
}  // namespace dtrain::data
