#include "launcher/next_task.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <vector>

#include "base/error.h"
#include "data/readers/labelled_text.h"
#include "data/task.h"
#include "launcher/attach_context.h"
#include "launcher/loading.h"
#include "launcher/text_examples.h"
#include "model/formats/classifier_files.h"
#include "study/journal/identity.h"
#include "study/plan/plan.h"

namespace dtrain::launcher {
namespace {

namespace fs = std::filesystem;

// "FOLDER/train.tsv"; empty where there is none.
std::string file_in(const fs::path& folder, const std::string& name) {
  std::vector<std::string> found;
  for (const std::string& ending : data::data_file_endings()) {
    const fs::path path = folder / (name + ending);
    if (fs::exists(path)) found.push_back(path.string());
  }
  if (found.size() > 1)
    throw InputError(fmt::format("--then: expected one file {}, found {}", name, fmt::join(found, " and ")));
  return found.empty() ? "" : found.front();
}

std::string required_file_in(const fs::path& folder, const std::string& name) {
  const std::string path = file_in(folder, name);
  if (path.empty()) {
    throw InputError(
        fmt::format("--then: expected a folder with files train and test, and dev if there is one ({}), "
                    "found no {} in {}",
                    fmt::join(data::data_file_endings(), ", "), name, folder.string()));
  }
  return path;
}

// Those of a study on that task alone: its columns, labels and metric are its own.
Options options_of_next(const Options& given) {
  const fs::path folder = given.then;
  Options options = given;
  options.train_file = required_file_in(folder, "train");
  options.dev_file = file_in(folder, "dev");
  options.test_file = required_file_in(folder, "test");
  options.ood.clear();
  const Options defaults{};
  options.text_column = defaults.text_column;
  options.pair_column = defaults.pair_column;
  options.label_column = defaults.label_column;
  options.header = defaults.header;
  options.separator = defaults.separator;
  options.label_separator = defaults.label_separator;
  options.ignored_labels = defaults.ignored_labels;
  options.problem_type = defaults.problem_type;
  options.class_weights = defaults.class_weights;
  options.select_metric = defaults.select_metric;
  options.training.loss = defaults.training.loss;
  return options;
}

}  // namespace

LoadedNextTask load_next_task(const Options& options, const Session& session,
                              const std::shared_ptr<const model::ModelWeights>& weights) {
  if (options.then.empty()) return {};
  const Options own = options_of_next(options);
  session.log().line(fmt::format("next task: {}", options.then));
  auto loaded = std::make_shared<data::Task>(load_task(own, session, start_of(own)));
  fs::path folder = fs::absolute(options.then).lexically_normal();
  if (!folder.has_filename()) folder = folder.parent_path();
  loaded->name = folder.filename().string();
  loaded->test = capped(loaded->test, test_samples(options).value_or(kFewTestSamples), 0);
  const std::shared_ptr<const data::Task> task = std::move(loaded);
  auto next = std::make_shared<study::NextTask>();
  next->training = training_options(own, *task);
  next->training.cache_memory = cache_memory(options, session);
  next->tokenize = tokenize_text;
  next->classifier = [&options, &session, task, weights](std::uint64_t head_seed) {
    return model::load_classifier({.directory = model_directory(options),
                                   .pooling = pooling_option(options),
                                   .classes = task->labels.size(),
                                   .head_seed = head_seed,
                                   .problem_type = task->problem_type,
                                   .device = session.context().device,
                                   .weights = weights});
  };
  next->train = [task](std::int64_t samples, std::uint64_t subset_seed) {
    return training_examples(*task, std::min(samples, task->train.size()), subset_seed);
  };
  next->dev = [task](std::int64_t samples) {
    return text_examples(capped(task->dev, study::dev_examples(samples, task->dev.size()), 0));
  };
  next->test = text_examples(task->test);
  return {next, study::next_task_identity(next->training, identity_of(*task))};
}

}  // namespace dtrain::launcher
