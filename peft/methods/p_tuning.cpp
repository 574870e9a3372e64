#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <cmath>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>

#include "base/random.h"
#include "model/dropout.h"
#include "peft/methods/kinds.h"
#include "peft/parts/prompt_learning.h"

namespace dtrain::peft {
namespace {

/// PEFT's PromptEncoderConfig; there num_virtual_tokens has no default.
struct PTuningConfig {
  std::int64_t num_virtual_tokens = 20;
  /// "MLP" or "LSTM"; "none" for an adapter that was read, since PEFT's file holds the prompt that came out.
  std::string encoder_reparameterization_type = "MLP";
  /// Unset: the model's hidden size.
  std::optional<std::int64_t> encoder_hidden_size;
  /// Of the LSTM.
  std::int64_t encoder_num_layers = 2;
  /// Between the layers of the LSTM.
  double encoder_dropout = 0;
};

/// A bidirectional LSTM of one layer, with the parameters of torch.nn.LSTM.
class LstmLayer {
 public:
  LstmLayer(std::int64_t index, std::int64_t in, std::int64_t hidden, const at::TensorOptions& options,
            at::Generator& generator)
      : hidden_(hidden) {
    const double bound = 1 / std::sqrt(static_cast<double>(hidden));
    for (const char* direction : {"", "_reverse"}) {
      const auto add = [&](const char* kind, const std::vector<std::int64_t>& shape) {
        parameters_.emplace_back(fmt::format("prompt_encoder.lstm_head.{}_l{}{}", kind, index, direction),
                                 draw_within(shape, bound, options, generator));
        parameters_.back().set_trainable(true);
      };
      add("weight_ih", {4 * hidden, in});
      add("weight_hh", {4 * hidden, hidden});
      add("bias_ih", {4 * hidden});
      add("bias_hh", {4 * hidden});
    }
  }

  /// [tokens, in] -> [tokens, 2 * hidden].
  at::Tensor forward(const at::Tensor& input, model::ForwardContext& context) {
    // Two directions, and the gradients of input and weights.
    context.count_matmuls(input.size(0), input.size(1) + hidden_, 4 * hidden_,
                          2 * (at::GradMode::is_enabled() ? 3 : 1));
    std::vector<at::Tensor> weights;
    for (model::Parameter& parameter : parameters_) weights.push_back(parameter.use());
    const auto start = at::zeros({2, 1, hidden_}, input.options());
    const auto output = at::lstm(input.unsqueeze(0), {start, start}, weights, /*has_biases=*/true, /*num_layers=*/1,
                                 /*dropout=*/0, /*train=*/at::GradMode::is_enabled(), /*bidirectional=*/true,
                                 /*batch_first=*/true);
    return std::get<0>(output).squeeze(0);
  }

  void add_parameters(std::vector<model::Parameter*>& all) {
    for (model::Parameter& parameter : parameters_) all.push_back(&parameter);
  }

 private:
  std::int64_t hidden_;
  std::deque<model::Parameter> parameters_;
};

class PTuningSlot final : public model::EmbeddingSlot {
 public:
  PTuningSlot(const PTuningConfig& config, std::int64_t size, const at::TensorOptions& options,
              at::Generator& generator)
      : dropout_(config.encoder_dropout),
        embedding_(kPromptEmbedding, draw_embedding(config.num_virtual_tokens, size, options, generator)) {
    embedding_.set_trainable(true);
    if (config.encoder_reparameterization_type == "none") return;
    const std::int64_t hidden = config.encoder_hidden_size.value_or(size);
    std::vector<std::int64_t> widths = {size, hidden, hidden, size};
    if (config.encoder_reparameterization_type == "LSTM") {
      for (std::int64_t layer = 0; layer < config.encoder_num_layers; ++layer) {
        lstm_.emplace_back(layer, layer == 0 ? size : 2 * hidden, hidden, options, generator);
      }
      widths = {2 * hidden, 2 * hidden, size};
    }
    // Every other module of PEFT's is the activation.
    for (std::size_t i = 0; i + 1 < widths.size(); ++i) {
      linears_.emplace_back(fmt::format("prompt_encoder.mlp_head.{}", 2 * i), widths[i + 1], widths[i], options,
                            generator);
    }
  }

  std::int64_t virtual_tokens() const override { return embedding_.value().size(0); }

  at::Tensor embeddings(model::ForwardContext& context) override {
    auto hidden = embedding_.use();
    for (std::size_t i = 0; i < lstm_.size(); ++i) {
      if (i > 0) hidden = model::dropout(hidden, context.next_dropout(dropout_));
      hidden = lstm_[i].forward(hidden, context);
    }
    for (std::size_t i = 0; i < linears_.size(); ++i)
      hidden = linears_[i].forward(i == 0 ? hidden : at::relu(hidden), context);
    return hidden;
  }

  std::vector<model::Parameter*> parameters() override {
    std::vector<model::Parameter*> all = {&embedding_};
    for (LstmLayer& layer : lstm_) layer.add_parameters(all);
    for (PromptLinear& linear : linears_) all.insert(all.end(), {&linear.weight, &linear.bias});
    return all;
  }

 private:
  double dropout_;
  model::Parameter embedding_;
  std::deque<LstmLayer> lstm_;
  std::deque<PromptLinear> linears_;
};

class PTuning final : public Method {
 public:
  explicit PTuning(PTuningConfig config) : config_(std::move(config)) {}

  void attach(model::Classifier& classifier, const AttachContext& context) const override {
    check_virtual_tokens(classifier, config_.num_virtual_tokens, "p-tuning");
    auto generator = at::detail::createCPUGenerator(stream_seed(context.seed, Purpose::method));
    classifier.encoder().embedding_slot = std::make_unique<PTuningSlot>(
        config_, classifier.config().hidden_size, classifier.classifier.weight.value().options(), generator);
    train_head(classifier);
  }

  std::int64_t virtual_tokens() const override { return config_.num_virtual_tokens; }

  AdapterFormat format(const model::Classifier&) const override { return AdapterFormat::peft; }

  nlohmann::json adapter_config(model::Classifier& classifier, const std::string& base_model) const override {
    auto config = prompt_config(classifier, "P_TUNING", base_model, config_.num_virtual_tokens);
    const bool lstm = config_.encoder_reparameterization_type == "LSTM";
    config["encoder_reparameterization_type"] = lstm ? "LSTM" : "MLP";
    config["encoder_hidden_size"] = config_.encoder_hidden_size.value_or(classifier.config().hidden_size);
    config["encoder_num_layers"] = config_.encoder_num_layers;
    config["encoder_dropout"] = config_.encoder_dropout;
    return config;
  }

  NamedParameters file_parameters(model::Classifier& classifier) const override {
    return prompt_file_parameters(classifier);
  }

  /// PEFT's file holds the prompt, not the network that it came from.
  NamedTensors saved_tensors(model::Classifier& classifier) const override {
    const at::NoGradGuard no_grad;
    model::ForwardContext context;
    return prompt_saved_tensors(classifier, classifier.encoder().embedding_slot->embeddings(context));
  }

  std::optional<std::string> cannot_merge() const override {
    return "p-tuning adds tokens to every example, and no weight of the model can stand for them";
  }

 private:
  PTuningConfig config_;
};

MethodSpec read_p_tuning_config(const AdapterConfig& config, model::Classifier& classifier) {
  return {"p-tuning",
          {{"num_virtual_tokens", std::to_string(read_virtual_tokens(config, classifier))},
           {"encoder_reparameterization_type", "none"}}};
}

}  // namespace

MethodKind p_tuning_kind() {
  return {.name = "p-tuning",
          .family = "added modules",
          .summary = "a network that makes the embeddings of virtual tokens trains",
          .paper = "Liu et al., 2021, arXiv:2103.10385",
          .learning_rates = {3e-3, 1e-2, 3e-2},
          .settings = {{"num_virtual_tokens", "20", "how many; an example may have as many tokens less"},
                       {"encoder_reparameterization_type", "MLP",
                        "the network, MLP or LSTM; none: an adapter's own embeddings, once it is read"},
                       {"encoder_hidden_size", "auto", "the network's width; auto: the model's"},
                       {"encoder_num_layers", "2", "layers of the LSTM; the MLP has three linear layers"},
                       {"encoder_dropout", "0", "dropout between the layers of the LSTM"}},
          .make = [](const MethodSettings& settings) -> std::unique_ptr<Method> {
            PTuningConfig config{.num_virtual_tokens = settings.integer("num_virtual_tokens", 1),
                                 .encoder_reparameterization_type =
                                     settings.choice("encoder_reparameterization_type", {"MLP", "LSTM", "none"}),
                                 .encoder_hidden_size = {},
                                 .encoder_num_layers = settings.size("encoder_num_layers", 1),
                                 .encoder_dropout = settings.number("encoder_dropout", 0, 0.999)};
            if (settings.text("encoder_hidden_size") != "auto") {
              config.encoder_hidden_size = settings.size("encoder_hidden_size", 1);
            }
            return std::make_unique<PTuning>(std::move(config));
          },
          .peft_type = "P_TUNING",
          .read_peft = read_p_tuning_config,
          .peft_keys = virtual_token_keys(
              {"encoder_reparameterization_type", "encoder_hidden_size", "encoder_num_layers", "encoder_dropout"})};
}

}  // namespace dtrain::peft
