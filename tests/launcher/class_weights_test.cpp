#include "launcher/class_weights.h"

#include <gmock/gmock.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "tests/base/failure_of.h"
#include "tests/base/temporary_directory.h"

namespace dtrain::launcher {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Lt;
using testing::SizeIs;

class ClassWeights : public testing::Test {
 protected:
  std::vector<double> read(const std::string& content) {
    return read_class_weights(directory.file("weights.json", content), labels);
  }
  std::string refusal(const std::string& content) {
    return failure_of<InputError>([&] { read(content); });
  }

  const TemporaryDirectory directory;
  const data::LabelMap labels{std::vector<std::string>{"ham", "spam"}};
};

TEST_F(ClassWeights, AreInTheOrderOfTheLabels) { EXPECT_THAT(read(R"({"spam": 5, "ham": 0.5})"), ElementsAre(0.5, 5)); }

TEST_F(ClassWeights, AreANumberForEachLabelAndForNoOther) {
  EXPECT_THAT(refusal("[1, 2]"), HasSubstr("weights.json: expected a JSON object"));
  EXPECT_THAT(refusal(R"({"ham": 1})"), HasSubstr("expected a number for 'spam', found none"));
  EXPECT_THAT(refusal(R"({"ham": 1, "spam": "2"})"), HasSubstr("expected a number for 'spam', found \"2\""));
  EXPECT_THAT(refusal(R"({"ham": 1, "spam": 2, "span": 3})"),
              AllOf(HasSubstr("'span' is no label"), HasSubstr("did you mean 'spam'?")));
}

TEST_F(ClassWeights, OfSomebodyElseMakeNoLongMessages) {
  const std::string longest(100'000, 'x');
  for (const std::string& content : {R"({"ham": ")" + longest + R"("})",
                                     R"({"ham": 1, "spam": 2, ")" + longest + R"(": 3})", R"({"ham": ")" + longest})
    EXPECT_THAT(refusal(content), AllOf(HasSubstr("weights.json: "), SizeIs(Lt(1000U))));
}

}  // namespace
}  // namespace dtrain::launcher
