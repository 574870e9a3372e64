#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/json_file.h"
#include "study/diagnosis/diagnosis.h"

namespace dtrain::study {
namespace {

using nlohmann::json;

// More than any model has; a figure has a place for each.
constexpr int kMostLayers = 1000;
// Beyond what an interval of a difference of shares can reach, even over two seeds.
constexpr double kMostShare = 100;
constexpr std::int64_t kMostCounted = 1'000'000'000'000'000;

// What is not a number is null in JSON.
double number(const json& value) { return value.is_null() ? std::nan("") : value.get<double>(); }

void require(bool holds, const std::string& expected) {
  if (!holds) throw InputError("expected " + expected);
}

// How many there are of something.
std::int64_t count(const json& value) {
  require(value.is_number_integer() && value >= 0 && value <= kMostCounted,
          fmt::format("a count from 0 to {}, found {}", kMostCounted, shown_json(value)));
  return value.get<std::int64_t>();
}

// A share or a difference of two, with its interval.
ShareEstimate estimate(const json& value) {
  const ShareEstimate read{value.at("value"), {number(value.at("low")), number(value.at("high"))}};
  for (const double part : {read.value, read.interval.low, read.interval.high})
    require(!(std::abs(part) > kMostShare), fmt::format("shares and their differences, found {}", part));
  return read;
}

model::Pooling pooling(const json& name) {
  try {
    return model::pooling_from_name(name);
  } catch (const UsageError& error) {
    throw InputError(error.what());
  }
}

StageProbe probe_of(const json& entry, int layers) {
  const std::int64_t layer = count(entry.at("layer"));
  require(layer <= layers, fmt::format("a layer from 0 to {}, found {}", layers, layer));
  StageProbe stage{static_cast<int>(layer), pooling(entry.at("pooling")), {}, estimate(entry.at("test_accuracy"))};
  Probe& probe = stage.probe;
  entry.at("l2").get_to(probe.l2);
  entry.at("at_edge").get_to(probe.at_edge);
  probe.gradient = number(entry.at("gradient"));
  probe.evaluations = count(entry.at("evaluations"));
  probe.train_log_loss = number(entry.at("train_log_loss"));
  probe.dev_log_loss = number(entry.at("dev_log_loss"));
  probe.dev_accuracy = number(entry.at("dev_accuracy"));
  probe.test_accuracy = stage.accuracy.value;
  return stage;
}

DiagnosisRow row_of(const json& entry) {
  DiagnosisRow row;
  entry.at("kind").get_to(row.kind);
  entry.at("title").get_to(row.title);
  entry.at("method").get_to(row.method);
  row.pooling = pooling(entry.at("pooling"));
  if (!entry.at("layer").is_null())
    row.stage = static_cast<int>(std::min<std::int64_t>(count(entry.at("layer")), kMostLayers));
  if (!entry.at("learning_rate").is_null()) row.learning_rate = entry.at("learning_rate").get<double>();
  // Earlier versions did not say it.
  row.rate_from = entry.value("rate_from", "");
  row.trainable_parameters = count(entry.at("trainable_parameters"));
  row.seconds = number(entry.at("seconds"));
  if (!entry.at("failure").is_null()) entry.at("failure").get_to(row.failure);
  if (!row.failure.empty()) return row;
  row.dev_log_loss = number(entry.at("dev_log_loss"));
  row.accuracy = estimate(entry.at("test_accuracy"));
  row.to_full = estimate(entry.at("to_full"));
  return row;
}

// The rows that words and figures ask for.
void check_rows(const Diagnosis& diagnosis) {
  const auto is_there = [&](const std::string& kind, bool trained) {
    const auto found = std::find_if(diagnosis.rows.begin(), diagnosis.rows.end(),
                                    [&](const DiagnosisRow& row) { return row.kind == kind; });
    return found != diagnosis.rows.end() && found->failure.empty() && found->learning_rate.has_value() == trained;
  };
  for (const char* kind : {"asked", "rate", "full"})
    require(is_there(kind, true), fmt::format("a row '{}' with its learning rate and scores", kind));
  for (const char* kind : {"optimum", "best_probe"})
    require(is_there(kind, false), fmt::format("a row '{}' with its scores", kind));
  const auto choices = diagnosis_choices(diagnosis);
  const bool are_steps = std::equal(choices.begin(), choices.end(), diagnosis.steps.begin(), diagnosis.steps.end(),
                                    [](const auto& choice, const auto& step) { return choice.first == step.choice; });
  require(are_steps, "the steps of its rows, in their order");
}

Diagnosis read_document(const json& document) {
  Diagnosis diagnosis;
  require(document.at("schema") == 1, "schema 1");
  document.at("model").get_to(diagnosis.model);
  document.at("task").get_to(diagnosis.task);
  document.at("machine").get_to(diagnosis.machine);
  diagnosis.classes = count(document.at("classes"));
  diagnosis.samples = count(document.at("samples"));
  diagnosis.dev_examples = count(document.at("dev_examples"));
  diagnosis.test_examples = count(document.at("test_examples"));
  document.at("majority_share").get_to(diagnosis.majority_share);
  diagnosis.seeds = count(document.at("seeds"));
  document.at("notes").get_to(diagnosis.notes);
  const std::int64_t layers = count(document.at("layers"));
  require(layers <= kMostLayers, fmt::format("at most {} layers, found {}", kMostLayers, layers));
  diagnosis.layers = static_cast<int>(layers);
  if (document.contains("left_out")) document.at("left_out").get_to(diagnosis.left_out);
  diagnosis.gap = estimate(document.at("gap"));
  for (const json& step : document.at("steps"))
    diagnosis.steps.push_back({step.at("choice"), estimate(step.at("gain"))});
  for (const json& entry : document.at("probes")) diagnosis.probes.push_back(probe_of(entry, diagnosis.layers));
  for (const json& entry : document.at("rows")) diagnosis.rows.push_back(row_of(entry));
  require(!diagnosis.probes.empty(), "probes");
  check_rows(diagnosis);
  return diagnosis;
}

}  // namespace

json diagnosis_json(const Diagnosis& diagnosis) {
  json document = {{"schema", 1},
                   {"model", diagnosis.model},
                   {"task", diagnosis.task},
                   {"machine", diagnosis.machine},
                   {"classes", diagnosis.classes},
                   {"samples", diagnosis.samples},
                   {"dev_examples", diagnosis.dev_examples},
                   {"test_examples", diagnosis.test_examples},
                   {"majority_share", diagnosis.majority_share},
                   {"seeds", diagnosis.seeds},
                   {"layers", diagnosis.layers},
                   {"gap", estimate_json(diagnosis.gap)},
                   {"left_out", diagnosis.left_out},
                   {"notes", diagnosis.notes},
                   {"words", diagnosis_words(diagnosis)}};
  for (const DiagnosisStep& step : diagnosis.steps)
    document["steps"].push_back({{"choice", step.choice}, {"gain", estimate_json(step.gain)}});
  for (const StageProbe& stage : diagnosis.probes) {
    const Probe& probe = stage.probe;
    document["probes"].push_back({{"layer", stage.stage},
                                  {"pooling", pooling_name(stage.pooling)},
                                  {"l2", probe.l2},
                                  {"at_edge", probe.at_edge},
                                  {"gradient", probe.gradient},
                                  {"evaluations", probe.evaluations},
                                  {"train_log_loss", probe.train_log_loss},
                                  {"dev_log_loss", probe.dev_log_loss},
                                  {"dev_accuracy", probe.dev_accuracy},
                                  {"test_accuracy", estimate_json(stage.accuracy)}});
  }
  for (const DiagnosisRow& row : diagnosis.rows) {
    json entry = {{"kind", row.kind},
                  {"title", row.title},
                  {"method", row.method},
                  {"pooling", pooling_name(row.pooling)},
                  {"layer", row.stage ? json(*row.stage) : json()},
                  {"learning_rate", row.learning_rate ? json(*row.learning_rate) : json()},
                  {"rate_from", row.rate_from},
                  {"trainable_parameters", row.trainable_parameters},
                  {"seconds", row.seconds},
                  {"failure", row.failure.empty() ? json() : json(row.failure)}};
    if (row.failure.empty()) {
      entry["dev_log_loss"] = row.dev_log_loss;
      entry["test_accuracy"] = estimate_json(row.accuracy);
      entry["to_full"] = estimate_json(row.to_full);
    }
    document["rows"].push_back(std::move(entry));
  }
  return document;
}

Diagnosis diagnosis_from_json(const json& document) {
  try {
    return read_document(document);
  } catch (const json::exception& error) {
    throw InputError(error.what());
  }
}

}  // namespace dtrain::study
