#include "study/diagnosis/diagnose_time.h"

#include <algorithm>
#include <limits>
#include <set>

namespace dtrain::study {
namespace {

// Of a search: its three rates, and one beyond them.
constexpr double kTrialsOfSearch = 4;

// The share of full fine-tuning that a step of the method takes, at most.
double share_of(const peft::MethodSpec& method, int layers) {
  if (method.name != "layers" || layers <= 0) return 1;
  const auto k = method.settings.find("k");
  const double trained = k == method.settings.end() ? 2 : std::stod(k->second);
  return std::min(1.0, trained / layers);
}

class Seconds {
 public:
  Seconds(const DiagnosisPlan& plan, const DiagnosisTimes& times) : plan_(plan), times_(times) {}

  // The result of a method, and its search where rates to search were given.
  double row(const peft::MethodSpec& method) const {
    const double results =
        static_cast<double>(plan_.seeds) * (training(method) + share_of(method, times_.layers) * times_.scoring);
    const std::size_t given = plan_.learning_rates.size();
    return results + (given > 1 ? static_cast<double>(given) * training(method) : 0);
  }

  // The quick search for its rate.
  double search(const peft::MethodSpec& method) const {
    if (!plan_.learning_rates.empty() || plan_.known_rates.count(method.text()) > 0) return 0;
    return kTrialsOfSearch * times_.search_share * training(method);
  }

 private:
  double training(const peft::MethodSpec& method) const {
    const double share = share_of(method, times_.layers);
    return share * times_.training + (share < 1 ? times_.frozen_pass : 0);
  }

  const DiagnosisPlan& plan_;
  const DiagnosisTimes& times_;
};

}  // namespace

DiagnosisChoice choose_within(const DiagnosisPlan& plan, const DiagnosisTimes& times) {
  const Seconds seconds(plan, times);
  const double left = plan.seconds ? *plan.seconds - times.spent : std::numeric_limits<double>::infinity();
  const peft::MethodSpec full{"full", {}};
  DiagnosisChoice choice;
  choice.seconds = seconds.row(full);
  std::set<std::string> taken;
  const auto take = [&](const peft::MethodSpec& method) {
    taken.insert(method.text());
    choice.seconds += seconds.row(method);
  };
  for (const TriedMethod& tried : plan.methods) {
    if (!tried.if_time) take(tried.method);
  }
  for (auto tried = plan.methods.rbegin(); tried != plan.methods.rend(); ++tried) {
    if (tried->if_time && choice.seconds + seconds.row(tried->method) <= left) take(tried->method);
  }
  double search = seconds.search(full);
  for (const TriedMethod& tried : plan.methods) {
    const std::string name = tried.method.text();
    if (taken.count(name) == 0) {
      choice.left_out.push_back(name);
      continue;
    }
    choice.methods.push_back(tried.method);
    search += seconds.search(tried.method);
  }
  choice.searches = search > 0 && choice.seconds + search <= left;
  if (choice.searches) choice.seconds += search;
  return choice;
}

}  // namespace dtrain::study
