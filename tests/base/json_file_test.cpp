#include "base/json_file.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <cmath>
#include <ctime>

#include "base/error.h"
#include "tests/base/failure_of.h"
#include "tests/base/temporary_directory.h"

namespace dtrain {
namespace {

using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Lt;
using testing::Not;
using testing::SizeIs;
using testing::StartsWith;

std::string repeated(const std::string& text, int count) {
  std::string all;
  for (int i = 0; i < count; ++i) all += text;
  return all;
}

TEST(JsonFile, IsReadWhereItHoldsAnObject) {
  const TemporaryDirectory folder;
  folder.file("a.json", R"({"a": [1, {"b": "[[{{\"[["}]})");
  EXPECT_EQ(read_json_object(folder.path() / "a.json")["a"][1]["b"], "[[{{\"[[");
}

TEST(JsonFile, IsReadInItsOrder) {
  const TemporaryDirectory folder;
  EXPECT_EQ(read_ordered_json_object(folder.file("a.json", R"({"b": {"d": 1, "c": 2}, "a": 3})")).dump(),
            R"({"b":{"d":1,"c":2},"a":3})");
  const auto refusal = [&](const char* text) {
    return failure_of<InputError>([&] { read_ordered_json_object(folder.file("b.json", text)); });
  };
  EXPECT_THAT(refusal("[1]"), HasSubstr("expected a JSON object, found array"));
  EXPECT_THAT(refusal("{"), HasSubstr("not valid JSON"));
}

TEST(JsonFile, HoldsNullForWhatIsNoNumber) {
  EXPECT_EQ(number_or_null(std::nan("")), nlohmann::json(nullptr));
  EXPECT_EQ(number_or_null(0.1), nlohmann::json(0.1));
  EXPECT_EQ(number_or_null(-0.0).dump(), "-0.0");
}

TEST(JsonFile, ThatIsNoObjectIsRefusedWithWhatItIs) {
  const TemporaryDirectory folder;
  const auto failure = [&](const std::string& content) {
    folder.file("a.json", content);
    return failure_of<InputError>([&] { read_json_object(folder.path() / "a.json"); });
  };
  EXPECT_THAT(failure("[1]"), EndsWith("a.json: expected a JSON object, found array"));
  EXPECT_THAT(failure("7"), EndsWith("found number"));
  for (const char* content : {"", "{\"a\": ", "{} more", "{\"a\": \"\xff\"}", "{\"a\": 1e999}"})
    EXPECT_THAT(failure(content), AllOf(HasSubstr("a.json: not valid JSON: "), Not(HasSubstr("json.exception"))));
  EXPECT_THAT(failure_of<InputError>([&] { read_json_object(folder.path() / "b.json"); }), HasSubstr("b.json"));
  EXPECT_THAT(failure("{\"" + std::string(100'000, 'a')),
              AllOf(SizeIs(Lt(1000U)), HasSubstr("aaa..."), EndsWith("; is the file complete?")));
}

TEST(JsonFile, InPartsIsRefusedWhereItGoesWrong) {
  const auto failure = [](std::string_view text) {
    return failure_of<InputError>(
        [&] { parse_json(text, [](std::size_t byte) { return fmt::format("x:{}", byte); }); });
  };
  EXPECT_THAT(failure("{\"a\": }"), AllOf(StartsWith("x:6: not valid JSON: syntax error"), Not(HasSubstr("complete"))));
  EXPECT_THAT(failure("{\"a\": 1"), AllOf(StartsWith("x:7: not valid JSON: "), EndsWith("; is the file complete?")));
  EXPECT_THAT(failure("[1e999]"), StartsWith("x:0: not valid JSON: number overflow"));
  EXPECT_EQ(failure(repeated("[", 200)), "x:100: nests deeper than 100 levels, which no such file does");
}

TEST(JsonFile, ThatNestsDeeperThanAnyIsRefusedAtOnce) {
  const auto nested = [](int depth) { return repeated("[", depth) + repeated("]", depth); };
  EXPECT_TRUE(parse_json(nested(kDeepestJson), "x").is_array());
  EXPECT_EQ(failure_of<InputError>([&] { parse_json(nested(kDeepestJson + 1), "x"); }),
            "x: nests deeper than 100 levels, which no such file does");
  const std::clock_t start = std::clock();
  for (const std::string& text : {nested(2'000'000), repeated("{\"a\":", 500'000) + "1" + repeated("}", 500'000),
                                  repeated("[", 2'000'000), "{\"a\": " + repeated("[{\"\\\"\": ", 1'000'000)}) {
    EXPECT_THAT(failure_of<InputError>([&] { parse_json(text, "config.json"); }), StartsWith("config.json: nests"));
  }
  EXPECT_LT((std::clock() - start) / CLOCKS_PER_SEC, 1) << "seconds of a core";
}

TEST(JsonFile, HoldsNamesThatAreNoUtf8) {
  EXPECT_EQ(json_text({{"task", "caf\xe9"}}), "{\"task\":\"caf\uFFFD\"}");
  EXPECT_EQ(json_text({{"a", 1}}, 2), "{\n  \"a\": 1\n}");
  EXPECT_EQ(parse_json(json_text("\u00e9\n"), "x"), "\u00e9\n");
}

TEST(JsonFile, IsShownByItsFirstCharacters) {
  EXPECT_EQ(shown_json("\u00e9"), "\"\\u00e9\"");
  EXPECT_EQ(shown_json(std::string(300, 'x')), "\"" + std::string(199, 'x') + "...");
  EXPECT_EQ(shown_json("\xff"), "\"\\ufffd\"");
}

}  // namespace
}  // namespace dtrain
