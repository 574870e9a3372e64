#pragma once

#include <ATen/core/Generator.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/slots.h"
#include "peft/parts/adapter_projection.h"

namespace dtrain::peft {

/// adapter-hub's BnConfig: names and defaults as there.
struct BottleneckConfig {
  /// After the self-attention, and after the feed-forward network.
  bool mh_adapter = false;
  bool output_adapter = true;
  /// Of the hidden size, which divided by it is the bottleneck's; by layer where `by_layer` names it.
  double reduction_factor = 16;
  std::map<std::int64_t, double> reduction_factor_by_layer = {};
  std::string non_linearity = "relu";
  bool original_ln_before = false;
  bool original_ln_after = true;
  /// "true", "false" or "post_add".
  std::string residual_before_ln = "true";
  bool adapter_residual_before_ln = false;
  bool ln_before = false;
  bool ln_after = false;
  /// "bert", "mam_adapter" or "houlsby".
  std::string init_weights = "bert";
  bool is_parallel = false;
  /// A number, "learned" or "channel".
  std::string scaling = "1.0";
  bool use_gating = false;
  double dropout = 0;
  std::vector<std::int64_t> leave_out = {};
  /// Compacter's.
  std::optional<PhmConfig> phm = {};
};

/// The names that non_linearity may have.
const std::vector<std::string>& adapter_activations();

/// An adapter after a sub-layer, whose output linear layer gave h from x (Houlsby et al., 2019; Pfeiffer et al., 2021;
/// He et al., 2022): a linear layer to the bottleneck, an activation and a linear layer back, added to h. `path` is the
/// adapter's. `rule` is shared by the slots of a model (Compacter), and counts to the parameters of the one with
/// `lists_rule`.
std::unique_ptr<model::SublayerSlot> make_bottleneck_slot(const std::string& path, const BottleneckConfig& config,
                                                          std::int64_t layer, const at::Tensor& like,
                                                          const std::shared_ptr<PhmRule>& rule, bool lists_rule,
                                                          at::Generator& generator);

}  // namespace dtrain::peft
