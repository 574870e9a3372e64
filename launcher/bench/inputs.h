#pragma once

#include <c10/core/Device.h>

#include <memory>

#include "data/task.h"
#include "launcher/options.h"
#include "model/classifier.h"
#include "train/examples.h"

namespace dtrain::launcher {

/// What a bench trains on or scores: --samples of the training examples, otherwise 3,200, or all that there are.
train::Examples bench_examples(const Options& options, const data::Task& task);

/// A classifier for the task, of the options' model, with a head drawn from their seed.
std::unique_ptr<model::Classifier> bench_classifier(const Options& options, const data::Task& task, at::Device device);

}  // namespace dtrain::launcher
