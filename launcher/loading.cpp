#include "launcher/loading.h"

#include <c10/core/CachingDeviceAllocator.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/json_file.h"
#include "base/nearest_name.h"
#include "base/random.h"
#include "launcher/node_memory.h"
#include "model/encoder_config.h"
#include "peft/registry.h"
#include "study/diagnose.h"
#include "train/text_examples.h"

namespace dtrain::launcher {
namespace {

// A JSON object with a number for each label, in the labels' order.
std::vector<double> read_class_weights(const std::string& path, const data::LabelMap& labels) {
  const auto document = parse_json(read_file(path), path);
  if (!document.is_object()) {
    throw InputError(
        fmt::format("{}: expected a JSON object of labels and weights, such as {{\"{}\": 2.5}} (--class-weights)", path,
                    labels.names().front()));
  }
  std::vector<double> weights;
  for (const std::string& label : labels.names()) {
    const auto found = document.find(label);
    if (found == document.end() || !found->is_number())
      throw InputError(fmt::format("{}: expected a number for '{}', found {} (--class-weights)", path, label,
                                   found == document.end() ? "none" : found->dump()));
    weights.push_back(found->get<double>());
  }
  for (const auto& [label, weight] : document.items()) {
    if (labels.id_of(label) < 0)
      throw InputError(fmt::format("{}: '{}' is no label of the training data{} (--class-weights)", path, label,
                                   did_you_mean(label, labels.names())));
  }
  return weights;
}

}  // namespace

std::optional<model::Pooling> pooling_option(const Options& options) {
  if (options.pooling == "auto") return std::nullopt;
  return model::pooling_from_name(options.pooling);
}

std::optional<ProblemType> problem_type_option(const Options& options) {
  if (options.problem_type == "auto") return std::nullopt;
  return problem_type(options.problem_type, "--problem-type");
}

data::TokenizeOptions tokenize_options(const Options& options, const Session& session) {
  data::TokenizeOptions tokenize{.max_length = static_cast<std::int32_t>(options.max_length),
                                 .threads = session.threads(),
                                 .cache_directory = options.token_cache};
  if (options.token_cache == "none") tokenize.cache_directory.clear();
  if (options.token_cache.empty()) {
    const char* cache = std::getenv("XDG_CACHE_HOME");
    const char* home = std::getenv("HOME");
    if (cache != nullptr && *cache != '\0') {
      tokenize.cache_directory = std::filesystem::path(cache) / "dtrain";
    } else if (home != nullptr) {
      tokenize.cache_directory = std::filesystem::path(home) / ".cache" / "dtrain";
    }
  }
  return tokenize;
}

void check_length(const Options& options, std::int64_t positions, std::int64_t virtual_tokens,
                  const std::filesystem::path& model) {
  const std::int64_t left = positions - virtual_tokens;
  if (options.max_length <= left) return;
  const std::string taken =
      virtual_tokens == 0 ? "" : fmt::format(", of which the method's virtual tokens take {}", virtual_tokens);
  throw UsageError(fmt::format(
      "--max-length {} is more than the {} positions of the model {}{}; {}", options.max_length, positions,
      model.string(), taken,
      left >= 3 ? fmt::format("--max-length {} fits", left) : std::string("the method needs fewer virtual tokens")));
}

Start start_of(const Options& options) {
  const auto directory = model_directory(options);
  Start start{.model = directory, .tokenizer = directory};
  std::vector<peft::MethodSpec> methods;
  if (options.command == "diagnose") {
    for (const auto& tried : study::diagnosis_methods(options.methods, model::read_encoder_config(directory).layers))
      methods.push_back(tried.method);
  } else {
    for (const auto& text : options.command == "compare" ? split_list(options.methods) : std::vector{options.method})
      methods.push_back(peft::parse_method_spec(text));
  }
  for (const auto& method : methods)
    start.virtual_tokens = std::max(start.virtual_tokens, peft::make_method(method)->virtual_tokens());
  return start;
}

data::Task load_task(const Options& options, const Session& session, const Start& start) {
  const auto config = model::read_encoder_config(start.model);
  for (const auto& note : config.notes) session.log().warning(note);
  check_length(options, config.max_tokens(), start.virtual_tokens, start.model);
  const auto tokenizer = data::load_tokenizer(start.tokenizer, session.log());
  const std::int64_t embeddings = start.vocabulary_size > 0 ? start.vocabulary_size : config.vocabulary_size;
  if (tokenizer->vocabulary_size() > embeddings) {
    throw InputError(fmt::format("{}: the tokenizer has {} tokens, the model only {} embeddings",
                                 start.tokenizer.string(), tokenizer->vocabulary_size(), embeddings));
  }
  auto files = task_files(options);
  files.labels = start.labels;
  files.labels_have_names = start.labels_have_names;
  files.problem_type = start.problem_type ? start.problem_type : problem_type_option(options);
  files.hold_out_dev = true;
  data::Task task = data::load_task(files, *tokenizer, tokenize_options(options, session), session.log());
  session.log().line(fmt::format("columns: {}", task.columns));
  for (const auto& note : task.notes) session.log().warning(note);
  return task;
}

train::TrainOptions training_options(const Options& options, const data::Task& task) {
  const train::Objective& objective = train::objective_of(task.problem_type);
  train::TrainOptions training = options.training;
  training.problem_type = task.problem_type;
  training.loss.balanced = options.class_weights == "balanced";
  if (!options.class_weights.empty() && !training.loss.balanced)
    training.loss.class_weights = read_class_weights(options.class_weights, task.labels);
  objective.make_loss(training.loss, task.train.targets(), at::kCPU);
  training.shard_optimizer = options.shard_optimizer == "on"    ? train::ShardOptimizer::on
                             : options.shard_optimizer == "off" ? train::ShardOptimizer::off
                                                                : train::ShardOptimizer::automatic;
  training.select_metric = options.select_metric == "auto" ? objective.select_metric() : options.select_metric;
  const auto& kinds = objective.metric_kinds();
  if (std::none_of(kinds.begin(), kinds.end(), [&](const auto& kind) { return kind.name == training.select_metric; })) {
    std::vector<std::string> names;
    for (const auto& kind : kinds) names.push_back(kind.name);
    throw UsageError(fmt::format("--select-metric: {} has no {}; expected one of {}",
                                 problem_type_name(task.problem_type), training.select_metric, fmt::join(names, ", ")));
  }
  return training;
}

data::LabelledSet scoring_set(const Options& options, const Session& session, const peft::TrainedModel& trained,
                              bool labels_required) {
  for (const auto& note : trained.classifier->config().notes) session.log().warning(note);
  check_length(options, trained.classifier->config().max_tokens(), peft::make_method(trained.method)->virtual_tokens(),
               trained.base_model);
  const auto tokenizer = data::load_tokenizer(trained.tokenizer, session.log());
  const data::LabelMap labels(trained.labels);
  const data::Columns columns = columns_of(options, labels_required);
  const auto read = [&](const std::filesystem::path& path) {
    return data::load_split(path, columns, trained.classifier->problem_type, labels, options.drop_unknown_labels,
                            *tokenizer, tokenize_options(options, session), session.log());
  };
  data::LabelledSet set;
  if (!options.input.empty()) {
    set = read(options.input);
  } else {
    try {
      set = read(data::embedded_task("wordnet", options.share_directory).test);
    } catch (const InputError& error) {
      throw UsageError(fmt::format(
          "--input: expected a file of inputs; without it the embedded task's test set is taken, which does "
          "not fit {} ({})",
          options.run, error.what()));
    }
  }
  session.log().line(fmt::format("columns: {}", set.texts.columns));
  for (const auto& note : set.texts.notes) session.log().warning(note);
  return set;
}

train::Examples training_examples(const data::Task& task, std::int64_t samples, std::uint64_t subset_seed) {
  if (samples == 0) return train::text_examples(task.train);
  return train::text_examples(task.train.subset(data::stratified_draw(task.train.targets(), samples, subset_seed)));
}

void note_classes(data::Task& task, std::int64_t samples, const Log& log) {
  if (samples == 0 || samples == task.train.size()) return;  // load_task has noted those of the whole
  for (auto& note : data::target_notes(training_examples(task, samples, 0).targets(), task.labels,
                                       fmt::format("--samples {}", samples))) {
    log.warning(note);
    task.notes.push_back(std::move(note));
  }
}

void note_reduce_precision(const Options& options, int ranks, const Log& log) {
  if (ranks > 1 || options.training.reduce_format == dist::WireFormat::fp32) return;
  log.line(fmt::format("--reduce-precision {}: a training on one rank exchanges nothing, and rounds nothing",
                       options.reduce_precision));
}

data::TokenDataset capped(const data::TokenDataset& examples, std::int64_t count, std::uint64_t seed) {
  if (count == 0 || count >= examples.size()) return examples;
  return examples.subset(data::stratified_draw(examples.targets(), count, seed, Purpose::evaluation_subset));
}

std::int64_t cache_memory(const Options& options, const Session& session) {
  if (!options.cache_memory.empty()) return options.training.cache_memory;
  if (const auto device = session.context().device; !device.is_cpu()) {
    return static_cast<std::int64_t>(at::getDeviceAllocator(device.type())->getMemoryInfo(device.index()).second / 4);
  }
  return node_memory() / 4 / session.local_size();
}

}  // namespace dtrain::launcher
