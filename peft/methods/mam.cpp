#include "peft/methods/kinds.h"
#include "peft/parts/adapter_hub_config.h"
#include "peft/parts/bottleneck_method.h"
#include "peft/parts/bottleneck_settings.h"
#include "peft/parts/composition.h"
#include "peft/parts/gated_prefix.h"

namespace dtrain::peft {
namespace {

constexpr GatedPrefixConfig kMamPrefix = {.bottleneck_size = 800};

BottleneckConfig mam_adapter() {
  return {.reduction_factor = 2, .init_weights = "mam_adapter", .is_parallel = true, .scaling = "4.0"};
}

std::vector<MethodSetting> mam_settings() {
  auto all = gated_prefix_settings(kMamPrefix);
  for (const MethodSetting& setting : bottleneck_settings(mam_adapter())) all.push_back(setting);
  return all;
}

std::unique_ptr<Method> make_mam(const MethodSettings& given) {
  const auto prefix = gated_prefix_config(given, kMamPrefix);
  const auto bottleneck = bottleneck_config(given, mam_adapter());
  return make_composition(
      {{[prefix](auto& classifier, auto& generator) { add_gated_prefix(classifier, prefix, generator); },
        gated_prefix_json(prefix)},
       {[bottleneck](auto& classifier, auto& generator) { add_bottlenecks(classifier, bottleneck, generator); },
        bottleneck_json(bottleneck)}});
}

}  // namespace

MethodKind mam_kind() {
  return {.name = "mam",
          .family = "composition",
          .summary = "prefix keys and values, and adapters beside the feed-forward networks, train",
          .paper = "He et al., 2022, ICLR",
          .learning_rates = {3e-4, 1e-3, 3e-3},
          .settings = mam_settings(),
          .make = make_mam,
          .adapter_hub_architecture = kUnionArchitecture,
          .read_adapter_hub = read_composition,
          .adapter_hub_keys = composition_keys()};
}

}  // namespace dtrain::peft
