// What PEFT's own adapters (peft_parity_test.cpp) do not show of prefixes and prompts.

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "base/error.h"
#include "model/formats/classifier_files.h"
#include "peft/registry.h"
#include "tests/model/reference_case.h"

namespace dtrain::peft {
namespace {

using model::Pooling;

const std::vector<std::string> kMethods = {"prefix", "prompt", "p-tuning"};

std::unique_ptr<model::Classifier> load_without_method(const std::string& model) {
  return model::load_classifier(
      {.directory = model::reference_directory() / model, .pooling = Pooling::cls, .classes = 3});
}

TEST(VirtualTokens, ThatLeaveNoPositionAreRefused) {
  for (const std::string& name : kMethods) {
    // Of 140 positions, and of 150 from the fifth on.
    for (const auto& [model, positions] : {std::pair("odd_relu", 140), std::pair("roberta_gelu", 145)}) {
      const auto classifier = load_without_method(model);
      const auto attach = [&](int tokens) {
        make_method({name, {{"num_virtual_tokens", std::to_string(tokens)}}})->attach(*classifier, {});
      };
      EXPECT_THAT([&] { attach(positions); }, testing::ThrowsMessage<UsageError>(testing::HasSubstr(
                                                  "the model has only " + std::to_string(positions) + " positions")));
      EXPECT_NO_THROW(attach(positions - 1)) << name;
    }
  }
}

TEST(VirtualTokens, AreCountedByTheMethodsThatHaveThem) {
  for (const std::string& name : kMethods) {
    EXPECT_EQ(make_method({name, {{"num_virtual_tokens", "7"}}})->virtual_tokens(), 7) << name;
  }
  EXPECT_EQ(make_method({"lora", {}})->virtual_tokens(), 0);
}

TEST(PromptTuning, CanStartFromWords) {
  const auto classifier = load_without_method("odd_relu");
  make_method(parse_method_spec("prompt:num_virtual_tokens=9:prompt_tuning_init=SAMPLE_VOCAB"))
      ->attach(*classifier, {.seed = 3});
  const auto words = classifier->encoder().embedding_parameters().front()->value();
  const auto prompt = classifier->encoder().embedding_slot->parameters().front()->value();
  EXPECT_EQ(prompt.sizes(), (std::vector<std::int64_t>{9, 40}));
  const auto same = words.unsqueeze(0).eq(prompt.unsqueeze(1)).all(2);  // [9, words]
  EXPECT_TRUE(same.any(1).all().item<bool>());
  EXPECT_GT(same.any(0).sum().item<std::int64_t>(), 5) << "not the same word again and again";
}

// A tokenizer that gives every text the same ids.
AttachContext with_tokenizer(const std::vector<std::int32_t>& ids) {
  return {.seed = 3, .tokenize = [=](const std::string& text, const std::filesystem::path& directory) {
            EXPECT_EQ(text, "Which kind of word");
            EXPECT_EQ(directory, "folder");
            return ids;
          }};
}

MethodSpec from_text(int count) {
  return {"prompt",
          {{"num_virtual_tokens", std::to_string(count)},
           {"prompt_tuning_init", "TEXT"},
           {"prompt_tuning_init_text", "Which kind of word"},
           {"tokenizer_name_or_path", "folder"}}};
}

TEST(PromptTuning, StartsFromATextThatIsRepeatedOrCut) {
  for (const auto& [count, ids] : {std::pair<int, std::vector<std::int64_t>>(9, {2, 5, 6, 7, 8, 3, 2, 5, 6}),
                                   std::pair<int, std::vector<std::int64_t>>(4, {2, 5, 6, 7})}) {
    const auto classifier = load_without_method("odd_relu");
    make_method(from_text(count))->attach(*classifier, with_tokenizer({2, 5, 6, 7, 8, 3}));
    const auto words = classifier->encoder().embedding_parameters().front()->value();
    EXPECT_TRUE(at::equal(classifier->encoder().embedding_slot->parameters().front()->value(),
                          words.index_select(0, at::tensor(ids, at::kLong))));
  }
}

TEST(PromptTuning, NeedsTextAndTokenizerForATextAndForNothingElse) {
  for (const char* spec : {"prompt:prompt_tuning_init=TEXT", "prompt:prompt_tuning_init=TEXT:prompt_tuning_init_text=a",
                           "prompt:prompt_tuning_init_text=a", "prompt:tokenizer_name_or_path=a"}) {
    EXPECT_THAT([&] { make_method(parse_method_spec(spec)); },
                testing::ThrowsMessage<UsageError>(testing::HasSubstr("prompt_tuning_init_text and tokenizer_name")))
        << spec;
  }
  const auto classifier = load_without_method("odd_relu");
  EXPECT_THAT(
      [&] {
        make_method(from_text(4))->attach(*classifier, with_tokenizer({2, 1005, 3}));
      },
      testing::ThrowsMessage<UsageError>(testing::HasSubstr("token 1005 of prompt_tuning_init_text")));
  EXPECT_THAT([&] { make_method(from_text(4))->attach(*classifier, {}); },
              testing::ThrowsMessage<UsageError>(testing::HasSubstr("needs a tokenizer")));
}

// A DistilBERT is a BERT without segments. PEFT has prefix tuning for one of them only.
TEST(PrefixTuning, OfADistilBertIsThatOfTheSameBert) {
  const auto distilbert = load_without_method("distilbert");
  auto config = distilbert->config();
  config.model_type = "bert";
  config.token_types = 1;
  model::Classifier bert(config, Pooling::cls, 3);
  const auto copy = [](const std::vector<model::Parameter*>& to, std::vector<model::Parameter*> from) {
    ASSERT_EQ(to.size(), from.size());
    for (std::size_t i = 0; i < to.size(); ++i) to[i]->set_value(from[i]->value());
  };
  auto embeddings = bert.encoder().embedding_parameters();
  ASSERT_EQ(embeddings.size(), 5U);
  embeddings[2]->set_value(at::zeros({1, config.hidden_size}));  // the segments
  embeddings.erase(embeddings.begin() + 2);
  copy(embeddings, distilbert->encoder().embedding_parameters());
  for (int layer = 0; layer < bert.encoder().layers(); ++layer) {
    copy(bert.encoder().layer(layer).own_parameters(), distilbert->encoder().layer(layer).own_parameters());
  }
  bert.classifier.weight.set_value(distilbert->classifier.weight.value());
  const auto batch = model::ReferenceCase("distilbert").batch();
  const auto pooled = [&](model::Classifier& classifier) {
    return classifier.run_prefix(batch, classifier.head_stage(), at::kFloat);
  };
  const auto plain = pooled(bert);
  for (const char* spec : {"prefix:num_virtual_tokens=5", "prefix:num_virtual_tokens=5:prefix_projection=true"}) {
    for (model::Classifier* classifier : {distilbert.get(), &bert}) {
      make_method(parse_method_spec(spec))->attach(*classifier, {.seed = 6});
    }
    EXPECT_TRUE(at::equal(pooled(*distilbert), pooled(bert))) << spec;
    EXPECT_GT(model::largest_difference(pooled(bert), plain), 0.01) << spec;
  }
  const auto method = make_method({"prefix", {}});
  EXPECT_EQ(method->format(bert), AdapterFormat::peft);
  EXPECT_EQ(method->format(*distilbert), AdapterFormat::plain);
}

}  // namespace
}  // namespace dtrain::peft
