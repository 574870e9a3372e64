#include "launcher/text_examples.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "base/log.h"
#include "model/token_batch.h"
#include "tests/data/small_model.h"

namespace dtrain::launcher {
namespace {

using testing::ElementsAre;

std::vector<std::int64_t> numbers(const at::Tensor& tensor) {
  const auto* values = tensor.const_data_ptr<std::int64_t>();
  return {values, values + tensor.numel()};
}

/// Pairs of texts; of the classes 1, 0 and 2.
data::TokenDataset three_texts() {
  data::LabelledTexts rows;
  rows.has_pairs = true;
  for (const auto& [text, pair] :
       std::vector<std::pair<std::string, std::string>>{{"ab", "c"}, {"c", "de"}, {"f", "g"}})
    rows.rows.push_back({.text = text, .pair = pair, .label = {}, .line = 1});
  return data::tokenize(rows, data::Targets::of_classes({1, 0, 2}, 3), *data::letter_tokenizer(), {}, Log());
}

TEST(TextExamples, ArePackedWithoutPaddingAndFilledUpAtTheEnd) {
  const auto examples = text_examples(three_texts());
  const auto batch = examples.collate({1, 0}, at::kCPU);
  // [CLS] c [SEP] d ##e [SEP], [CLS] a ##b [SEP] c [SEP].
  const std::int64_t b = 31 + 1, e = 31 + 4;
  EXPECT_THAT(numbers(batch.offsets), ElementsAre(0, 6, 12));
  EXPECT_THAT(numbers(batch.ids), ElementsAre(2, 7, 3, 8, e, 3, 2, 5, b, 3, 7, 3, 0, 0, 0, 0));
  EXPECT_THAT(numbers(batch.types), ElementsAre(0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0));
  EXPECT_THAT(numbers(batch.positions), ElementsAre(0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5, 0, 0, 0, 0));
  EXPECT_EQ(batch.max_length, 6);
  EXPECT_EQ(batch.tokens() % model::kTokenMultiple, 0);
}

TEST(TextExamples, CostTheirTokensAndKeepTheirTargets) {
  const auto examples = text_examples(three_texts());
  EXPECT_THAT(examples.lengths(), ElementsAre(6, 6, 5));
  EXPECT_THAT(numbers(examples.all_targets()), ElementsAre(1, 0, 2));
  const auto part = examples.subset({2, 0});
  EXPECT_THAT(numbers(part.collate({0}, at::kCPU).offsets), ElementsAre(0, 5));
  EXPECT_THAT(numbers(part.all_targets()), ElementsAre(2, 1));
  EXPECT_NE(part.digest(), examples.digest());
  EXPECT_EQ(text_examples(three_texts()).digest(), examples.digest());
}

}  // namespace
}  // namespace dtrain::launcher
