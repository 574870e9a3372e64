#include "peft/parts/composition.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/random.h"
#include "peft/parts/adapter_hub_config.h"
#include "peft/parts/bottleneck_settings.h"
#include "peft/parts/gated_lora.h"
#include "peft/parts/gated_prefix.h"

namespace dtrain::peft {
namespace {

using nlohmann::json;

class Composition final : public Method {
 public:
  explicit Composition(std::vector<MethodPart> parts) : parts_(std::move(parts)) {}

  void attach(model::Classifier& classifier, const AttachContext& context) const override {
    auto generator = at::detail::createCPUGenerator(stream_seed(context.seed, Purpose::method));
    for (const MethodPart& part : parts_) part.add(classifier, generator);
    train_head(classifier);
  }

  AdapterFormat format(const model::Classifier&) const override { return AdapterFormat::adapter_hub; }
  json adapter_config(model::Classifier& classifier, const std::string& base_model) const override {
    json configs = json::array();
    for (const MethodPart& part : parts_) configs.push_back(part.config);
    return adapter_hub_config(classifier, {{"architecture", kUnionArchitecture}, {"configs", configs}}, base_model);
  }
  std::optional<std::string> cannot_merge() const override {
    return "its adapters and its prefix are no part of a weight of the model";
  }

 private:
  std::vector<MethodPart> parts_;
};

}  // namespace

const std::vector<PartKind>& part_kinds() {
  static const std::vector<PartKind> kinds = {{kPrefixArchitecture, gated_prefix_keys(), read_gated_prefix},
                                              {kLoraArchitecture, gated_lora_keys(), read_gated_lora},
                                              {kBottleneckArchitecture, bottleneck_keys(), read_bottleneck}};
  return kinds;
}

FileKeys composition_keys() { return heeded_keys({"architecture", "configs"}); }

std::unique_ptr<Method> make_composition(std::vector<MethodPart> parts) {
  return std::make_unique<Composition>(std::move(parts));
}

MethodSpec read_composition(const AdapterConfig& config) {
  MethodSpec spec;
  std::vector<std::string> architectures;
  for (const json& inner : config.value("configs", std::vector<json>{})) {
    const AdapterConfig part(config.path(), inner);
    const auto architecture = part.value<std::string>("architecture", kBottleneckArchitecture);
    architectures.push_back(architecture);
    const auto kind = std::find_if(part_kinds().begin(), part_kinds().end(),
                                   [&](const PartKind& each) { return each.architecture == architecture; });
    if (kind == part_kinds().end()) part.refuse("architecture", "not supported as a part of a composition");
    part.refuse_others(kind->keys);
    spec.settings.merge(kind->read(part));
    part.check_reads(kind->keys, kind->keys);
    const bool gated = architecture != kBottleneckArchitecture && part.value("use_gating", false);
    const bool parallel = part.value("is_parallel", false);
    if (gated) spec.name = "unipelt";
    if (parallel) spec.name = "mam";
  }
  const std::vector<std::string> mam = {kPrefixArchitecture, kBottleneckArchitecture};
  const std::vector<std::string> unipelt = {kPrefixArchitecture, kBottleneckArchitecture, kLoraArchitecture};
  if (spec.name.empty() || architectures != (spec.name == "mam" ? mam : unipelt)) {
    config.refuse("configs", "not supported; expected those of mam or of unipelt");
  }
  return spec;
}

}  // namespace dtrain::peft
