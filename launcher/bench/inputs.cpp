#include "launcher/bench/inputs.h"

#include <algorithm>
#include <cstdint>

#include "launcher/loading.h"
#include "model/formats/classifier_files.h"

namespace dtrain::launcher {
namespace {

constexpr std::int64_t kUsualExamples = 3200;

}  // namespace

train::Examples bench_examples(const Options& options, const data::Task& task) {
  const auto counts = sample_counts(options);
  const std::int64_t count = counts.empty() ? std::min(task.train.size(), kUsualExamples) : counts[0];
  return training_examples(task, count, options.subset_seed);
}

std::unique_ptr<model::Classifier> bench_classifier(const Options& options, const data::Task& task, at::Device device) {
  return model::load_classifier({.directory = model_directory(options),
                                 .pooling = pooling_option(options),
                                 .classes = task.labels.size(),
                                 .head_seed = options.training.seed,
                                 .problem_type = task.problem_type,
                                 .device = device});
}

}  // namespace dtrain::launcher
