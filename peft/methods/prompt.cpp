#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <string>

#include "base/error.h"
#include "base/random.h"
#include "peft/methods/kinds.h"
#include "peft/parts/prompt_learning.h"

namespace dtrain::peft {
namespace {

/// PEFT's PromptTuningConfig; there num_virtual_tokens has no default.
struct PromptConfig {
  std::int64_t num_virtual_tokens = 20;
  /// RANDOM: normal numbers; SAMPLE_VOCAB: words of the model's vocabulary; TEXT: those of a text.
  std::string prompt_tuning_init = "RANDOM";
  std::string prompt_tuning_init_text;
  /// A directory with the tokenizer of that text.
  std::string tokenizer_name_or_path;
};

class PromptSlot final : public model::EmbeddingSlot {
 public:
  explicit PromptSlot(at::Tensor embedding) : embedding_(kPromptEmbedding, std::move(embedding)) {
    embedding_.set_trainable(true);
  }

  std::int64_t virtual_tokens() const override { return embedding_.value().size(0); }
  at::Tensor embeddings(model::ForwardContext&) override { return embedding_.use(); }
  std::vector<model::Parameter*> parameters() override { return {&embedding_}; }

 private:
  model::Parameter embedding_;
};

// [count]: the tokens of the text, special ones included, from the start again where they are too few, as in PEFT.
at::Tensor text_tokens(const PromptConfig& config, const AttachContext& context, std::int64_t vocabulary_size) {
  if (!context.tokenize) {
    throw UsageError("method 'prompt': prompt_tuning_init=TEXT needs a tokenizer, and there is none here");
  }
  const auto ids = context.tokenize(config.prompt_tuning_init_text, config.tokenizer_name_or_path);
  const std::int32_t last = *std::max_element(ids.begin(), ids.end());  // a tokenizer adds special tokens to any text
  if (last >= vocabulary_size) {
    throw UsageError(
        fmt::format("method 'prompt': the tokenizer in {} makes token {} of prompt_tuning_init_text, but the model has "
                    "only {} of them",
                    config.tokenizer_name_or_path, last, vocabulary_size));
  }
  const auto places = at::arange(config.num_virtual_tokens, at::kLong).remainder(static_cast<std::int64_t>(ids.size()));
  return at::tensor(ids, at::kLong).index_select(0, places);
}

class Prompt final : public Method {
 public:
  explicit Prompt(PromptConfig config) : config_(std::move(config)) {}

  void attach(model::Classifier& classifier, const AttachContext& context) const override {
    check_virtual_tokens(classifier, config_.num_virtual_tokens, "prompt");
    auto generator = at::detail::createCPUGenerator(stream_seed(context.seed, Purpose::method));
    const at::Tensor& words = classifier.encoder().embedding_parameters().front()->value();
    at::Tensor start;
    if (config_.prompt_tuning_init == "RANDOM") {
      start = draw_embedding(config_.num_virtual_tokens, words.size(1), words.options(), generator);
    } else {
      const auto tokens = config_.prompt_tuning_init == "TEXT"
                              ? text_tokens(config_, context, words.size(0))
                              : at::randint(words.size(0), {config_.num_virtual_tokens}, generator, at::kLong);
      start = words.index_select(0, tokens.to(words.device()));
    }
    classifier.encoder().embedding_slot = std::make_unique<PromptSlot>(std::move(start));
    train_head(classifier);
  }

  std::int64_t virtual_tokens() const override { return config_.num_virtual_tokens; }

  AdapterFormat format(const model::Classifier&) const override { return AdapterFormat::peft; }

  nlohmann::json adapter_config(model::Classifier& classifier, const std::string& base_model) const override {
    auto config = prompt_config(classifier, "PROMPT_TUNING", base_model, config_.num_virtual_tokens);
    config["prompt_tuning_init"] = config_.prompt_tuning_init;
    if (config_.prompt_tuning_init == "TEXT") {
      config["prompt_tuning_init_text"] = config_.prompt_tuning_init_text;
      config["tokenizer_name_or_path"] = config_.tokenizer_name_or_path;
    }
    return config;
  }

  NamedParameters file_parameters(model::Classifier& classifier) const override {
    return prompt_file_parameters(classifier);
  }

  std::optional<std::string> cannot_merge() const override {
    return "prompt tuning adds tokens to every example, and no weight of the model can stand for them";
  }

 private:
  PromptConfig config_;
};

MethodSpec read_prompt_config(const AdapterConfig& config, model::Classifier& classifier) {
  return {"prompt", {{"num_virtual_tokens", std::to_string(read_virtual_tokens(config, classifier))}}};
}

std::unique_ptr<Method> make_prompt(const MethodSettings& settings) {
  PromptConfig config{.num_virtual_tokens = settings.integer("num_virtual_tokens", 1),
                      .prompt_tuning_init = settings.choice("prompt_tuning_init", {"RANDOM", "SAMPLE_VOCAB", "TEXT"}),
                      .prompt_tuning_init_text = settings.text("prompt_tuning_init_text"),
                      .tokenizer_name_or_path = settings.text("tokenizer_name_or_path")};
  const bool from_text = config.prompt_tuning_init == "TEXT";
  if (from_text == config.prompt_tuning_init_text.empty() || from_text == config.tokenizer_name_or_path.empty()) {
    throw UsageError(
        "method 'prompt': prompt_tuning_init=TEXT needs prompt_tuning_init_text and tokenizer_name_or_path (a "
        "directory, such as the model's), and nothing else takes them");
  }
  return std::make_unique<Prompt>(std::move(config));
}

}  // namespace

MethodKind prompt_kind() {
  return {.name = "prompt",
          .family = "added modules",
          .summary = "embeddings of virtual tokens in front of the text train",
          .paper = "Lester et al., 2021, EMNLP",
          .learning_rates = {1e-2, 3e-2, 1e-1},
          .settings = {{"num_virtual_tokens", "20", "how many; an example may have as many tokens less"},
                       {"prompt_tuning_init", "RANDOM",
                        "start from normal numbers; SAMPLE_VOCAB: from words of the vocabulary; TEXT: from a text"},
                       {"prompt_tuning_init_text", "", "of TEXT: its tokens, repeated or cut to as many as there are"},
                       {"tokenizer_name_or_path", "", "of TEXT: a directory with the tokenizer, such as the model's"}},
          .make = make_prompt,
          .peft_type = "PROMPT_TUNING",
          .read_peft = read_prompt_config,
          .peft_keys = virtual_token_keys(
              {"prompt_tuning_init", "prompt_tuning_init_text", "tokenizer_name_or_path", "tokenizer_kwargs"})};
}

}  // namespace dtrain::peft
