#include "study/plan/trial.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string_view>

namespace dtrain::study {
namespace {

using nlohmann::json;

constexpr const char* kDigits = "0123456789abcdef";

// Scores that are all 0 or 1 are kept as bits, four examples a digit, the first in the highest bit; others as numbers.
json scores_json(const std::vector<double>& scores) {
  if (std::any_of(scores.begin(), scores.end(), [](double score) { return score != 0 && score != 1; }))
    return {{"examples", scores.size()}, {"numbers", scores}};
  std::string text((scores.size() + 3) / 4, '0');
  for (std::size_t digit = 0; digit < text.size(); ++digit) {
    unsigned value = 0;
    for (std::size_t bit = 0; bit < 4; ++bit) {
      const std::size_t i = 4 * digit + bit;
      value = 2 * value + (i < scores.size() && scores[i] == 1 ? 1 : 0);
    }
    text[digit] = kDigits[value];
  }
  return {{"examples", scores.size()}, {"hex", text}};
}

std::vector<double> scores_of(const json& kept) {
  const auto count = kept.at("examples").get<std::size_t>();
  if (kept.contains("numbers")) {
    auto scores = kept.at("numbers").get<std::vector<double>>();
    if (scores.size() != count) throw std::invalid_argument("scores of another length");
    return scores;
  }
  const auto text = kept.at("hex").get<std::string>();
  if (text.size() != (count + 3) / 4) throw std::invalid_argument("scores of another length");
  std::vector<double> scores(count);
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t value = std::string(kDigits).find(text[i / 4]);
    if (value == std::string::npos) throw std::invalid_argument("scores that are not hexadecimal");
    scores[i] = ((value >> (3 - i % 4)) & 1U) != 0 ? 1 : 0;
  }
  return scores;
}

// Classes as hexadecimal numbers of as many digits as the largest needs, one after the other.
json classes_json(const std::vector<std::int32_t>& classes) {
  const std::int32_t largest = classes.empty() ? 0 : *std::max_element(classes.begin(), classes.end());
  const std::size_t digits = fmt::format("{:x}", largest).size();
  std::string text;
  text.reserve(digits * classes.size());
  for (const std::int32_t each : classes) text += fmt::format("{:0{}x}", each, digits);
  return {{"digits", digits}, {"hex", text}};
}

// The hexadecimal numbers of so many digits that stand one after the other in a text.
std::vector<std::uint32_t> numbers_of(std::string_view text, std::size_t digits, const std::string& what) {
  if (text.size() % digits != 0) throw std::invalid_argument(what + " of another length");
  std::vector<std::uint32_t> numbers(text.size() / digits, 0);
  for (std::size_t i = 0; i < text.size(); ++i) {
    const std::size_t value = std::string_view(kDigits).find(text[i]);
    if (value == std::string_view::npos) throw std::invalid_argument(what + " that are not hexadecimal");
    numbers[i / digits] = 16 * numbers[i / digits] + static_cast<std::uint32_t>(value);
  }
  return numbers;
}

std::vector<std::int32_t> classes_of(const json& kept) {
  const auto digits = kept.at("digits").get<std::size_t>();
  if (digits < 1 || digits > 5) throw std::invalid_argument("classes of another length");
  const auto numbers = numbers_of(kept.at("hex").get<std::string>(), digits, "classes");
  return {numbers.begin(), numbers.end()};
}

// Numbers as the bits of their single precision, eight digits each.
std::string values_text(const std::vector<float>& values) {
  std::string text;
  text.reserve(8 * values.size());
  for (const float value : values) text += fmt::format("{:08x}", std::bit_cast<std::uint32_t>(value));
  return text;
}

std::vector<float> values_of(const std::string& text) {
  std::vector<float> values;
  for (const std::uint32_t bits : numbers_of(text, 8, "values")) values.push_back(std::bit_cast<float>(bits));
  return values;
}

double number_or_nan(const json& value) {
  return value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.get<double>();
}

}  // namespace

std::string Trial::key() const {
  return fmt::format("{} {} {} {} {}{}", phase == Phase::search ? "search" : "result", method, samples, learning_rate,
                     seed, length == 1 ? "" : fmt::format(" {}", length));
}

std::filesystem::path Trial::folder() const {
  std::string name = method;
  std::replace(name.begin(), name.end(), '/', '_');
  // A name of a file has at most 255 bytes.
  if (name.size() > 200) name = fmt::format("{}...{:016x}", name.substr(0, 180), XXH3_64bits(name.data(), name.size()));
  return std::filesystem::path(phase == Phase::search ? "search" : "result") / name /
         fmt::format("samples={},lr={},seed={}{}", samples, learning_rate, seed,
                     length == 1 ? "" : fmt::format(",length={:.3g}", length));
}

double TrialOutcome::metric(const std::string& set, const std::string& name) const {
  const auto found = metrics.find(set);
  if (found != metrics.end()) {
    const auto value = found->second.find(name);
    if (value != found->second.end()) return value->second;
  }
  return std::numeric_limits<double>::quiet_NaN();
}

std::vector<Trial> result_trials(const StudyPlan& plan, const MethodPlan& method, std::int64_t samples,
                                 double learning_rate) {
  std::vector<Trial> trials;
  for (const std::uint64_t seed : plan.seeds_of(samples, method.method.text()))
    trials.push_back({Trial::Phase::result, method.method.text(), samples, learning_rate, seed});
  return trials;
}

json trial_json(const Trial& trial, const TrialOutcome& outcome) {
  json scores = json::object();
  for (const auto& [set, values] : outcome.scores) scores[set] = scores_json(values);
  json predicted = json::object();
  for (const auto& [set, classes] : outcome.predicted) predicted[set] = classes_json(classes);
  json confidences = json::object();
  for (const auto& [set, of_examples] : outcome.confidences) confidences[set] = values_text(of_examples);
  json values = json::object();
  for (const auto& [set, metrics] : outcome.values) {
    for (const auto& [metric, of_examples] : metrics) values[set][metric] = values_text(of_examples);
  }
  json curve = json::array();
  for (const CurvePoint& point : outcome.curve) curve.push_back({{"step", point.step}, {"dev", point.metrics}});
  return {{"phase", trial.phase == Trial::Phase::search ? "search" : "result"},
          {"method", trial.method},
          {"samples", trial.samples},
          {"learning_rate", trial.learning_rate},
          {"seed", trial.seed},
          {"length", trial.length},
          {"failure", outcome.failed() ? json(outcome.failure) : json(nullptr)},
          {"steps", outcome.steps},
          {"stopped_early", outcome.stopped_early},
          {"best_step", outcome.best_step},
          {"ranks", outcome.ranks},
          {"metrics", outcome.metrics},
          {"cost", train::cost_json(outcome.cost)},
          {"seconds", outcome.seconds},
          {"group", outcome.group},
          {"started", outcome.started},
          {"spent", outcome.spent},
          {"warnings", outcome.warnings},
          {"curve", curve},
          {"forgetting", outcome.forgetting},
          {"scores", scores},
          {"predicted", predicted},
          {"confidences", confidences},
          {"values", values}};
}

std::pair<Trial, TrialOutcome> trial_from_json(const json& json) {
  const auto phase = json.at("phase").get<std::string>();
  Trial trial{phase == "search" ? Trial::Phase::search : Trial::Phase::result,
              json.at("method"),
              json.at("samples"),
              json.at("learning_rate"),
              json.at("seed"),
              json.at("length")};
  TrialOutcome outcome;
  if (!json.at("failure").is_null()) json.at("failure").get_to(outcome.failure);
  json.at("steps").get_to(outcome.steps);
  outcome.stopped_early = json.value("stopped_early", false);  // journals of earlier versions have none
  json.at("best_step").get_to(outcome.best_step);
  json.at("ranks").get_to(outcome.ranks);
  for (const auto& [set, values] : json.at("metrics").items()) {
    for (const auto& [name, value] : values.items()) outcome.metrics[set][name] = number_or_nan(value);
  }
  outcome.cost = train::cost_from_json(json.at("cost"));
  json.at("seconds").get_to(outcome.seconds);
  json.at("group").get_to(outcome.group);
  json.at("started").get_to(outcome.started);
  outcome.spent = json.value("spent", outcome.started + outcome.seconds);  // journals of earlier versions have none
  json.at("warnings").get_to(outcome.warnings);
  for (const auto& [name, value] : json.at("forgetting").items()) outcome.forgetting[name] = number_or_nan(value);
  for (const auto& point : json.at("curve")) {
    CurvePoint& kept = outcome.curve.emplace_back(CurvePoint{point.at("step"), {}});
    for (const auto& [name, value] : point.at("dev").items()) kept.metrics[name] = number_or_nan(value);
  }
  for (const auto& [set, scores] : json.at("scores").items()) outcome.scores[set] = scores_of(scores);
  if (json.contains("predicted")) {  // journals of earlier versions have none
    for (const auto& [set, classes] : json.at("predicted").items()) outcome.predicted[set] = classes_of(classes);
  }
  if (json.contains("confidences")) {  // the same
    for (const auto& [set, text] : json.at("confidences").items())
      outcome.confidences[set] = values_of(text.get<std::string>());
  }
  if (json.contains("values")) {  // the same
    for (const auto& [set, metrics] : json.at("values").items()) {
      for (const auto& [metric, text] : metrics.items())
        outcome.values[set][metric] = values_of(text.get<std::string>());
    }
  }
  return {trial, outcome};
}

}  // namespace dtrain::study
