#include "data/tokenizers/byte_level_bpe_tokenizer.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <chrono>

#include "base/error.h"
#include "tests/base/failure_of.h"
#include "tests/base/temporary_directory.h"

namespace dtrain::data {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;

std::vector<std::int32_t> ids_of(const Tokenizer& tokenizer, std::string_view text) {
  return tokenizer.tokenize(text, nullptr, 512).ids;
}

// <s> 0, </s> 1, <mask> 2, every byte from 3 on; ab 259, abc 260, bc 261, of which bc is the last to be merged.
ByteLevelBpeConfig bytes() {
  ByteLevelBpeConfig config;
  config.vocabulary = {"<s>", "</s>", "<mask>"};
  for (int byte = 0; byte < 256; ++byte)
    config.vocabulary.push_back(byte_level_character(static_cast<std::uint8_t>(byte)));
  config.vocabulary.insert(config.vocabulary.end(), {"ab", "abc", "bc"});
  const auto byte_id = [](char byte) { return 3 + byte; };
  config.merges = {{259, byte_id('c'), 260}, {byte_id('a'), byte_id('b'), 259}, {byte_id('b'), byte_id('c'), 261}};
  config.layout = {.first = 0, .separator = 1, .separators_between = 2};
  config.added = {
      {.content = "<s>", .id = 0}, {.content = "</s>", .id = 1}, {.content = "<mask>", .id = 2, .lstrip = true}};
  return config;
}
std::unique_ptr<Tokenizer> byte_tokenizer() { return make_byte_level_bpe_tokenizer(bytes()); }

TEST(ByteLevelBpe, WritesBytesAsGpt2Does) {
  EXPECT_EQ(byte_level_character('a'), "a");
  EXPECT_EQ(byte_level_character(' '), "Ġ");
  EXPECT_EQ(byte_level_character('\n'), "Ċ");
  EXPECT_EQ(byte_level_character(0x00), "Ā");
  EXPECT_EQ(byte_level_character(0x7F), "ġ");
  EXPECT_EQ(byte_level_character(0xA0), "ł");
  EXPECT_EQ(byte_level_character(0xAD), "Ń");
  EXPECT_EQ(byte_level_character(0xFF), "ÿ");
}

TEST(ByteLevelBpe, MergesByRankAndOfTheSameRankFromTheLeft) {
  const auto tokenizer = byte_tokenizer();
  EXPECT_THAT(ids_of(*tokenizer, "abc"), ElementsAre(0, 260, 1));
  EXPECT_THAT(ids_of(*tokenizer, "bcabab"), ElementsAre(0, 261, 259, 259, 1));
  ByteLevelBpeConfig doubles = bytes();
  doubles.merges = {{3 + 'a', 3 + 'a', 259}};
  EXPECT_THAT(ids_of(*make_byte_level_bpe_tokenizer(doubles), "aaaaa"), ElementsAre(0, 259, 259, 3 + 'a', 1));
}

TEST(ByteLevelBpe, PutsTwoSeparatorsBetweenThePartsOfAPairAndGivesThemOneType) {
  const auto tokenizer = byte_tokenizer();
  const std::string_view pair = "bc";
  const TokenizedText found = tokenizer->tokenize("ab", &pair, 6);
  EXPECT_THAT(found.ids, ElementsAre(0, 259, 1, 1, 261, 1));
  EXPECT_EQ(found.second_segment, 6);
  EXPECT_FALSE(found.truncated);
  EXPECT_TRUE(tokenizer->tokenize("ab", &pair, 5).truncated);
}

TEST(ByteLevelBpe, NeedsRoomForTheSpecialTokens) {
  const auto tokenizer = byte_tokenizer();
  const std::string_view pair = "b";
  EXPECT_THAT(tokenizer->tokenize("a", &pair, 4).ids, ElementsAre(0, 1, 1, 1));
  EXPECT_EQ(failure_of<UsageError>([&] { tokenizer->tokenize("a", &pair, 3); }),
            "--max-length 3 cannot hold the 4 special tokens");
  EXPECT_EQ(failure_of<UsageError>([&] { tokenizer->tokenize("a", nullptr, 1); }),
            "--max-length 1 cannot hold the 2 special tokens");
}

TEST(ByteLevelBpe, ReplacesWhatIsNotUtf8) {
  const auto tokenizer = byte_tokenizer();
  for (const char* broken : {"\xFF", "a\xC3", "\xE2\x82", "\xED\xA0\x80", "x\xF0\x9F<mask>"}) {
    const std::vector<std::int32_t> ids = ids_of(*tokenizer, broken);
    const std::vector<std::int32_t> replacement = {3 + 0xEF, 3 + 0xBF, 3 + 0xBD};
    EXPECT_NE(std::search(ids.begin(), ids.end(), replacement.begin(), replacement.end()), ids.end()) << broken;
  }
}

TEST(ByteLevelBpe, TakesTenMegabytesOfWordsOfOneWordOrOfSpecialTokensInTimeProportionalToThem) {
  const auto tokenizer = byte_tokenizer();
  std::string words;
  while (words.size() < 10'000'000) words += "word ";
  std::string masks;
  while (masks.size() < 10'000'000) masks += "  <mask>";
  std::string one_word;
  while (one_word.size() < 10'000'000) one_word += "abcab";
  const auto start = std::chrono::steady_clock::now();
  for (const std::string& text : {words, masks, one_word, std::string(10'000'000, ' ')})
    EXPECT_EQ(tokenizer->tokenize(text, nullptr, 128).ids.size(), 128U);
  // A few seconds on any machine; hours if a step were quadratic.
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(60));
}

TEST(ByteLevelBpe, HasAnotherDigestForEveryThingThatDecidesTheIds) {
  const std::string digest = byte_tokenizer()->digest();
  const auto changed = [&](auto change) {
    ByteLevelBpeConfig config = bytes();
    change(config);
    return make_byte_level_bpe_tokenizer(config)->digest() != digest;
  };
  EXPECT_EQ(byte_tokenizer()->digest(), digest);
  EXPECT_TRUE(changed([](ByteLevelBpeConfig& config) { config.add_prefix_space = true; }));
  EXPECT_TRUE(changed([](ByteLevelBpeConfig& config) { config.unknown = 5; }));
  EXPECT_TRUE(changed([](ByteLevelBpeConfig& config) { config.fuse_unknown = true; }));
  EXPECT_TRUE(changed([](ByteLevelBpeConfig& config) { config.layout.separator = 2; }));
  EXPECT_TRUE(changed([](ByteLevelBpeConfig& config) { config.added.pop_back(); }));
  EXPECT_TRUE(changed([](ByteLevelBpeConfig& config) { config.added.back().rstrip = true; }));
  EXPECT_TRUE(changed([](ByteLevelBpeConfig& config) { std::swap(config.merges[0], config.merges[1]); }));
  EXPECT_TRUE(changed([](ByteLevelBpeConfig& config) { std::swap(config.vocabulary[5], config.vocabulary[6]); }));
}

constexpr const char* kVocabulary = R"({"<s>": 0, "</s>": 1, "a": 2, "b": 3, "ab": 4, "Ġ": 5})";

// A directory of vocab.json and merges.txt.
class ByteLevelBpeFiles : public testing::Test {
 protected:
  ByteLevelBpeFiles() {
    model.file("vocab.json", kVocabulary);
    model.file("merges.txt", "#version: 0.2\na b\n");
  }
  std::string failure() const {
    return failure_of<InputError>([&] { load_tokenizer(model.path()); });
  }
  std::vector<std::int32_t> ids(std::string_view text) const { return ids_of(*load_tokenizer(model.path()), text); }

  TemporaryDirectory model;
};

TEST_F(ByteLevelBpeFiles, AreReadWithAndWithoutTheEndOfTheLastLine) {
  EXPECT_THAT(ids("ab a"), ElementsAre(0, 4, 5, 2, 1));
  model.file("merges.txt", "#version: 0.2\r\na b");
  EXPECT_THAT(ids("ab a"), ElementsAre(0, 4, 5, 2, 1));
}

TEST_F(ByteLevelBpeFiles, GiveSpecialTokensThatTheVocabularyLacksTheNextIds) {
  EXPECT_EQ(load_tokenizer(model.path())->vocabulary_size(), 9);  // and <unk>, <pad>, <mask>
  EXPECT_THAT(ids("a<unk><pad> <mask>"), ElementsAre(0, 2, 6, 7, 5, 8, 1));
}

TEST_F(ByteLevelBpeFiles, OfWhichOneIsMissingAreRefused) {
  std::filesystem::remove(model.path() / "merges.txt");
  EXPECT_THAT(failure(), EndsWith("expected both vocab.json and merges.txt; merges.txt is missing"));
  model.file("merges.txt", "");
  std::filesystem::remove(model.path() / "vocab.json");
  EXPECT_THAT(failure(), EndsWith("expected both vocab.json and merges.txt; vocab.json is missing"));
}

TEST_F(ByteLevelBpeFiles, WithAMalformedMergeAreRefusedWithItsLine) {
  for (const char* line : {"ab", "", "a  b", " a", "a ", "a b c"}) {
    model.file("merges.txt", std::string("#version: 0.2\na b\n") + line + "\na b\n");
    EXPECT_THAT(failure(), EndsWith("merges.txt:3: expected two tokens with one space between them, found '" +
                                    std::string(line) + "'"));
  }
  model.file("merges.txt", "a b\na c\n");
  EXPECT_THAT(failure(), EndsWith("merges.txt:2: 'c' is not in the vocabulary"));
  model.file("merges.txt", "b a\n");
  EXPECT_THAT(failure(), EndsWith("merges.txt:1: 'ba' is not in the vocabulary"));
}

TEST_F(ByteLevelBpeFiles, WithIdsThatAreNotThoseOfAVocabularyAreRefused) {
  model.file("vocab.json", R"({"<s>": 0, "</s>": 1, "a": 3})");
  EXPECT_THAT(failure(), EndsWith("vocab.json: token 'a': expected an id below the number of tokens, 3, found 3"));
  model.file("vocab.json", R"({"<s>": 0, "</s>": 1, "a": 1})");
  EXPECT_THAT(failure(), AllOf(HasSubstr("vocab.json: the tokens"), EndsWith("have the same id, 1")));
  for (const char* id : {"-1", "1.0", "\"1\"", "null", "18446744073709551616"}) {
    model.file("vocab.json", fmt::format(R"({{"<s>": 0, "a": {}}})", id));
    EXPECT_THAT(failure(), HasSubstr("vocab.json: token 'a': expected an id below the number of tokens, 2, found "));
  }
  for (const char* content : {"", "[]", "7", "{\"<s>\": 0"}) {
    model.file("vocab.json", content);
    EXPECT_THAT(failure(), AllOf(HasSubstr("vocab.json: "), HasSubstr("JSON")));
  }
  model.file("vocab.json", "{}");
  EXPECT_THAT(failure(), HasSubstr("vocab.json: expected an object of tokens and their ids"));
}

TEST_F(ByteLevelBpeFiles, WithoutASpecialTokenAreRefused) {
  model.file("tokenizer_config.json", R"({"sep_token": "[SEP]"})");
  EXPECT_THAT(failure(), EndsWith("the special token '[SEP]' is not in the vocabulary"));
  model.file("tokenizer_config.json", R"({"cls_token": null})");
  EXPECT_THAT(failure(), EndsWith("the special token '' is not in the vocabulary"));
}

struct Refusal {
  const char* file;
  const char* content;
  const char* says;
};

TEST_F(ByteLevelBpeFiles, WithOptionsThatAreNotSupportedAreRefusedWithFileAndKey) {
  const char* config = "tokenizer_config.json";
  for (const Refusal& refusal : {
           Refusal{config, R"({"tokenizer_class": "GPT2Tokenizer"})", "'tokenizer_class': \"GPT2Tokenizer\""},
           Refusal{config, R"({"tokenizer_class": "PreTrainedTokenizerFast"})", "expected tokenizer.json with it"},
           Refusal{config, R"({"truncation_side": "both"})", "'truncation_side': \"both\""},
           Refusal{config, R"({"split_special_tokens": true})", "'split_special_tokens': true"},
           Refusal{config, R"({"add_prefix_space": "yes"})", "'add_prefix_space': \"yes\""},
           Refusal{config, R"({"mask_token": 7})", "'mask_token': expected a token, found 7"},
           Refusal{config, R"({"mask_token": {"content": "a", "lstrip": 2}})", "'lstrip': 2"},
           Refusal{config, R"({"mask_token": {"content": "a", "single_word": true}})", "'single_word'"},
           Refusal{config, R"({"extra_special_tokens": "<x>"})", "'extra_special_tokens': expected a list"},
           Refusal{config, R"({"model_specific_special_tokens": ["<x>"]})", "expected tokens by their names"},
           Refusal{config, R"({"added_tokens_decoder": []})", "'added_tokens_decoder': expected an object"},
           Refusal{config, R"({"added_tokens_decoder": {"x": {"content": "a"}}})", "expected an id, found 'x'"},
           Refusal{config, R"({"added_tokens_decoder": {"3": {"content": "a"}}})",
                   "added token 'a': expected the id 2, its own in the vocabulary, found 3"},
           Refusal{config, R"({"added_tokens_decoder": {"9": {"content": "<x>"}}})",
                   "added token '<x>': expected the id 6, the next, found 9"},
           Refusal{"added_tokens.json", R"({"<x>": 5})", "added token '<x>': expected the id 6, the next, found 5"},
           Refusal{"added_tokens.json", R"({"<x>": "6"})", "'<x>': \"6\" is not the kind of value"},
           Refusal{"added_tokens.json", "[]", "expected a JSON object"},
           Refusal{"special_tokens_map.json", R"({"pad_token": []})", "'pad_token': expected a token, found []"},
           Refusal{"special_tokens_map.json", "", "not valid JSON"},
       }) {
    model.file(refusal.file, refusal.content);
    EXPECT_THAT(failure(), AllOf(HasSubstr(refusal.file), HasSubstr(refusal.says))) << refusal.content;
    std::filesystem::remove(model.path() / refusal.file);
  }
}

// A tokenizer.json of the generic class, with one part of it as a test wants it.
std::string whole(const std::string& part, const std::string& value) {
  const auto or_own = [&](const char* name, const char* own) { return part == name ? value : std::string(own); };
  return fmt::format(
      R"({{"added_tokens": {}, "normalizer": {}, "pre_tokenizer": {}, "truncation": {}, "post_processor": {},
           "model": {{"type": "BPE", "vocab": {{"<s>": 0, "</s>": 1, "a": 2, "b": 3, "ab": 4}}, "merges": {} {}}}}})",
      or_own("added_tokens", "[]"), or_own("normalizer", "null"),
      or_own("pre_tokenizer", R"({"type": "ByteLevel", "add_prefix_space": false})"), or_own("truncation", "null"),
      or_own("post_processor", R"({"type": "RobertaProcessing", "sep": ["</s>", 1], "cls": ["<s>", 0]})"),
      or_own("merges", R"([["a", "b"]])"), part == "model" ? "," + value : "");
}

TEST(ByteLevelBpeTokenizerJson, IsReadWithItsOwnPostProcessor) {
  const TemporaryDirectory model;
  model.file("tokenizer_config.json", R"({"tokenizer_class": "PreTrainedTokenizerFast"})");
  model.file("tokenizer.json", whole("", ""));
  EXPECT_THAT(ids_of(*load_tokenizer(model.path()), "ab"), ElementsAre(0, 4, 1));
  model.file("tokenizer.json",
             whole("post_processor", R"({"type": "RobertaProcessing", "sep": ["b", 3], "cls": ["a", 2]})"));
  EXPECT_THAT(ids_of(*load_tokenizer(model.path()), "ab"), ElementsAre(2, 4, 3));
}

TEST(ByteLevelBpeTokenizerJson, WithWhatIsNotSupportedIsRefusedWithItsKey) {
  const TemporaryDirectory model;
  model.file("tokenizer_config.json", R"({"tokenizer_class": "PreTrainedTokenizerFast"})");
  const auto special = [](const char* id, int type) {
    return fmt::format(R"({{"SpecialToken": {{"id": "{}", "type_id": {}}}}})", id, type);
  };
  const std::string first = R"({"Sequence": {"id": "A", "type_id": 0}})";
  const std::string bert =
      fmt::format(R"({{"type": "TemplateProcessing", "single": [{0}, {1}, {2}], "pair": [{0}, {1}, {2}, {1}, {2}]}})",
                  special("<s>", 0), first, special("</s>", 0));
  const std::string typed =
      fmt::format(R"({{"type": "TemplateProcessing", "single": [{}], "pair": []}})", special("<s>", 1));
  struct Part {
    const char* name;
    std::string value;
    const char* says;
  };
  for (const Part& part : std::vector<Part>{
           {"normalizer", R"({"type": "NFC"})", "'normalizer': {\"type\":\"NFC\"} is not supported"},
           {"pre_tokenizer", "null", "'pre_tokenizer': null is not supported"},
           {"pre_tokenizer", R"({"type": "Whitespace"})", "'pre_tokenizer.type': \"Whitespace\""},
           {"pre_tokenizer", R"({"type": "ByteLevel", "use_regex": false})", "'pre_tokenizer.use_regex': false"},
           {"model", R"("dropout": 0.1)", "'model.dropout': 0.1 is not supported"},
           {"model", R"("byte_fallback": true)", "'model.byte_fallback': true"},
           {"model", R"("ignore_merges": true)", "'model.ignore_merges': true"},
           {"model", R"("continuing_subword_prefix": "##")", "'model.continuing_subword_prefix': \"##\""},
           {"model", R"("end_of_word_suffix": "</w>")", "'model.end_of_word_suffix': \"</w>\""},
           {"model", R"("unk_token": "<unk>")", "the special token '<unk>' is not in the vocabulary"},
           {"model", R"("fuse_unk": 1)", "'fuse_unk': 1"},
           {"truncation", R"({"direction": "Up"})", "'truncation.direction': \"Up\""},
           {"post_processor", "null", "'post_processor': null is not supported"},
           {"post_processor", R"({"type": "ByteLevel"})", "expected BertProcessing, RobertaProcessing or Template"},
           {"post_processor", R"({"type": "RobertaProcessing", "sep": 1})", "'post_processor.cls': null"},
           {"post_processor", R"({"type": "RobertaProcessing", "sep": ["<x>", 1], "cls": ["<s>", 0]})", "'<x>'"},
           {"post_processor", R"({"type": "RobertaProcessing", "sep": ["</s>", 3], "cls": ["<s>", 0]})",
            "'post_processor': 3 is not supported; expected the id of </s> in the vocabulary"},
           {"post_processor", R"({"type": "Sequence", "processors": [{"type": "ByteLevel"}]})",
            "expected one besides ByteLevel"},
           {"post_processor", bert, "expected [CLS] A [SEP] and [CLS] A [SEP] B [SEP]"},
           {"post_processor", typed, "expected [CLS] A [SEP] and [CLS] A [SEP] B [SEP]"},
           {"merges", "{}", "'model.merges': expected a list, found {}"},
           {"merges", R"(["a b", "ab"])", "'model.merges[1]': expected two tokens with one space between them"},
           {"merges", R"([["a"]])", "'model.merges[0]': expected two tokens, found [\"a\"]"},
           {"merges", R"([["a", "c"]])", "'model.merges[0]': 'c' is not in the vocabulary"},
           {"added_tokens", "{}", "'added_tokens': expected a list"},
           {"added_tokens", R"([{"id": 9, "content": "<x>"}])", "'<x>': expected the id 5, the next, found 9"},
           {"added_tokens", R"(["<x>"])", "'<x>': expected the id 5, the next, found -1"},
       }) {
    model.file("tokenizer.json", whole(part.name, part.value));
    EXPECT_THAT(failure_of<InputError>([&] { load_tokenizer(model.path()); }),
                AllOf(HasSubstr("tokenizer.json: "), HasSubstr(part.says)))
        << part.name << " " << part.value;
  }
}

}  // namespace
}  // namespace dtrain::data
