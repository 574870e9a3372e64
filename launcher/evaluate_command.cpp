#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>

#include "base/atomic_file.h"
#include "base/error.h"
#include "launcher/commands.h"
#include "launcher/loading.h"
#include "launcher/output_directory.h"
#include "launcher/trained_models.h"
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
  scoring.trained = load_trained(options, session, options.run, session.context().device);
  take_labels_of_input(options, session, scoring.trained);
  scoring.set = scoring_set(options, session, scoring.trained, labels_required);
  session.log().line(session.description());
  session.log().line(fmt::format("{}: {}, {} classes; {} examples", options.run, scoring.trained.method.text(),
                                 scoring.trained.labels.size(), count_text(scoring.set.examples.size())));
  return scoring;
}

std::string prediction_lines(const Scoring& scoring, const at::Tensor& logits) {
  const auto& labels = scoring.trained.labels;
  const bool pairs = scoring.set.texts.has_pairs;
  std::string text = pairs ? "text\tpair\tpredicted\tprobability" : "text\tpredicted\tprobability";
  for (const auto& label : labels) text += "\tp(" + train::one_line(label) + ")";
  text += "\n";
  const auto probabilities = at::softmax(logits.to(at::kDouble), 1).contiguous();
  for (std::size_t i = 0; i < scoring.set.texts.rows.size(); ++i) {
    const double* row = probabilities.const_data_ptr<double>() + i * labels.size();
    const auto best = static_cast<std::size_t>(std::max_element(row, row + labels.size()) - row);
    text += train::one_line(scoring.set.texts.rows[i].text);
    if (pairs) text += "\t" + train::one_line(scoring.set.texts.rows[i].pair);
    text += fmt::format("\t{}\t{:.6f}", train::one_line(labels[best]), row[best]);
    for (std::size_t c = 0; c < labels.size(); ++c) text += fmt::format("\t{:.6f}", row[c]);
    text += "\n";
  }
  return text;
}

}  // namespace

void run_evaluate(const Options& options, const Session& session) {
  if (!options.output.empty()) on_first_rank(session, [&] { check_output(options); });
  Scoring scoring = load(options, session, true);
  if (!options.output.empty()) prepare_output(options, session);
  const auto metrics = train::evaluate(*scoring.trained.classifier, scoring.set.examples, session.context());
  session.log().line("\n" + train::metrics_table({{"test", metrics}}));
  if (options.output.empty()) return;
  on_first_rank(session, [&] {
    const nlohmann::json json = {{"schema", 1},
                                 {"method", scoring.trained.method.text()},
                                 {"run", options.run},
                                 {"metrics", {{"test", train::metrics_json(metrics, scoring.trained.labels, true)}}}};
    const fs::path path = fs::path(options.output) / "results.json";
    write_file_atomically(path, json.dump(2) + "\n");
    session.log().line(fmt::format("written: {}", path.string()));
  });
}

void run_predict(const Options& options, const Session& session) {
  if (options.output.empty()) throw UsageError("--output: expected a directory for predictions.tsv");
  if (options.input.empty()) throw UsageError("--input: expected a file of inputs");
  on_first_rank(session, [&] { check_output(options); });
  Scoring scoring = load(options, session, false);
  prepare_output(options, session);
  const auto logits = train::score(*scoring.trained.classifier, scoring.set.examples, session.context());
  const fs::path path = fs::path(options.output) / "predictions" / "predictions.tsv";
  on_first_rank(session, [&] {
    ensure_directory(path.parent_path());
    write_file_atomically(path, prediction_lines(scoring, logits));
  });
  session.log().line(
      fmt::format("written: {} predictions in {}", count_text(scoring.set.examples.size()), path.string()));
}

}  // namespace dtrain::launcher
