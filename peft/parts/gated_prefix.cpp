#include "peft/parts/gated_prefix.h"

#include <ATen/ATen.h>

#include <cmath>

#include "peft/parts/adapter_hub_config.h"
#include "peft/parts/gate.h"
#include "peft/parts/prefix_encoder.h"

namespace dtrain::peft {
namespace {

using nlohmann::json;

class GatedPrefixSlot final : public model::AttentionSlot {
 public:
  GatedPrefixSlot(std::shared_ptr<PrefixEncoder> encoder, std::int64_t index, std::unique_ptr<Gate> gate)
      : prefix_(std::move(encoder), index), gate_(std::move(gate)) {}

  model::KeysAndValues keys_and_values(const at::Tensor& hidden, const model::TokenBatch& batch,
                                       model::ForwardContext& context) override {
    const auto prefix = prefix_.keys_and_values(hidden, batch, context);
    const auto gate = gate_->of_examples(hidden, batch, context).unsqueeze(2);
    return {prefix.keys * gate, prefix.values * gate};
  }

  std::vector<model::Parameter*> parameters() override {
    auto all = prefix_.parameters();
    for (model::Parameter* parameter : gate_->parameters()) all.push_back(parameter);
    return all;
  }

 private:
  PrefixSlot prefix_;
  std::unique_ptr<Gate> gate_;
};

std::string attention_module(model::EncoderLayer& layer) {
  return layer.query.path().substr(0, layer.query.path().rfind('.'));
}

}  // namespace

std::vector<MethodSetting> gated_prefix_settings(const GatedPrefixConfig& d) {
  return {
      {"prefix_length", std::to_string(d.prefix_length), "how many keys and values a layer gets"},
      {"bottleneck_size", std::to_string(d.bottleneck_size), "width between the two linear layers that compute them"}};
}

GatedPrefixConfig gated_prefix_config(const MethodSettings& settings, const GatedPrefixConfig& defaults) {
  return {.prefix_length = settings.size("prefix_length", 1),
          .bottleneck_size = settings.size("bottleneck_size", 1),
          .use_gating = defaults.use_gating};
}

json gated_prefix_json(const GatedPrefixConfig& config) {
  return {{"architecture", kPrefixArchitecture},
          {"prefix_length", config.prefix_length},
          {"bottleneck_size", config.bottleneck_size},
          {"use_gating", config.use_gating},
          {"shared_gating", true},
          {"flat", false},
          {"non_linearity", "tanh"},
          {"dropout", 0.0},
          {"encoder_prefix", true},
          {"cross_prefix", true},
          {"leave_out", json::array()},
          {"init_weights_seed", nullptr}};
}

std::map<std::string, std::string> read_gated_prefix(const AdapterConfig& config) {
  // The composition tells its kinds apart by it.
  static_cast<void>(config.value("use_gating", false));
  return {{"prefix_length", std::to_string(config.value<std::int64_t>("prefix_length", 30))},
          {"bottleneck_size", std::to_string(config.value<std::int64_t>("bottleneck_size", 512))}};
}

FileKeys gated_prefix_keys() {
  constexpr KeyUse refused = KeyUse::refused;
  return joined({heeded_keys({"architecture", "prefix_length", "bottleneck_size", "use_gating"}),
                 {{"flat", refused, "keys and values that nothing computes", "[false]"},
                  {"shared_gating", refused, "a gate for keys and one for values", "[true]"},
                  {"non_linearity", refused, "another function between the linear layers", R"(["tanh"])"},
                  {"dropout", refused, "dropout of the keys and values", "[0]"},
                  {"encoder_prefix", refused, "no prefix in the encoder", "[true]"},
                  {"leave_out", refused, "layers without a prefix", "[[]]"}},
                 {{"cross_prefix", KeyUse::no_effect, "an encoder has no cross-attention"},
                  {"init_weights_seed", KeyUse::no_effect, "the file holds the weights"}}});
}

void add_gated_prefix(model::Classifier& classifier, const GatedPrefixConfig& config, at::Generator& generator) {
  auto& encoder = classifier.encoder();
  const std::int64_t hidden = classifier.config().hidden_size;
  const auto like = encoder.layer(0).output_norm.weight.value();
  // The place has another name where the attention's linear layers are not in a module "self".
  const bool in_self = attention_module(encoder.layer(0)).ends_with(".self");
  const std::string path = model::family(classifier.config().model_type).prefix + "prefix_tuning.prefix_tunings." +
                           kAdapterName + (in_self ? ".self_prefix" : ".self");
  const PrefixEncoder::Names names{path + ".wte.weight", path + ".control_trans.0", path + ".control_trans.2"};
  const auto prefix = std::make_shared<PrefixEncoder>(config.prefix_length, encoder.layers(), hidden,
                                                      config.bottleneck_size, names, like.options(), generator);
  for (int index = 0; index < encoder.layers(); ++index) {
    auto& layer = encoder.layer(index);
    if (!config.use_gating) {
      layer.attention_slot = std::make_unique<PrefixSlot>(prefix, index);
      continue;
    }
    const double bound = 1 / std::sqrt(static_cast<double>(hidden));
    auto gate = std::make_unique<Gate>(attention_module(layer) + ".prefix_tuning.prefix_gates." + kAdapterName, hidden,
                                       1, bound, like, generator);
    layer.attention_slot = std::make_unique<GatedPrefixSlot>(prefix, index, std::move(gate));
  }
}

}  // namespace dtrain::peft
