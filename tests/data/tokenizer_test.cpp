#include "data/tokenizers/tokenizer.h"

#include <gmock/gmock.h>

#include "base/error.h"
#include "tests/base/failure_of.h"
#include "tests/base/temporary_directory.h"

namespace dtrain::data {
namespace {

using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;

std::string failure_of_loading(const TemporaryDirectory& model) {
  return failure_of<InputError>([&] { load_tokenizer(model.path()); });
}

const auto kNamesTheKinds = AllOf(HasSubstr("supported are: WordPiece"), HasSubstr("vocab.txt"),
                                  HasSubstr("byte-level BPE"), HasSubstr("vocab.json and merges.txt"));

TEST(TokenizerOfADirectory, ThatIsNotThereIsSaidWithTheKindsThatAreSupported) {
  const TemporaryDirectory model;
  EXPECT_THAT(failure_of_loading(model), AllOf(HasSubstr("no tokenizer there"), kNamesTheKinds));
}

TEST(TokenizerOfADirectory, OfAnotherKindIsRefusedWithTheKindsThatAreSupported) {
  const TemporaryDirectory model;
  model.file("tokenizer.json", R"({"model": {"type": "Unigram", "vocab": []}})");
  EXPECT_THAT(failure_of_loading(model),
              AllOf(HasSubstr("tokenizer.json: the model 'Unigram' is not supported"), kNamesTheKinds));
  model.file("tokenizer.json", R"({"version": "1.0"})");
  EXPECT_THAT(failure_of_loading(model), AllOf(HasSubstr("tokenizer.json: there is no 'model'"), kNamesTheKinds));
}

TEST(TokenizerOfADirectory, WithAFileThatIsNoJsonObjectIsRefused) {
  for (const char* content : {"", "{\"model\": ", "[1]", "{\"model\": {}} more", "{\"a\": \"\xff\"}"}) {
    for (const char* name : {"tokenizer.json", "tokenizer_config.json"}) {
      const TemporaryDirectory model;
      model.file(name, content);
      EXPECT_THAT(failure_of_loading(model), AllOf(HasSubstr(std::string(name) + ": "), HasSubstr("JSON")));
    }
  }
}

TEST(TokenizerOfADirectory, SaysWhichKeysOfItsFilesItDoesNotKnow) {
  const TemporaryDirectory model;
  model.file("vocab.txt", "[UNK]\n[CLS]\n[SEP]\n");
  model.file("tokenizer_config.json", R"({"do_lower_case": true, "new_option": 1})");
  std::vector<std::string> said;
  Log log;
  log.warning = [&](std::string_view line) { said.emplace_back(line); };
  load_tokenizer(model.path(), log);
  EXPECT_THAT(said, testing::ElementsAre(EndsWith("not known and not heeded: 'new_option'")));
}

TEST(TokenizerOfADirectory, WithoutATypeIsThatOfItsVocabulary) {
  const TemporaryDirectory model;
  model.file("tokenizer.json", R"({"model": {"vocab": {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "a": 3}}})");
  EXPECT_EQ(load_tokenizer(model.path())->tokenize("a", nullptr, 8).ids, (std::vector<std::int32_t>{1, 3, 2}));
  model.file("tokenizer.json", R"({"pre_tokenizer": {"type": "ByteLevel"},
      "model": {"vocab": {"<s>": 0, "</s>": 1, "a": 2, "aa": 3}, "merges": ["a a"]}})");
  EXPECT_EQ(load_tokenizer(model.path())->tokenize("aaa", nullptr, 8).ids, (std::vector<std::int32_t>{0, 3, 2, 1}));
}

TEST(TokenizerOfADirectory, WithAModelTypeThatIsNoTextIsRefused) {
  const TemporaryDirectory model;
  model.file("tokenizer.json", R"({"model": {"type": 7}})");
  EXPECT_THAT(failure_of_loading(model), EndsWith("'type': 7 is not the kind of value that belongs there"));
}

}  // namespace
}  // namespace dtrain::data
