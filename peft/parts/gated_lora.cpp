#include "peft/parts/gated_lora.h"

#include <ATen/ATen.h>

#include <cmath>

#include "peft/parts/adapter_hub_config.h"
#include "peft/parts/gate.h"
#include "peft/parts/linear_method.h"

namespace dtrain::peft {
namespace {

using nlohmann::json;

class GatedLoraSlot final : public model::LinearSlot {
 public:
  GatedLoraSlot(const model::Linear& base, const std::string& path, const GatedLoraConfig& config,
                at::Generator& generator)
      : a_(path + ".lora_A", draw_uniform(config.r, base.in_features(), base.weight.value(), generator)),
        b_(path + ".lora_B", at::zeros({base.out_features(), config.r}, base.weight.value().options())),
        gate_(path + ".gate", base.in_features(), 1, 1 / std::sqrt(static_cast<double>(base.in_features())),
              base.weight.value(), generator) {
    a_.set_trainable(true);
    b_.set_trainable(true);
  }

  at::Tensor forward(model::Linear& base, const at::Tensor& input, model::ForwardContext& context) override {
    const auto output = base.base_forward(input, context);
    const auto low = model::linear(input, a_, nullptr, context);
    // The gate can be multiplied in where there are few columns.
    const auto gated = low * gate_.of_tokens(input, *context.batch, context);
    return model::linear(gated, b_, nullptr, context, 1, output);
  }

  std::vector<model::Parameter*> parameters() override {
    auto all = gate_.parameters();
    all.insert(all.begin(), {&a_, &b_});
    return all;
  }

 private:
  model::Parameter a_;
  model::Parameter b_;
  Gate gate_;
};

}  // namespace

json gated_lora_json(const GatedLoraConfig& config) {
  return {{"architecture", kLoraArchitecture},
          {"r", config.r},
          {"alpha", 2},
          {"dropout", 0.0},
          {"use_gating", true},
          {"use_dora", false},
          {"composition_mode", "add"},
          {"selfattn_lora", true},
          {"intermediate_lora", false},
          {"output_lora", false},
          {"attn_matrices", {"q", "v"}},
          {"leave_out", json::array()},
          {"init_weights", "lora"},
          {"init_weights_seed", nullptr},
          {"vera_d", nullptr},
          {"vera_b", nullptr},
          {"dtype", nullptr}};
}

std::map<std::string, std::string> read_gated_lora(const AdapterConfig& config) {
  return {{"r", std::to_string(config.value<std::int64_t>("r", 8))}};
}

FileKeys gated_lora_keys() {
  constexpr KeyUse refused = KeyUse::refused;
  constexpr const char* kPlace = "other places for the matrices";
  return joined({heeded_keys({"architecture", "r"}),
                 {{"dropout", refused, "dropout of its input", "[0]"},
                  {"use_gating", refused, "LoRA without a gate in a composition", "[true]"},
                  {"use_dora", refused, "DoRA with a gate", "[false]"},
                  {"composition_mode", refused, "other ways to join it to the base", R"(["add"])"},
                  {"selfattn_lora", refused, kPlace, "[true]"},
                  {"intermediate_lora", refused, kPlace, "[false]"},
                  {"output_lora", refused, kPlace, "[false]"},
                  {"attn_matrices", refused, kPlace, R"([["q", "v"]])"},
                  {"leave_out", refused, kPlace, "[[]]"}},
                 {{"alpha", KeyUse::no_effect, "adapter-hub scales by the gate instead"},
                  {"dtype", KeyUse::no_effect, "weights are read as float"}},
                 keys_of(KeyUse::no_effect, "the file holds the weights", {"init_weights", "init_weights_seed"}),
                 keys_of(KeyUse::refused, "it changes what the adapter computes", {"vera_d", "vera_b"})});
}

void add_gated_lora(model::Classifier& classifier, const GatedLoraConfig& config, at::Generator& generator) {
  for (model::Linear* linear : query_and_value(classifier)) {
    linear->slot =
        std::make_unique<GatedLoraSlot>(*linear, linear->path() + ".loras." + kAdapterName, config, generator);
  }
}

}  // namespace dtrain::peft
