#include "peft/prompt.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include "peft/prompt_learning.h"

namespace dtrain::peft {
namespace {

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

class Prompt final : public Method {
 public:
  explicit Prompt(PromptConfig config) : config_(config) {}

  void attach(model::Classifier& classifier, std::uint64_t seed) const override {
    check_virtual_tokens(classifier, config_.num_virtual_tokens, "prompt");
    auto generator = at::detail::createCPUGenerator(seed);
    const at::Tensor& words = classifier.encoder().embedding_parameters().front()->value();
    const auto drawn = [&] {
      return at::randint(words.size(0), {config_.num_virtual_tokens}, generator, at::kLong).to(words.device());
    };
    classifier.encoder().embedding_slot = std::make_unique<PromptSlot>(
        config_.sample_vocabulary
            ? words.index_select(0, drawn())
            : draw_embedding(config_.num_virtual_tokens, words.size(1), words.options(), generator));
    train_head(classifier);
  }

  std::int64_t virtual_tokens() const override { return config_.num_virtual_tokens; }

  AdapterFormat format(const model::Classifier&) const override { return AdapterFormat::peft; }

  nlohmann::json adapter_config(model::Classifier& classifier, const std::string& base_model) const override {
    auto config = prompt_config(classifier, "PROMPT_TUNING", base_model, config_.num_virtual_tokens);
    config["prompt_tuning_init"] = config_.sample_vocabulary ? "SAMPLE_VOCAB" : "RANDOM";
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

MethodSpec read_peft(const AdapterConfig& config, model::Classifier& classifier) {
  // Where the embeddings in the file began.
  for (const char* key :
       {"prompt_tuning_init", "prompt_tuning_init_text", "tokenizer_name_or_path", "tokenizer_kwargs"}) {
    static_cast<void>(config.value<nlohmann::json>(key, nullptr));
  }
  return {"prompt", {{"num_virtual_tokens", std::to_string(read_virtual_tokens(config, classifier))}}};
}

}  // namespace

MethodKind prompt_kind() {
  return {
      .name = "prompt",
      .family = "added modules",
      .summary = "embeddings of virtual tokens in front of the text train",
      .paper = "Lester et al., 2021, EMNLP",
      .learning_rates = {1e-2, 3e-2, 1e-1},
      .settings = {{"num_virtual_tokens", "20", "how many; an example may have as many tokens less"},
                   {"prompt_tuning_init", "RANDOM",
                    "start from normal numbers; SAMPLE_VOCAB: from words of the vocabulary"}},
      .make = [](const Settings& settings) -> std::unique_ptr<Method> {
        const auto start = settings.choice("prompt_tuning_init", {"RANDOM", "SAMPLE_VOCAB"});
        return std::make_unique<Prompt>(PromptConfig{.num_virtual_tokens = settings.integer("num_virtual_tokens", 1),
                                                     .sample_vocabulary = start == "SAMPLE_VOCAB"});
      },
      .peft_type = "PROMPT_TUNING",
      .read_peft = read_peft};
}

}  // namespace dtrain::peft
