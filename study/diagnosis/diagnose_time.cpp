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
  DiagnosisChoice choice;
  const auto take_if_it_fits = [&](double more) {
    if (choice.seconds + more > left) return false;
    choice.seconds += more;
    return true;
  };

  std::vector<peft::MethodSpec> in_any_case = {{"full", {}}};
  for (const TriedMethod& tried : plan.methods) {
    if (!tried.if_time) in_any_case.push_back(tried.method);
  }
  std::set<std::string> taken;
  for (const peft::MethodSpec& method : in_any_case) {
    taken.insert(method.text());
    choice.seconds += seconds.row(method);
  }
  std::stable_sort(in_any_case.begin(), in_any_case.end(),
                   [&](const auto& one, const auto& other) { return seconds.search(one) < seconds.search(other); });
  for (const peft::MethodSpec& method : in_any_case) {
    const double search = seconds.search(method);
    if (search > 0 && take_if_it_fits(search)) choice.searched.insert(method.text());
  }

  for (auto tried = plan.methods.rbegin(); tried != plan.methods.rend(); ++tried) {
    const std::string name = tried->method.text();
    const double search = seconds.search(tried->method);
    if (!tried->if_time || !take_if_it_fits(seconds.row(tried->method) + search)) continue;
    taken.insert(name);
    if (search > 0) choice.searched.insert(name);
  }

  for (const TriedMethod& tried : plan.methods) {
    const std::string name = tried.method.text();
    if (taken.count(name) > 0)
      choice.methods.push_back(tried.method);
    else
      choice.left_out.push_back(name);
  }
  return choice;
}

}  // namespace dtrain::study
