#include <ATen/ATen.h>
#include <fmt/format.h>

#include "base/table.h"
#include "launcher/attach_context.h"
#include "launcher/commands.h"
#include "launcher/loading.h"
#include "model/formats/classifier_files.h"
#include "peft/registry.h"
#include "train/estimate.h"

namespace dtrain::launcher {

void run_estimate(const Options& options, const Session& session) {
  const auto& log = session.log();
  log.line(session.description());
  const data::Task task = load_task(options, session, start_of(options));
  const auto counts = sample_counts(options);
  const auto examples = training_examples(task, counts.empty() ? 0 : counts[0], options.subset_seed);
  const train::RunContext context = session.context();
  auto classifier = model::load_classifier({.directory = model_directory(options),
                                            .pooling = pooling_option(options),
                                            .classes = task.labels.size(),
                                            .head_seed = options.training.seed,
                                            .problem_type = task.problem_type,
                                            .device = context.device,
                                            .weights = base_weights(options, session, task)});
  peft::make_method(options.training.method)->attach(*classifier, attach_context(options.training.seed));
  train::TrainOptions training = training_options(options, task);
  training.cache_memory = cache_memory(options, session);
  note_reduce_precision(options, session.control().size(), log);
  const train::Estimate estimate = train::estimate(*classifier, examples, task.dev.size(), training, context);
  const auto bytes = [](double count) { return bytes_text(count); };
  Table table{{training.method.text(), ""},
              {{"parameters", count_text(estimate.parameters)},
               {"trainable parameters", count_text(estimate.trainable_parameters)},
               {"steps", count_text(estimate.steps)},
               {"bytes all-reduced a step", bytes(static_cast<double>(estimate.allreduce_bytes))},
               {"weights, gradients, optimiser state", bytes(static_cast<double>(estimate.state_bytes))},
               {"peak memory of a rank (measured on 3 steps)", bytes(static_cast<double>(estimate.peak_memory_bytes))},
               {"matmuls of a step", flop_text(estimate.step_flop)},
               {"a step (measured)", duration_text(estimate.step_seconds)},
               {"training", duration_text(estimate.train_seconds)},
               {"evaluations on dev", duration_text(estimate.evaluation_seconds)}}};
  log.line("\n" + terminal_table(table));
}

}  // namespace dtrain::launcher
