#include "base/file_keys.h"

#include <gmock/gmock.h>

#include <array>

#include "base/error.h"
#include "tests/base/failure_of.h"

namespace dtrain {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::array kKeys = {FileKey{"size", KeyUse::heeded, "the size"},
                              FileKey{"origin", KeyUse::no_effect, "where it comes from"},
                              FileKey{"decoder", KeyUse::refused, "a causal mask", "[false, 0]"},
                              FileKey{"part.kind", KeyUse::refused, "another kind", R"(["plain"])"},
                              FileKey{"*_token", KeyUse::heeded, "a token"}};

TEST(FileKeys, ThatAreKnownAreTaken) {
  EXPECT_THAT(check_keys({{"size", 3}, {"origin", "x"}, {"mask_token", "y"}}, kKeys, "c.json"), IsEmpty());
  for (const json& neutral : {json(false), json(0), json()})
    EXPECT_THAT(check_keys({{"decoder", neutral}}, kKeys, "c.json"), IsEmpty());
  EXPECT_THAT(check_keys({{"kind", "plain"}}, kKeys, "c.json", "part."), IsEmpty());
}

TEST(FileKeys, ThatAreRefusedAreNamedWithWhatIsExpected) {
  EXPECT_EQ(failure_of<InputError>([] {
              check_keys({{"decoder", true}}, kKeys, "c.json");
            }),
            "c.json: 'decoder': true is not supported (a causal mask); expected no such key or false or 0");
  EXPECT_EQ(failure_of<InputError>([] {
              check_keys({{"kind", "odd"}}, kKeys, "c.json", "part.");
            }),
            "c.json: 'part.kind': \"odd\" is not supported (another kind); expected no such key or \"plain\"");
}

TEST(FileKeys, ThatNoListHasAreNotedOnceAndNotAll) {
  EXPECT_THAT(check_keys({{"sise", 3}}, kKeys, "c.json"),
              ElementsAre("c.json: a key that is not known and not heeded: 'sise'"));
  json many = json::object();
  for (int i = 0; i < 11; ++i) many["key " + std::to_string(100 + i)] = i;
  EXPECT_THAT(check_keys(many, kKeys, "c.json", "part."),
              ElementsAre("c.json: keys that are not known and not heeded: 'part.key 100', 'part.key 101', "
                          "'part.key 102', 'part.key 103', 'part.key 104', 'part.key 105', 'part.key 106', "
                          "'part.key 107' and 3 more"));
}

TEST(FileKeys, OfAFileThatMustBeKnownAsAWholeAreRefusedUnlessTheySayThatTheyAreOff) {
  const auto check = [](const json& object) {
    return check_keys(object, joined({heeded_keys({"size"}), keys_of(KeyUse::noted, "read by nobody", {"origin"})}),
                      "c.json", "", UnknownKeys::refused);
  };
  EXPECT_THAT(check({{"size", 3}, {"a", nullptr}, {"b", ""}, {"c", json::array()}, {"origin", false}}), IsEmpty());
  EXPECT_THAT(check({{"sise", 0}, {"origin", "x"}}),
              ElementsAre("c.json: 'origin': \"x\" is ignored: read by nobody",
                          "c.json: 'sise' is not known to this version of dtrain, and 0 is taken for switched off"));
  EXPECT_EQ(failure_of<InputError>([&] {
              check({{"sise", 3}});
            }),
            "c.json: 'sise': 3 is not supported (this version of dtrain does not know that key); expected no such key "
            "or false or 0 or \"\" or [] or {}");
}

TEST(FileKeys, OfOneUseThatAreRefusedMayBeOff) {
  const FileKeys keys = keys_of(KeyUse::refused, "another model", {"decoder", "cross"});
  EXPECT_THAT(check_keys({{"decoder", false}, {"cross", json::object()}}, keys, "c.json"), IsEmpty());
  EXPECT_THAT(failure_of<InputError>([&] {
                check_keys({{"cross", true}}, keys, "c.json");
              }),
              testing::HasSubstr("'cross': true is not supported (another model)"));
  EXPECT_EQ(find_key(keys, "cross"), &keys[1]);
  EXPECT_EQ(find_key(keys, "size"), nullptr);
}

}  // namespace
}  // namespace dtrain
