#include "train/cost.h"

#include <cmath>
#include <string>

#include "base/json_file.h"

namespace dtrain::train {
namespace {

void take_number(const nlohmann::json& json, const std::string& name, double& value) {
  if (json.contains(name) && !json.at(name).is_null()) json.at(name).get_to(value);
}

template <typename Number>
void take_number(const nlohmann::json& json, const std::string& name, std::optional<Number>& value) {
  if (json.contains(name) && !json.at(name).is_null()) value = json.at(name).get<Number>();
}

template <typename Number>
nlohmann::json or_null(const std::optional<Number>& value) {
  return value ? nlohmann::json(*value) : nlohmann::json(nullptr);
}

}  // namespace

nlohmann::json cost_json(const Cost& cost) {
  nlohmann::json json = {{"ranks", or_null(cost.ranks)},
                         {"threads_per_rank", or_null(cost.threads_per_rank)},
                         {"train_seconds", cost.train_seconds},
                         {"samples_per_second", cost.samples_per_second},
                         {"tokens_per_second", number_or_null(cost.tokens_per_second)},
                         {"flop", number_or_null(cost.flop)},
                         {"matmul_rate_share", number_or_null(cost.matmul_rate_share)},
                         {"energy_joules", number_or_null(cost.energy_joules)},
                         {"peak_memory_bytes", cost.peak_memory_bytes},
                         {"peak_memory_above_base_bytes", or_null(cost.peak_memory_above_base_bytes)},
                         {"trainable_parameters", cost.trainable_parameters},
                         {"allreduce_bytes_per_step", cost.allreduce_bytes_per_step},
                         {"stored_bytes", cost.stored_bytes}};
  if (!cost.energy_of.empty()) json["energy_of"] = cost.energy_of;
  if (cost.peak_host_memory_bytes) json["peak_host_memory_bytes"] = *cost.peak_host_memory_bytes;
  return json;
}

Cost cost_from_json(const nlohmann::json& json) {
  Cost cost;
  take_number(json, "ranks", cost.ranks);
  take_number(json, "threads_per_rank", cost.threads_per_rank);
  json.at("train_seconds").get_to(cost.train_seconds);
  json.at("samples_per_second").get_to(cost.samples_per_second);
  take_number(json, "tokens_per_second", cost.tokens_per_second);
  take_number(json, "flop", cost.flop);
  take_number(json, "matmul_rate_share", cost.matmul_rate_share);
  take_number(json, "energy_joules", cost.energy_joules);
  // Earlier versions read nothing else.
  if (std::isfinite(cost.energy_joules)) cost.energy_of = json.value("energy_of", "cpu");
  json.at("peak_memory_bytes").get_to(cost.peak_memory_bytes);
  take_number(json, "peak_memory_above_base_bytes", cost.peak_memory_above_base_bytes);
  take_number(json, "peak_host_memory_bytes", cost.peak_host_memory_bytes);
  json.at("trainable_parameters").get_to(cost.trainable_parameters);
  json.at("allreduce_bytes_per_step").get_to(cost.allreduce_bytes_per_step);
  json.at("stored_bytes").get_to(cost.stored_bytes);
  return cost;
}

}  // namespace dtrain::train
