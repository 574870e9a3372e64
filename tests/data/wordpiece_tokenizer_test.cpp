#include "data/tokenizers/wordpiece_tokenizer.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <chrono>
#include <ctime>

#include "base/error.h"
#include "tests/base/failure_of.h"
#include "tests/base/temporary_directory.h"
#include "tests/data/small_model.h"

namespace dtrain::data {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;

std::vector<std::int32_t> ids_of(const Tokenizer& tokenizer, std::string_view text) {
  return tokenizer.tokenize(text, nullptr, 512).ids;
}

constexpr const char* kVocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nA\n##b\n";

TEST(WordPieceOfADirectory, ReadsVocabularyAndOptions) {
  const TemporaryDirectory model;
  model.file("vocab.txt", kVocabulary);
  EXPECT_THAT(ids_of(*load_tokenizer(model.path()), "Ab [MASK]"), ElementsAre(2, 5, 7, 4, 3));
  model.file("tokenizer_config.json", R"({"do_lower_case": false})");
  EXPECT_THAT(ids_of(*load_tokenizer(model.path()), "Ab ab"), ElementsAre(2, 6, 7, 5, 7, 3));
}

TEST(WordPieceOfADirectory, TakesAnotherNameOfASpecialToken) {
  const TemporaryDirectory model;
  model.file("vocab.txt", "<s>\n</s>\n<unk>\na\n");
  model.file("tokenizer_config.json",
             R"({"unk_token": "<unk>", "cls_token": {"content": "<s>"}, "sep_token": "</s>"})");
  EXPECT_THAT(ids_of(*load_tokenizer(model.path()), "a b</s>"), ElementsAre(0, 3, 2, 1, 1));
}

TEST(WordPieceOfADirectory, TakesAddedTokensFromItsConfiguration) {
  const TemporaryDirectory model;
  model.file("vocab.txt", kVocabulary);
  model.file("tokenizer_config.json",
             R"({"added_tokens_decoder": {"9": {"content": "[second]"}, "8": {"content": "[first]"}}})");
  EXPECT_THAT(ids_of(*load_tokenizer(model.path()), "a[second][first]"), ElementsAre(2, 5, 9, 8, 3));
}

// Each expectation is what transformers 5.23's BertTokenizer gives for such a file.
TEST(WordPieceOfADirectory, KeepsTheLaterIdOfATokenThatIsListedTwiceAndLeavesBlankLastLines) {
  const TemporaryDirectory model;
  model.file("vocab.txt", std::string(kVocabulary) + "a\r\n\n\n");
  const auto tokenizer = load_tokenizer(model.path());
  EXPECT_THAT(ids_of(*tokenizer, "a"), ElementsAre(2, 8, 3));
  EXPECT_EQ(tokenizer->vocabulary_size(), 9);
}

TEST(WordPieceOfADirectory, SplitsNormalizedTokensOffTheNormalizedText) {
  const TemporaryDirectory model;
  model.file("vocab.txt", std::string(kVocabulary) + "x\n");
  model.file("added_tokens.json", R"({"\u00c5b": 9})");
  EXPECT_THAT(ids_of(*load_tokenizer(model.path()), "A \u00e5B xAb \u00c5 b"), ElementsAre(2, 5, 9, 8, 9, 5, 1, 3));
}

TEST(WordPieceOfADirectory, IsCutAtTheSideThatItsConfigurationNames) {
  const TemporaryDirectory model;
  model.file("vocab.txt", kVocabulary);
  model.file("tokenizer_config.json", R"({"truncation_side": "left"})");
  EXPECT_THAT(load_tokenizer(model.path())->tokenize("a a [MASK]", nullptr, 4).ids, ElementsAre(2, 5, 4, 3));
  model.file("tokenizer_config.json", R"({"truncation_side": "middle"})");
  EXPECT_THAT(failure_of<InputError>([&] { load_tokenizer(model.path()); }),
              EndsWith("'truncation_side': \"middle\" is not supported; expected right or left"));
}

constexpr const char* kTokenizerJson = R"({
  "added_tokens": [{"id": 0, "content": "[UNK]"}, {"id": 4, "content": "[new]"}],
  "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1]},
  "normalizer": {"type": "BertNormalizer", "clean_text": true, "lowercase": false, "strip_accents": null},
  "pre_tokenizer": {"type": "BertPreTokenizer"},
  "model": {"type": "WordPiece", "vocab": {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "a": 3}}})";

TEST(WordPieceOfADirectory, TakesTheVocabularyAndAddedTokensFromTokenizerJsonButTheOptionsFromItsConfiguration) {
  const TemporaryDirectory model;
  model.file("tokenizer.json", kTokenizerJson);
  EXPECT_THAT(ids_of(*load_tokenizer(model.path()), "A[new]"), ElementsAre(1, 3, 4, 2));
  model.file("tokenizer_config.json", R"({"tokenizer_class": "PreTrainedTokenizerFast"})");
  EXPECT_THAT(ids_of(*load_tokenizer(model.path()), "A[new]"), ElementsAre(1, 0, 4, 2));
}

std::string failure_of_loading(const TemporaryDirectory& model) {
  return failure_of<InputError>([&] { load_tokenizer(model.path()); });
}

TEST(WordPieceOfADirectory, WithoutASpecialTokenIsRefused) {
  const TemporaryDirectory model;
  model.file("vocab.txt", "[UNK]\n[CLS]\na\n");
  EXPECT_THAT(failure_of_loading(model), EndsWith("the special token '[SEP]' is not in the vocabulary"));
}

TEST(WordPieceOfADirectory, ThatIsBrokenIsRefused) {
  const TemporaryDirectory model;
  model.file("tokenizer.json", R"({"model": {"type": "WordPiece", "vocab": []}})");
  EXPECT_THAT(failure_of_loading(model), EndsWith("tokenizer.json: expected a WordPiece model with a vocabulary"));
  model.file("tokenizer.json", R"({"model": {"type": "WordPiece", "vocab": {"a": 7}}})");
  EXPECT_THAT(failure_of_loading(model), EndsWith("token 'a': expected an id below 1, found 7"));
  model.file("tokenizer.json", R"({"model": {"vocab": {"a": 0}}, "added_tokens": [{"id": 5, "content": "[x]"}]})");
  EXPECT_THAT(failure_of_loading(model), EndsWith("added token '[x]': expected the id 1, the next, found 5"));
  model.file("tokenizer.json",
             R"({"model": {"vocab": {"a": 0}}, "added_tokens": [{"id": 0, "content": "a", "single_word": true}]})");
  EXPECT_THAT(failure_of_loading(model), HasSubstr("'single_word': true is not supported"));
  model.file("tokenizer.json", kTokenizerJson);
  model.file("tokenizer_config.json", R"({"do_lower_case": "yes"})");
  EXPECT_THAT(failure_of_loading(model), HasSubstr("tokenizer_config.json: 'do_lower_case': \"yes\""));
}

TEST(WordPieceOfADirectory, WithTwoTokensOfOneIdIsRefused) {
  const TemporaryDirectory model;
  model.file("tokenizer.json", R"({"model": {"type": "WordPiece", "vocab": {"a": 1, "b": 0, "c": 1}}})");
  EXPECT_THAT(failure_of_loading(model), EndsWith("the tokens 'a' and 'c' have the same id, 1"));
}

TEST(WordPieceOfADirectory, WithWordsOfAnyLengthIsRefused) {
  const TemporaryDirectory model;
  std::string json = kTokenizerJson;
  json.insert(json.find("\"vocab\""), "\"max_input_chars_per_word\": 1000001, ");
  model.file("tokenizer.json", json);
  model.file("tokenizer_config.json", R"({"tokenizer_class": "PreTrainedTokenizerFast"})");
  EXPECT_THAT(failure_of_loading(model),
              EndsWith("'model.max_input_chars_per_word': 1000001 is not supported; expected at most 1000"));
}

TEST(WordPieceOfADirectory, WithHundredsOfThousandsOfAddedTokensIsRefusedAtOnce) {
  const TemporaryDirectory model;
  std::string tokens;
  for (int i = 0; i < 300'000; ++i) tokens += fmt::format("{}\"token {}\"", i == 0 ? "" : ",", i);
  model.file("vocab.txt", kVocabulary);
  model.file("tokenizer_config.json", "{\"additional_special_tokens\": [" + tokens + "]}");
  const std::clock_t start = std::clock();
  EXPECT_THAT(failure_of_loading(model), HasSubstr("expected at most 100000 tokens beside the vocabulary, found 300"));
  // A second of a core on any machine; minutes if each were compared with all.
  EXPECT_LT((std::clock() - start) / CLOCKS_PER_SEC, 10);
}

TEST(WordPiece, CountsTheLongestWordInCodePoints) {
  const auto tokenizer = letter_tokenizer();
  EXPECT_EQ(ids_of(*tokenizer, std::string(100, 'a')).size(), 102U);
  EXPECT_THAT(ids_of(*tokenizer, std::string(101, 'a')), ElementsAre(2, 1, 3));
  std::string accented;
  for (int i = 0; i < 100; ++i) accented += "é";
  EXPECT_EQ(ids_of(*tokenizer, accented).size(), 102U);
}

TEST(WordPiece, SplitsSpecialTokensOffAndMarksWhatWasCut) {
  const auto tokenizer = letter_tokenizer();
  EXPECT_THAT(ids_of(*tokenizer, "a[MASK]b[[SEP]"), ElementsAre(2, 5, 4, 6, 1, 3, 3));
  EXPECT_FALSE(tokenizer->tokenize("a b c", nullptr, 5).truncated);
  EXPECT_TRUE(tokenizer->tokenize("a b c", nullptr, 4).truncated);
}

TEST(WordPiece, NeedsRoomForTheSpecialTokens) {
  const auto tokenizer = letter_tokenizer();
  const std::string_view pair = "b";
  EXPECT_THAT(tokenizer->tokenize("a", &pair, 3).ids, ElementsAre(2, 3, 3));
  EXPECT_EQ(failure_of<UsageError>([&] { tokenizer->tokenize("a", &pair, 2); }),
            "--max-length 2 cannot hold the 3 special tokens");
}

TEST(WordPiece, TakesTenMegabytesOfWordsOrOfSpecialTokensInTimeProportionalToThem) {
  const auto tokenizer = letter_tokenizer();
  std::string words;
  while (words.size() < 10'000'000) words += "word ";
  std::string masks;
  while (masks.size() < 10'000'000) masks += "[MASK]";
  const std::string one_word(10'000'000, 'x');
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(tokenizer->tokenize(words, nullptr, 128).ids.size(), 128U);
  EXPECT_EQ(tokenizer->tokenize(masks, nullptr, 128).ids.size(), 128U);
  EXPECT_THAT(tokenizer->tokenize(one_word, nullptr, 128).ids, ElementsAre(2, 1, 3));
  // A second on any machine; minutes if a step were quadratic.
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
}

TEST(WordPiece, HasAnotherDigestForEveryThingThatDecidesTheIds) {
  const std::string digest = letter_tokenizer()->digest();
  const auto changed = [&](auto change) {
    WordPieceConfig config = letters();
    change(config);
    return make_wordpiece_tokenizer(config)->digest() != digest;
  };
  EXPECT_EQ(letter_tokenizer()->digest(), digest);
  EXPECT_TRUE(changed([](WordPieceConfig& config) { config.lower_case = false; }));
  EXPECT_TRUE(changed([](WordPieceConfig& config) { config.strip_accents = false; }));
  EXPECT_TRUE(changed([](WordPieceConfig& config) { config.split_chinese = false; }));
  EXPECT_TRUE(changed([](WordPieceConfig& config) { config.unknown = 5; }));
  EXPECT_TRUE(changed([](WordPieceConfig& config) { config.added.pop_back(); }));
  EXPECT_TRUE(changed([](WordPieceConfig& config) { config.added.front().normalized = true; }));
  EXPECT_TRUE(changed([](WordPieceConfig& config) { config.longest_word = 99; }));
  EXPECT_TRUE(changed([](WordPieceConfig& config) { config.layout.truncation_side = TruncationSide::left; }));
  EXPECT_TRUE(changed([](WordPieceConfig& config) { config.layout.typed = false; }));
  EXPECT_TRUE(changed([](WordPieceConfig& config) { std::swap(config.vocabulary[5], config.vocabulary[6]); }));
}

}  // namespace
}  // namespace dtrain::data
