#include "peft/methods/kinds.h"
#include "peft/parts/adapter_hub_config.h"
#include "peft/parts/bottleneck_method.h"
#include "peft/parts/bottleneck_settings.h"

namespace dtrain::peft {
namespace {

BottleneckConfig houlsby() { return {.mh_adapter = true, .non_linearity = "swish"}; }

BottleneckConfig pfeiffer() { return {.original_ln_before = true}; }

BottleneckConfig parallel() {
  return {.reduction_factor = 2, .init_weights = "mam_adapter", .is_parallel = true, .scaling = "4.0"};
}

}  // namespace

MethodKind houlsby_kind() {
  return {
      .name = "houlsby",
      .family = "added modules",
      .summary = "two bottleneck adapters a layer train",
      .paper = "Houlsby et al., 2019, ICML",
      .learning_rates = {1e-3, 3e-3, 1e-2},
      .settings = bottleneck_settings(houlsby()),
      .make =
          [](const MethodSettings& settings) { return make_bottleneck_method(bottleneck_config(settings, houlsby())); },
      .adapter_hub_architecture = kBottleneckArchitecture,
      .read_adapter_hub = read_bottleneck_method,
      .adapter_hub_keys = bottleneck_keys()};
}

MethodKind pfeiffer_kind() {
  return {.name = "pfeiffer",
          .family = "added modules",
          .summary = "a bottleneck adapter a layer, after the feed-forward network, trains",
          .paper = "Pfeiffer et al., 2021, EACL",
          .learning_rates = {3e-4, 1e-3, 3e-3},
          .settings = bottleneck_settings(pfeiffer()),
          .make =
              [](const MethodSettings& settings) {
                return make_bottleneck_method(bottleneck_config(settings, pfeiffer()));
              },
          .adapter_hub_architecture = kBottleneckArchitecture,
          .read_adapter_hub = read_bottleneck_method,
          .adapter_hub_keys = bottleneck_keys()};
}

MethodKind parallel_kind() {
  return {.name = "parallel",
          .family = "added modules",
          .summary = "a bottleneck adapter a layer, beside the feed-forward network, trains",
          .paper = "He et al., 2022, ICLR",
          .learning_rates = {5e-4, 1.5e-3, 5e-3},
          .settings = bottleneck_settings(parallel()),
          .make =
              [](const MethodSettings& settings) {
                return make_bottleneck_method(bottleneck_config(settings, parallel()));
              },
          .adapter_hub_architecture = kBottleneckArchitecture,
          .read_adapter_hub = read_bottleneck_method,
          .adapter_hub_keys = bottleneck_keys()};
}

}  // namespace dtrain::peft
