#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>

namespace dtrain::train {

/// What a run costs, as results.json says it.
struct Cost {
  double train_seconds = 0;
  double samples_per_second = 0;
  std::int64_t peak_memory_bytes = 0;
  std::int64_t trainable_parameters = 0;
  std::int64_t allreduce_bytes_per_step = 0;
  std::int64_t stored_bytes = 0;
};
nlohmann::json cost_json(const Cost& cost);
/// Throws nlohmann::json::exception where a number is missing.
Cost cost_from_json(const nlohmann::json& json);

}  // namespace dtrain::train
