#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "peft/linear_method.h"
#include "peft/registry.h"

namespace dtrain::peft {

/// PEFT's AdaLoraConfig: names and defaults as there, but for total_step, which has none there.
struct AdaLoraConfig {
  std::int64_t init_r = 12;
  /// The rank that the maps have at the end, on average.
  std::int64_t target_r = 8;
  double lora_alpha = 8;
  double lora_dropout = 0;
  /// Steps before the first cut, and after the last.
  std::int64_t tinit = 0;
  std::int64_t tfinal = 0;
  /// Steps between two cuts.
  std::int64_t deltaT = 1;
  double beta1 = 0.85;
  double beta2 = 0.85;
  double orth_reg_weight = 0.5;
  /// Of the run; unset: as many as it has.
  std::optional<std::int64_t> total_step;
  /// The ranks of a trained adapter, by the paths of its maps; those that are not named have init_r.
  std::map<std::string, std::int64_t> rank_pattern;
};

/// AdaLoRA (Zhang et al., 2023, ICLR): the update of a map is B diag(E) A, and in the course of the run the parts of
/// all maps that matter least are cut, so that the others get the rank.
MethodKind adalora_kind();

}  // namespace dtrain::peft
