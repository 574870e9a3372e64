#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>

#include <cstdint>
#include <optional>

#include "base/random.h"
#include "peft/methods/kinds.h"
#include "peft/parts/prefix_encoder.h"

namespace dtrain::peft {
namespace {

/// PEFT's PrefixTuningConfig; there num_virtual_tokens has no default.
struct PrefixConfig {
  std::int64_t num_virtual_tokens = 20;
  bool prefix_projection = false;
  /// Unset: the model's hidden size.
  std::optional<std::int64_t> encoder_hidden_size;
};

class Prefix final : public Method {
 public:
  explicit Prefix(PrefixConfig config) : config_(config) {}

  void attach(model::Classifier& classifier, const AttachContext& context) const override {
    check_virtual_tokens(classifier, config_.num_virtual_tokens, "prefix");
    auto generator = at::detail::createCPUGenerator(stream_seed(context.seed, Purpose::method));
    auto& encoder = classifier.encoder();
    const std::int64_t hidden = classifier.config().hidden_size;
    std::optional<std::int64_t> projection;
    if (config_.prefix_projection) projection = config_.encoder_hidden_size.value_or(hidden);
    const auto prefix = std::make_shared<PrefixEncoder>(config_.num_virtual_tokens, encoder.layers(), hidden,
                                                        projection, PrefixEncoder::Names(),
                                                        classifier.classifier.weight.value().options(), generator);
    for (int layer = 0; layer < encoder.layers(); ++layer) {
      encoder.layer(layer).attention_slot = std::make_unique<PrefixSlot>(prefix, layer);
    }
    encoder.position_shift = config_.num_virtual_tokens;
    train_head(classifier);
  }

  std::int64_t virtual_tokens() const override { return config_.num_virtual_tokens; }

  /// PEFT cannot do it on a model whose Python class takes no past keys, which DistilBERT's does not.
  AdapterFormat format(const model::Classifier& classifier) const override {
    return classifier.config().model_type == "distilbert" ? AdapterFormat::plain : AdapterFormat::peft;
  }

  nlohmann::json adapter_config(model::Classifier& classifier, const std::string& base_model) const override {
    auto config = prompt_config(classifier, "PREFIX_TUNING", base_model, config_.num_virtual_tokens);
    config["prefix_projection"] = config_.prefix_projection;
    config["encoder_hidden_size"] = config_.encoder_hidden_size.value_or(classifier.config().hidden_size);
    return config;
  }

  NamedParameters file_parameters(model::Classifier& classifier) const override {
    return format(classifier) == AdapterFormat::plain ? trained_parameters(classifier)
                                                      : prompt_file_parameters(classifier);
  }

  /// PEFT's file holds the keys and values, not the linear layers that they came from.
  NamedTensors saved_tensors(model::Classifier& classifier) const override {
    if (format(classifier) == AdapterFormat::plain) return Method::saved_tensors(classifier);
    const at::NoGradGuard no_grad;
    const auto& slot = dynamic_cast<const PrefixSlot&>(*classifier.encoder().layer(0).attention_slot);
    model::ForwardContext context;
    return prompt_saved_tensors(classifier, slot.encoder().keys_and_values(context));
  }

  std::optional<std::string> cannot_merge() const override {
    return "prefix tuning adds keys and values to the attention, and no weight of the model can stand for them";
  }

 private:
  PrefixConfig config_;
};

MethodSpec read_prefix_config(const AdapterConfig& config, model::Classifier& classifier) {
  return {"prefix", {{"num_virtual_tokens", std::to_string(read_virtual_tokens(config, classifier))}}};
}

}  // namespace

MethodKind prefix_kind() {
  return {.name = "prefix",
          .family = "added modules",
          .summary = "keys and values of virtual tokens in every layer train",
          .paper = "Li and Liang, 2021, ACL",
          .learning_rates = {3e-3, 1e-2, 3e-2},
          .settings = {{"num_virtual_tokens", "20", "how many; an example may have as many tokens less"},
                       {"prefix_projection", "false",
                        "compute them by two linear layers from an embedding; wants a tenth of the learning rate"},
                       {"encoder_hidden_size", "auto", "the width between these linear layers; auto: the model's"}},
          .make = [](const MethodSettings& settings) -> std::unique_ptr<Method> {
            PrefixConfig config{.num_virtual_tokens = settings.integer("num_virtual_tokens", 1),
                                .prefix_projection = settings.boolean("prefix_projection"),
                                .encoder_hidden_size = {}};
            if (settings.text("encoder_hidden_size") != "auto") {
              config.encoder_hidden_size = settings.size("encoder_hidden_size", 1);
            }
            return std::make_unique<Prefix>(config);
          },
          .peft_type = "PREFIX_TUNING",
          .read_peft = read_prefix_config,
          .peft_keys = virtual_token_keys({"prefix_projection", "encoder_hidden_size", "init_weights"})};
}

}  // namespace dtrain::peft
