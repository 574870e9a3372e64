#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "peft/formats/trained_model.h"

namespace dtrain::peft {

/// How several LoRA adapters become one: PEFT's combination_type in add_weighted_adapter.
struct Combination {
  /// "linear", "ties" (Yadav et al., 2023, NeurIPS), "dare" (Yu et al., 2024, ICML) or "dare_linear", PEFT's word
  /// for it, "dare_ties", "magnitude_prune" or "svd".
  std::string how = "linear";
  /// One for each adapter.
  std::vector<double> weights;
  /// The share of the elements that ties, dare and magnitude_prune keep.
  double density = 0.5;
  /// Of dare's random choice.
  std::uint64_t seed = 0;
};

/// Names that Combination::how takes.
const std::vector<std::string>& combination_names();

/// The first adapter's model with the adapters' weighted combination in place of its own, as an adapter of scale 1. Its
/// head is the mean of the heads by the weights, which PEFT leaves to the user. Throws UsageError where the adapters do
/// not fit each other: methods other than plain LoRA, other ranks of one linear layer, other classes, another base
/// model or tokenizer, other parts that train beside the updates (bias, modules_to_save).
TrainedModel combine_adapters(std::vector<TrainedModel> adapters, const Combination& combination);

}  // namespace dtrain::peft
