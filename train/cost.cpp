#include "train/cost.h"

namespace dtrain::train {

nlohmann::json cost_json(const Cost& cost) {
  return {{"train_seconds", cost.train_seconds},
          {"samples_per_second", cost.samples_per_second},
          {"peak_memory_bytes", cost.peak_memory_bytes},
          {"trainable_parameters", cost.trainable_parameters},
          {"allreduce_bytes_per_step", cost.allreduce_bytes_per_step},
          {"stored_bytes", cost.stored_bytes}};
}

Cost cost_from_json(const nlohmann::json& json) {
  Cost cost;
  json.at("train_seconds").get_to(cost.train_seconds);
  json.at("samples_per_second").get_to(cost.samples_per_second);
  json.at("peak_memory_bytes").get_to(cost.peak_memory_bytes);
  json.at("trainable_parameters").get_to(cost.trainable_parameters);
  json.at("allreduce_bytes_per_step").get_to(cost.allreduce_bytes_per_step);
  json.at("stored_bytes").get_to(cost.stored_bytes);
  return cost;
}

}  // namespace dtrain::train
