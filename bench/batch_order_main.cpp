// dtrain_batch_order: the rows that `dtrain train --samples N` draws and the batches of its steps, as JSON, so that the
// peer trains on exactly the same. The code that decides is dtrain's own; nothing of it is written twice.
#include <fmt/format.h>

#include <boost/program_options.hpp>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "data/batch_plan.h"
#include "data/row_targets.h"
#include "data/token_dataset.h"

namespace {

namespace po = boost::program_options;
using namespace dtrain;

struct Request {
  std::string model;
  std::string train;
  std::int64_t samples = 0;
  std::uint64_t subset_seed = 0;
  std::uint64_t seed = 0;
  std::int64_t batch_size = 32;
  std::int64_t epochs = 3;
  std::int32_t max_length = 128;
};

// False: help was asked for and printed.
bool parse(int argc, char** argv, Request& request) {
  po::options_description all("dtrain_batch_order: rows and batches of dtrain train, as JSON");
  auto add = all.add_options();
  add("help", "this text");
  add("model", po::value(&request.model)->required(), "Hugging Face model directory");
  add("train", po::value(&request.train)->required(), "training file");
  add("samples", po::value(&request.samples)->required(), "training examples to draw");
  add("subset-seed", po::value(&request.subset_seed)->default_value(0), "seed of the draw");
  add("seed", po::value(&request.seed)->default_value(0), "seed of the order");
  add("batch-size", po::value(&request.batch_size)->default_value(32), "examples of a step");
  add("epochs", po::value(&request.epochs)->default_value(3), "passes over the drawn examples");
  add("max-length", po::value(&request.max_length)->default_value(128), "most tokens of an example");
  po::variables_map values;
  po::store(po::parse_command_line(argc, argv, all), values);
  if (values.contains("help")) {
    std::cout << all;
    return false;
  }
  po::notify(values);
  return true;
}

nlohmann::json batch_order(const Request& request) {
  const auto texts = data::read_labelled_texts(request.train, {});
  const auto labels = data::LabelMap::from_rows(texts.rows);
  const auto targets = data::targets_of(texts, ProblemType::single_label_classification, labels, request.train, true);
  const auto rows = data::stratified_draw(targets, request.samples, request.subset_seed);
  data::LabelledTexts drawn;
  for (const std::int64_t row : rows) drawn.rows.push_back(texts.rows[static_cast<std::size_t>(row)]);
  drawn.has_pairs = texts.has_pairs;
  drawn.has_labels = true;
  const auto examples = data::tokenize(drawn, targets.subset(rows), *data::load_tokenizer(request.model),
                                       {.max_length = request.max_length, .cache_directory = {}}, {});
  std::vector<std::int32_t> lengths;
  for (std::int64_t i = 0; i < examples.size(); ++i) lengths.push_back(examples.length(i));
  const data::BatchPlan plan(lengths, request.batch_size, request.seed);
  auto batches = nlohmann::json::array();
  for (std::int64_t step = 0; step < request.epochs * plan.steps_per_epoch(); ++step)
    batches.push_back(plan.batch(step));
  // `batches` holds positions in `rows`, and `rows` positions in the training file.
  return {{"labels", labels.names()},
          {"rows", rows},
          {"lengths", lengths},
          {"steps_per_epoch", plan.steps_per_epoch()},
          {"batches", batches}};
}

}  // namespace

int main(int argc, char** argv) {
  try {
    Request request;
    if (parse(argc, argv, request)) std::cout << batch_order(request).dump() << "\n";
  } catch (const po::error& error) {
    std::fprintf(stderr, "dtrain_batch_order: %s; see --help\n", error.what());
    return 2;
  } catch (const Error& error) {
    std::fprintf(stderr, "dtrain_batch_order: %s\n", error.what());
    return error.exit_code();
  }
  return 0;
}
