#include "study/journal/run_facts.h"

namespace dtrain::study {

nlohmann::json run_facts_json(const RunFacts& facts) {
  return {{"ended", facts.ended},
          {"groups", facts.groups},
          {"ranks_per_trial", facts.ranks_per_trial},
          {"budget_seconds", facts.budget_seconds ? nlohmann::json(*facts.budget_seconds) : nlohmann::json(nullptr)},
          {"forecast_seconds", facts.forecast_seconds},
          {"seconds", facts.seconds},
          {"planned_seconds", facts.planned_seconds},
          {"idle_share", facts.idle_share}};
}

RunFacts run_facts_from_json(const nlohmann::json& json) {
  RunFacts facts;
  json.at("ended").get_to(facts.ended);
  json.at("groups").get_to(facts.groups);
  json.at("ranks_per_trial").get_to(facts.ranks_per_trial);
  if (!json.at("budget_seconds").is_null()) facts.budget_seconds = json.at("budget_seconds").get<double>();
  json.at("forecast_seconds").get_to(facts.forecast_seconds);
  json.at("seconds").get_to(facts.seconds);
  facts.planned_seconds = json.value("planned_seconds", facts.seconds);  // earlier versions did not tell
  json.at("idle_share").get_to(facts.idle_share);
  return facts;
}

}  // namespace dtrain::study
