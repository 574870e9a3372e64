#include "study/journal/run_facts.h"

namespace dtrain::study {
namespace {

nlohmann::json or_null(const std::optional<double>& value) {
  return value ? nlohmann::json(*value) : nlohmann::json(nullptr);
}

std::optional<double> if_known(const nlohmann::json& value) {
  return value.is_null() ? std::nullopt : std::optional(value.get<double>());
}

}  // namespace

nlohmann::json run_facts_json(const RunFacts& facts) {
  return {{"ended", facts.ended},
          {"groups", facts.groups},
          {"ranks_per_trial", facts.ranks_per_trial},
          {"budget_seconds", or_null(facts.budget_seconds)},
          {"forecast_seconds", or_null(facts.forecast_seconds)},
          {"seconds", facts.seconds},
          {"planned_seconds", facts.planned_seconds},
          {"idle_share", or_null(facts.idle_share)}};
}

RunFacts run_facts_from_json(const nlohmann::json& json) {
  RunFacts facts;
  json.at("ended").get_to(facts.ended);
  json.at("groups").get_to(facts.groups);
  json.at("ranks_per_trial").get_to(facts.ranks_per_trial);
  facts.budget_seconds = if_known(json.at("budget_seconds"));
  facts.forecast_seconds = if_known(json.at("forecast_seconds"));
  if (facts.forecast_seconds == 0) facts.forecast_seconds.reset();  // as earlier versions said that it is not known
  json.at("seconds").get_to(facts.seconds);
  facts.planned_seconds = json.value("planned_seconds", facts.seconds);  // earlier versions did not tell
  facts.idle_share = if_known(json.at("idle_share"));
  return facts;
}

}  // namespace dtrain::study
