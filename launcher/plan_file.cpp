#include "launcher/plan_file.h"

#include <fmt/format.h>

#include <utility>
#include <vector>

#include "base/error.h"
#include "base/json_file.h"
#include "base/listing.h"

namespace dtrain::launcher {
namespace {

using nlohmann::json;

constexpr int kPlanSchema = 1;

}  // namespace

json plan_file_json(const study::StudyPlan& plan) {
  json methods = json::array();
  for (const study::MethodPlan& method : plan.methods) {
    methods.push_back({{"method", method.method.text()},
                       {"learning_rates", method.learning_rates},
                       {"range", {method.lowest, method.highest}}});
  }
  return {{"schema", kPlanSchema},
          {"methods", methods},
          {"samples", plan.samples},
          {"seed", plan.search_seed},
          {"subset_seed", plan.subset_seed},
          {"result_seeds", plan.result_seeds},
          {"search", study::search_depth_name(plan.search)},
          {"scores_many", plan.scores_many}};
}

void take_plan_file(study::StudyPlan& plan, const std::filesystem::path& path) {
  const json document = read_json_object(path);
  try {
    if (document.at("schema") != kPlanSchema) throw UsageError(fmt::format("expected schema {}", kPlanSchema));
    plan.methods.clear();
    for (const auto& entry : document.at("methods")) {
      auto method = study::method_plans({entry.at("method").get<std::string>()},
                                        entry.at("learning_rates").get<std::vector<double>>())
                        .front();
      method.lowest = entry.at("range").at(0);
      method.highest = entry.at("range").at(1);
      plan.methods.push_back(std::move(method));
    }
    document.at("samples").get_to(plan.samples);
    document.at("seed").get_to(plan.search_seed);
    document.at("subset_seed").get_to(plan.subset_seed);
    document.at("result_seeds").get_to(plan.result_seeds);
    plan.search = study::search_depth(document.at("search"), "'search'");
    plan.scores_many = document.value("scores_many", false);  // of no plan before there was a choice
    if (plan.methods.empty() || plan.samples.empty() || plan.result_seeds.empty())
      throw UsageError("expected at least one method, sample count and result seed");
  } catch (const std::exception& error) {
    throw InputError(fmt::format("{}: not the plan of a study ({})", path.string(), shown_text(error.what(), 1000)));
  }
}

}  // namespace dtrain::launcher
