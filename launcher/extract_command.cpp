#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/json_file.h"
#include "base/table.h"
#include "launcher/commands.h"
#include "launcher/loading.h"
#include "launcher/node_share.h"
#include "launcher/output_directory.h"
#include "launcher/text_examples.h"
#include "launcher/trained_models.h"
#include "model/formats/classifier_files.h"
#include "peft/formats/extraction.h"
#include "peft/formats/trained_model.h"
#include "train/evaluation.h"

namespace dtrain::launcher {
namespace {

namespace fs = std::filesystem;

std::string extraction_table(const peft::Extraction& extraction) {
  Table table{{"linear layer", "change", "not expressed", "share"}, {}};
  for (const auto& linear : extraction.linears) {
    table.rows.push_back({linear.path, fmt::format("{:.4f}", linear.change), fmt::format("{:.4f}", linear.error),
                          fmt::format("{:.1f} %", linear.change > 0 ? 100 * linear.error / linear.change : 0)});
  }
  return terminal_table(table);
}

}  // namespace

void run_extract(const Options& options, const Session& session) {
  if (options.run.empty()) throw UsageError("--run: expected the output of a run with --method full, or its model");
  if (options.output.empty()) throw UsageError("--output: expected a directory for the adapter");
  check_output(options);
  auto tuned = share_trained(options, session, std::nullopt);
  take_labels_of_input(options, session, tuned);
  if (tuned.method.name != "full") {
    throw UsageError(fmt::format("--run: {} is of method {}; expected a whole model that was fine-tuned", options.run,
                                 tuned.method.text()));
  }
  const fs::path base_directory = model_directory(options);
  model::LoadOptions base_options{.directory = base_directory,
                                  .pooling = tuned.classifier->pooling(),
                                  .classes = tuned.classifier->classes(),
                                  .problem_type = tuned.classifier->problem_type,
                                  .device = session.context().device};
  base_options.weights = share_weights(session.control(), session.lowest_local_rank(), base_options);
  const auto base = model::load_classifier(base_options);
  // What is wrong with it is known before anything is written.
  const auto set = scoring_set(options, session, tuned);
  const auto& lora = options.training.method;
  const auto extraction = peft::extract_lora(*tuned.classifier, *base, lora);
  session.log().line(
      fmt::format("{} of {}, from the base model {}\n", lora.text(), options.run, base_directory.string()));
  session.log().line(extraction_table(extraction));
  double left_out = 0;
  for (const auto& [name, norm] : extraction.left_out) left_out += norm * norm;
  if (left_out > 0) {
    session.log().line(fmt::format(
        "left out: {} other parameters that changed, by {:.4f} in all, {} the most", extraction.left_out.size(),
        std::sqrt(left_out),
        std::max_element(extraction.left_out.begin(), extraction.left_out.end(), [](const auto& a, const auto& b) {
          return a.second < b.second;
        })->first));
  }
  prepare_output(options, session);
  on_first_rank(session, [&] {
    const auto directory = peft::save_trained(*base, lora, tuned.labels, base_directory, options.output);
    session.log().line(fmt::format("written: {} ({})", directory.string(),
                                   bytes_text(static_cast<double>(peft::stored_bytes(directory)))));
  });

  const auto examples = text_examples(set.examples);
  const auto& objective = train::objective_of(tuned.classifier->problem_type);
  std::vector<std::pair<std::string, train::Metrics>> metrics;
  for (const auto& [name, classifier] :
       {std::pair("fine-tuned", tuned.classifier.get()), std::pair("extracted", base.get())}) {
    metrics.emplace_back(name, train::evaluate(*classifier, examples, objective, session.context()).metrics);
  }
  session.log().line("\n" + train::metrics_table(metrics));
  on_first_rank(session, [&] {
    nlohmann::json linears = nlohmann::json::array();
    for (const auto& linear : extraction.linears) {
      linears.push_back({{"path", linear.path}, {"change", linear.change}, {"error", linear.error}});
    }
    nlohmann::json results = {{"schema", 1}, {"method", lora.text()}, {"run", options.run}, {"linear_layers", linears}};
    for (const auto& [name, values] : metrics) {
      results["metrics"][name] = train::metrics_json(values);
    }
    write_file_atomically(fs::path(options.output) / "results.json", json_text(results, 2) + "\n");
  });
}

}  // namespace dtrain::launcher
