#include "peft/methods/kinds.h"
#include "peft/parts/adapter_hub_config.h"
#include "peft/parts/bottleneck_method.h"
#include "peft/parts/bottleneck_settings.h"

namespace dtrain::peft {
namespace {

BottleneckConfig compacter() {
  return {.mh_adapter = true, .reduction_factor = 32, .non_linearity = "gelu", .phm = PhmConfig{}};
}

}  // namespace

MethodKind compacter_kind() {
  return {.name = "compacter",
          .family = "added modules",
          .summary = "two bottleneck adapters a layer, of hypercomplex linear layers that share their rule, train",
          .paper = "Karimi Mahabadi et al., 2021, NeurIPS",
          .learning_rates = {3e-3, 1e-2, 3e-2},
          .settings = bottleneck_settings(compacter()),
          .make =
              [](const MethodSettings& settings) {
                return make_bottleneck_method(bottleneck_config(settings, compacter()));
              },
          .adapter_hub_architecture = kBottleneckArchitecture,
          .read_adapter_hub = read_bottleneck_method,
          .adapter_hub_keys = bottleneck_keys()};
}

}  // namespace dtrain::peft
