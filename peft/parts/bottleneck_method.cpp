#include "peft/parts/bottleneck_method.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/random.h"
#include "peft/parts/adapter_hub_config.h"
#include "peft/parts/bottleneck_settings.h"

namespace dtrain::peft {
namespace {

using nlohmann::json;

// adapter-hub puts an adapter into the module that ends the sub-layer with a linear layer and a norm. Where a family's
// layer has these apart (DistilBERT), it adds a module to the layer.
std::string adapter_path(const model::Linear& linear, const model::LayerNorm& norm, const char* added) {
  const auto parent = [](const std::string& path) { return path.substr(0, path.rfind('.')); };
  const std::string module = parent(norm.path());
  return (module == parent(linear.path()) ? module : module + added) + ".adapters." + kAdapterName;
}

class Bottleneck final : public Method {
 public:
  explicit Bottleneck(BottleneckConfig config) : config_(std::move(config)) {}

  void attach(model::Classifier& classifier, const AttachContext& context) const override {
    auto generator = at::detail::createCPUGenerator(stream_seed(context.seed, Purpose::method));
    add_bottlenecks(classifier, config_, generator);
    train_head(classifier);
  }

  AdapterFormat format(const model::Classifier&) const override { return AdapterFormat::adapter_hub; }
  json adapter_config(model::Classifier& classifier, const std::string& base_model) const override {
    return adapter_hub_config(classifier, bottleneck_json(config_), base_model);
  }
  NamedTensors saved_tensors(model::Classifier& classifier) const override {
    auto tensors = Method::saved_tensors(classifier);
    if (!config_.ln_before) return tensors;
    // There the norm is both a module of its own and the first of those that go down.
    const std::string first = ".adapter_down.0.";
    for (std::size_t i = 0, count = tensors.size(); i < count; ++i) {
      auto [name, tensor] = tensors[i];
      const std::size_t place = name.find(first);
      if (place == std::string::npos) continue;
      tensors.emplace_back(name.replace(place, first.size(), ".adapter_norm_before."), tensor);
    }
    return tensors;
  }
  std::optional<std::string> cannot_merge() const override {
    return "an adapter is a network of its own after a sub-layer, with a non-linearity that no weight of the model can "
           "hold";
  }

 private:
  BottleneckConfig config_;
};

}  // namespace

void add_bottlenecks(model::Classifier& classifier, const BottleneckConfig& config, at::Generator& generator) {
  auto& encoder = classifier.encoder();
  const model::Parameter& like = encoder.layer(0).output_norm.weight;
  const auto check_layer = [&](const char* key, std::int64_t layer) {
    if (layer < encoder.layers()) return;
    throw UsageError(
        fmt::format("{} names layer {}, but the model has layers 0 to {}", key, layer, encoder.layers() - 1));
  };
  for (const std::int64_t layer : config.leave_out) check_layer("leave_out", layer);
  for (const auto& [layer, factor] : config.reduction_factor_by_layer) check_layer("reduction_factor", layer);
  std::shared_ptr<PhmRule> rule;
  if (config.phm && config.phm->shared_phm_rule) {
    const std::string path = model::family(classifier.config().model_type).prefix + "shared_parameters." + kAdapterName;
    rule = std::make_shared<PhmRule>(path, *config.phm, config.phm->phm_init_range, like.value(), generator);
  }
  bool first = true;
  for (int index = 0; index < encoder.layers(); ++index) {
    if (std::find(config.leave_out.begin(), config.leave_out.end(), index) != config.leave_out.end()) continue;
    auto& layer = encoder.layer(index);
    const auto make_slot = [&](const model::Linear& linear, const model::LayerNorm& norm, const char* added) {
      auto slot = make_bottleneck_slot(adapter_path(linear, norm, added), config, index, norm.weight.value(), rule,
                                       first, generator);
      first = false;
      return slot;
    };
    if (config.mh_adapter) {
      layer.attention_output_slot = make_slot(layer.attention_output, layer.attention_norm, ".attention_adapters");
    }
    if (config.output_adapter) layer.output_slot = make_slot(layer.output, layer.output_norm, ".output_adapters");
  }
  if (first) throw UsageError("leave_out names every layer of the model");
}

std::unique_ptr<Method> make_bottleneck_method(const BottleneckConfig& config) {
  return std::make_unique<Bottleneck>(config);
}

MethodSpec read_bottleneck_method(const AdapterConfig& config) {
  MethodSpec spec{"houlsby", read_bottleneck(config)};
  if (config.value("original_ln_before", false)) spec.name = "pfeiffer";
  if (config.value("is_parallel", false)) spec.name = "parallel";
  if (config.value("phm_layer", false)) spec.name = "compacter";
  return spec;
}

}  // namespace dtrain::peft
