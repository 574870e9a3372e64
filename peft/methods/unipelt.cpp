#include "peft/methods/kinds.h"
#include "peft/parts/adapter_hub_config.h"
#include "peft/parts/bottleneck_method.h"
#include "peft/parts/bottleneck_settings.h"
#include "peft/parts/composition.h"
#include "peft/parts/gated_lora.h"
#include "peft/parts/gated_prefix.h"

namespace dtrain::peft {
namespace {

constexpr GatedPrefixConfig kUnipeltPrefix = {.prefix_length = 10, .use_gating = true};

BottleneckConfig unipelt_adapter() { return {.original_ln_before = true, .use_gating = true}; }

std::vector<MethodSetting> unipelt_settings() {
  auto all = gated_prefix_settings(kUnipeltPrefix);
  all.push_back({"r", "8", "rank of the updates of query and value"});
  for (const MethodSetting& setting : bottleneck_settings(unipelt_adapter())) all.push_back(setting);
  return all;
}

std::unique_ptr<Method> make_unipelt(const MethodSettings& given) {
  const auto prefix = gated_prefix_config(given, kUnipeltPrefix);
  const auto bottleneck = bottleneck_config(given, unipelt_adapter());
  const GatedLoraConfig lora{.r = given.size("r", 1)};
  return make_composition(
      {{[prefix](auto& classifier, auto& generator) { add_gated_prefix(classifier, prefix, generator); },
        gated_prefix_json(prefix)},
       {[bottleneck](auto& classifier, auto& generator) { add_bottlenecks(classifier, bottleneck, generator); },
        bottleneck_json(bottleneck)},
       {[lora](auto& classifier, auto& generator) { add_gated_lora(classifier, lora, generator); },
        gated_lora_json(lora)}});
}

}  // namespace

MethodKind unipelt_kind() {
  return {.name = "unipelt",
          .family = "composition",
          .summary = "a prefix, adapters and low-rank updates train, each under a gate",
          .paper = "Mao et al., 2022, ACL",
          .learning_rates = {1e-3, 3e-3, 1e-2},
          .settings = unipelt_settings(),
          .make = make_unipelt,
          .adapter_hub_architecture = kUnionArchitecture,
          .read_adapter_hub = read_composition,
          .adapter_hub_keys = composition_keys()};
}

}  // namespace dtrain::peft
