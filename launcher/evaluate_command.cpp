#include <ATen/ATen.h>
#include <fmt/format.h>

#include <map>
#include <string>
#include <utility>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/json_file.h"
#include "base/table.h"
#include "launcher/commands.h"
#include "launcher/forgetting_material.h"
#include "launcher/loading.h"
#include "launcher/node_share.h"
#include "launcher/output_directory.h"
#include "launcher/text_examples.h"
#include "launcher/trained_models.h"
#include "model/formats/classifier_files.h"
#include "peft/registry.h"
#include "train/evaluation.h"
#include "train/results.h"

namespace dtrain::launcher {
namespace {

namespace fs = std::filesystem;

// A trained model and a file in its terms.
struct Scoring {
  peft::TrainedModel trained;
  data::LabelledSet set;
};

Scoring load(const Options& options, const Session& session, bool labels_required) {
  if (options.run.empty()) throw UsageError("--run: expected the output of a run, a model or an adapter");
  Scoring scoring;
  scoring.trained = share_trained(options, session);
  take_labels_of_input(options, session, scoring.trained);
  scoring.set = scoring_set(options, session, scoring.trained, labels_required);
  session.log().line(session.description());
  session.log().line(fmt::format("{}: {}, {}, {} outputs; {} examples", options.run, scoring.trained.method.text(),
                                 problem_type_name(scoring.trained.classifier->problem_type),
                                 scoring.trained.labels.size(), count_text(scoring.set.examples.size())));
  return scoring;
}

// The pretrained model that a trained one came from: an adapter's own base, and of a whole model --model, or the one
// that its run names.
fs::path base_of(const Options& options, const peft::TrainedModel& trained) {
  if (!peft::make_method(trained.method)->changes_whole_model()) return trained.base_model;
  if (!options.model.empty()) return options.model;
  const fs::path results = run_directory(options.run) / "results.json";
  if (fs::exists(results)) {
    const auto json = read_json_object(results);
    if (json.contains("model") && json["model"].is_string()) {
      fs::path model = json["model"].get<std::string>();
      if (fs::exists(model / "config.json")) return model;
    }
  }
  throw UsageError(fmt::format(
      "--retain: {} is a whole model, and nothing names the pretrained one it came from; name it with --model",
      options.run));
}

constexpr std::int64_t kMostRetainedScored = 1000;

// What was forgotten, by name.
std::map<std::string, double> forgetting_of(const Options& options, const Session& session,
                                            const peft::TrainedModel& trained) {
  const fs::path base = base_of(options, trained);
  const auto context = session.context();
  auto& classifier = *trained.classifier;
  model::LoadOptions base_options{.directory = base,
                                  .pooling = classifier.pooling(),
                                  .classes = classifier.classes(),
                                  .head_seed = 0,
                                  .problem_type = classifier.problem_type,
                                  .device = context.device};
  base_options.weights = share_weights(session.control(), session.lowest_local_rank(), base_options);
  const auto pretrained = model::load_classifier(base_options);
  auto asked = forgetting_material(options, session, base, options.retain, kMostRetainedScored);
  asked.base_weights = base_options.weights;
  const study::ForgettingProbe probe(*pretrained, std::move(asked), context);
  return probe.measure(classifier, context);
}

Table forgetting_table(const std::map<std::string, double>& measured) {
  Table table{{"forgetting", "before", "after"}, {}};
  const auto add = [&](const char* title, const char* name, const std::string& before) {
    if (measured.count(name) > 0) table.rows.push_back({title, before, fmt::format("{:.4f}", measured.at(name))});
  };
  const auto before = [&](const std::string& name) {
    return measured.count(name) > 0 ? fmt::format("{:.4f}", measured.at(name)) : "";
  };
  add("retrieval of examples by definition, mean reciprocal rank", "mrr", before("mrr_before"));
  add("masked-language-model loss", "mlm_loss", before("mlm_loss_before"));
  add("states alike (linear CKA), mean over the layers", "cka", "1");
  add("states alike (linear CKA), last layer", "cka_last", "1");
  add("similarities of texts agree (Spearman)", "similarity_agreement", "1");
  return table;
}

// The texts of the rows, as the file of predictions shows them.
std::vector<train::OutputColumns> text_columns(const data::LabelledTexts& texts) {
  std::vector<train::OutputColumns> columns = {{"text", {}}};
  if (texts.has_pairs) columns.push_back({"pair", {}});
  for (const data::LabelledText& row : texts.rows) {
    columns[0].rows.push_back(train::one_line(row.text));
    if (texts.has_pairs) columns[1].rows.push_back(train::one_line(row.pair));
  }
  return columns;
}

}  // namespace

void run_evaluate(const Options& options, const Session& session) {
  if (!options.output.empty()) on_first_rank(session, [&] { check_output(options); });
  Scoring scoring = load(options, session, true);
  if (!options.output.empty()) prepare_output(options, session);
  const auto& objective = train::objective_of(scoring.trained.classifier->problem_type);
  const auto examples = text_examples(scoring.set.examples);
  const auto evaluation = train::evaluate(*scoring.trained.classifier, examples, objective, session.context());
  session.log().line("\n" + train::metrics_table({{"test", evaluation.metrics}}));
  std::map<std::string, double> forgetting;
  if (!options.retain.empty()) {
    forgetting = forgetting_of(options, session, scoring.trained);
    session.log().line(terminal_table(forgetting_table(forgetting)));
  }
  if (options.output.empty()) return;
  on_first_rank(session, [&] {
    nlohmann::json json = {
        {"schema", 1},
        {"method", scoring.trained.method.text()},
        {"problem_type", problem_type_name(objective.type())},
        {"run", options.run},
        {"metrics", {{"test", train::set_json(objective, evaluation, examples, scoring.trained.labels)}}}};
    if (!forgetting.empty()) json["forgetting"] = forgetting;
    const fs::path path = fs::path(options.output) / "results.json";
    write_file_atomically(path, json_text(json, 2) + "\n");
    session.log().line(fmt::format("written: {}", path.string()));
  });
}

void run_predict(const Options& options, const Session& session) {
  if (options.output.empty()) throw UsageError("--output: expected a directory for predictions.tsv");
  if (options.input.empty()) throw UsageError("--input: expected a file of inputs");
  on_first_rank(session, [&] { check_output(options); });
  Scoring scoring = load(options, session, false);
  prepare_output(options, session);
  auto& classifier = *scoring.trained.classifier;
  const auto logits = train::score(classifier, text_examples(scoring.set.examples), session.context());
  const fs::path path = fs::path(options.output) / "predictions" / "predictions.tsv";
  on_first_rank(session, [&] {
    ensure_directory(path.parent_path());
    const auto& objective = train::objective_of(classifier.problem_type);
    train::write_predictions(path, text_columns(scoring.set.texts),
                             objective.predictions(logits, scoring.trained.labels, true));
  });
  session.log().line(
      fmt::format("written: {} predictions in {}", count_text(scoring.set.examples.size()), path.string()));
}

}  // namespace dtrain::launcher
