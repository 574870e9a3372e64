#pragma once

#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace dtrain::train {

/// What a run costs, as results.json says it. What is not known is NaN, or unset.
struct Cost {
  /// What it was measured on: seconds and rates follow from it.
  std::optional<int> ranks = {};
  std::optional<int> threads_per_rank = {};
  double train_seconds = 0;
  double samples_per_second = 0;
  double tokens_per_second = std::numeric_limits<double>::quiet_NaN();
  /// Floating-point operations of the matmuls of training, of all ranks (model::FlopCount).
  double flop = std::numeric_limits<double>::quiet_NaN();
  /// `flop` over what the ranks' matmuls could have done in train_seconds (measure_matmul_rate).
  double matmul_rate_share = std::numeric_limits<double>::quiet_NaN();
  /// Of the nodes and GPUs that the run had for itself, and what took it (Energy).
  double energy_joules = std::numeric_limits<double>::quiet_NaN();
  std::string energy_of = {};
  std::int64_t peak_memory_bytes = 0;
  /// The same without the weights of the base model and the head.
  std::optional<std::int64_t> peak_memory_above_base_bytes;
  /// Of the host, where the others are of a GPU.
  std::optional<std::int64_t> peak_host_memory_bytes = {};
  std::int64_t trainable_parameters = 0;
  std::int64_t allreduce_bytes_per_step = 0;
  std::int64_t stored_bytes = 0;
};
nlohmann::json cost_json(const Cost& cost);
/// What earlier versions did not write is not known. Throws nlohmann::json::exception where another number is missing.
Cost cost_from_json(const nlohmann::json& json);

}  // namespace dtrain::train
